"""The pipeline and its parts as Temporal workflows and activities."""
