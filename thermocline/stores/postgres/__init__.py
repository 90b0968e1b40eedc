"""The hot tier in PostgreSQL: rows in day partitions, the ledger in schema `thermocline`."""

from thermocline.stores.postgres.store import PostgresHot

__all__ = ["PostgresHot"]
