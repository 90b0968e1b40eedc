"""The versions of each dataset's columns."""

from alembic import op

revision = "0006"
down_revision = "0005"

_TABLES = """
-- What the tables of a dataset, its Parquet files and its Iceberg table have; the newest version is what is written.
CREATE TABLE thermocline.dataset_schema (
    dataset text NOT NULL,
    version integer NOT NULL CHECK (version > 0),
    document jsonb NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    run_id text NOT NULL,
    PRIMARY KEY (dataset, version)
);
"""


def upgrade() -> None:
    """Make the table. Datasets that are there get their first version when they are next used."""
    op.execute(_TABLES)


def downgrade() -> None:
    """Refuse: columns that were added since would be unknown."""
    msg = "this revision can't be taken back"
    raise RuntimeError(msg)
