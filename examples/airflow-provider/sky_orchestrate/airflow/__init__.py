"""SkyPilot in Airflow. Importing it imports no SkyPilot."""
