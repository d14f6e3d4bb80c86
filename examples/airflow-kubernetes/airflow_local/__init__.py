"""Airflow on this machine: what it needs before it starts, and the pipeline run in one process."""
