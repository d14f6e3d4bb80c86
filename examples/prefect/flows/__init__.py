"""The pipeline and its parts as Prefect flows."""
