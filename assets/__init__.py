"""Dagster assets: what exists. Each calls one task."""
