"""Dagster jobs, schedules and definitions: what runs."""
