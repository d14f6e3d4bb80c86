"""SkyPilot from pods that Airflow starts: an operator, its trigger, and what the reaper asks. Importing it imports no SkyPilot."""
