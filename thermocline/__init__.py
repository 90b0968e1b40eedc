"""Market data that moves itself between PostgreSQL and a Parquet lake."""
