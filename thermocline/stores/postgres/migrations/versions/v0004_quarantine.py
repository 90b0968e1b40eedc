"""Which rules a row in quarantine breaks, and what was said of it by whom."""

from alembic import op

revision = "0004"
down_revision = "0003"

_CHANGES = """
ALTER TABLE thermocline.quarantine
    ADD COLUMN rules text[] NOT NULL DEFAULT '{}',
    ADD COLUMN state text NOT NULL DEFAULT 'kept' CHECK (state IN ('kept', 'released', 'dropped')),
    ADD COLUMN judged_at timestamptz,
    ADD COLUMN judged_by text NOT NULL DEFAULT '',
    ADD COLUMN judged_run text NOT NULL DEFAULT '',
    ADD COLUMN why text NOT NULL DEFAULT '';
"""


def upgrade() -> None:
    """Add the columns."""
    op.execute(_CHANGES)


def downgrade() -> None:
    """Refuse: rows that were released would look like ones that wait."""
    msg = "this revision can't be taken back"
    raise RuntimeError(msg)
