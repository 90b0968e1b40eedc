"""What derived days were made of."""

from alembic import op

revision = "0003"
down_revision = "0002"

_CHANGES = """
CREATE TABLE thermocline.derivation (
    dataset text NOT NULL,
    interval text NOT NULL,
    day date NOT NULL,
    inputs text NOT NULL,
    content text NOT NULL,
    run_id text NOT NULL,
    noted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (dataset, interval, day)
);
"""


def upgrade() -> None:
    """Make the table."""
    op.execute(_CHANGES)


def downgrade() -> None:
    """Drop it; all is derived anew then, and what says the same is not written."""
    op.execute("DROP TABLE thermocline.derivation")
