"""SkyPilot in Airflow: operators, a hook, a trigger and a link, known to Airflow as a provider. Importing it imports no SkyPilot."""
