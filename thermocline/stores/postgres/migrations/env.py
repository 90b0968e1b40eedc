"""Run by Alembic; the connection is handed over by `thermocline.stores.postgres.migrate`."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, version_table="alembic_version", version_table_schema="thermocline")
with context.begin_transaction():
    context.run_migrations()
