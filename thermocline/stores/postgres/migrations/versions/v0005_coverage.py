"""The coverage ledger: what should be there, what is, and what is known of the rest."""

from alembic import op

revision = "0005"
down_revision = "0004"

_CHANGES = """
-- Days [start_day, end_day) of a series that are in one state; counts has each one's bars where no calendar tells them.
CREATE TABLE thermocline.coverage (
    dataset text NOT NULL,
    asset_class text NOT NULL,
    symbol text NOT NULL,
    interval text NOT NULL,
    start_day date NOT NULL,
    end_day date NOT NULL CHECK (start_day < end_day),
    state text NOT NULL
        CHECK (state IN ('complete', 'partial', 'empty-confirmed', 'vendor-missing', 'pending', 'quarantined')),
    rows bigint NOT NULL,
    expected bigint NOT NULL,
    sources text[] NOT NULL DEFAULT '{}',
    told_at timestamptz,
    reason text NOT NULL DEFAULT '',
    counts integer[],
    noted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (dataset, symbol, interval, asset_class, start_day)
);

-- Days whose rows changed, and what sources told, since the table above was last brought up to date. Only added to by
-- who writes rows, so that nobody waits.
CREATE TABLE thermocline.coverage_due (
    due_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dataset text NOT NULL,
    interval text NOT NULL,
    start_day date NOT NULL,
    end_day date NOT NULL,
    run_id text NOT NULL,
    symbols text[] NOT NULL DEFAULT '{}',
    source text NOT NULL DEFAULT '',
    at timestamptz,
    tellings jsonb NOT NULL DEFAULT '[]'
);
"""


def upgrade() -> None:
    """Add the tables."""
    op.execute(_CHANGES)


def downgrade() -> None:
    """Drop the tables; `thermocline coverage --survey` makes it anew."""
    op.execute("DROP TABLE thermocline.coverage, thermocline.coverage_due")
