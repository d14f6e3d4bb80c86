"""Flows to start from."""
