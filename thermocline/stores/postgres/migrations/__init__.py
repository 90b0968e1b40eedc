"""Alembic migrations of schema `thermocline`; the tables of datasets follow from their declarations instead."""
