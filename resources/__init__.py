"""Dagster resources: each holds the URL of one backend and yields its store."""
