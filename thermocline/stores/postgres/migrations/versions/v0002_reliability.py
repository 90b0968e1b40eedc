"""Vintages that wait for a person, days that stay hot for a while, objects that may go, trouble, a log nobody edits."""

from alembic import op

revision = "0002"
down_revision = "0001"

_CHANGES = """
CREATE SCHEMA IF NOT EXISTS thermocline_scratch;

ALTER TABLE thermocline.vintage
    ADD COLUMN state text NOT NULL DEFAULT 'published'
        CHECK (state IN ('published', 'held', 'rejected', 'expired')),
    ADD COLUMN reason text NOT NULL DEFAULT '';
DROP INDEX thermocline.vintage_live;
CREATE UNIQUE INDEX vintage_live ON thermocline.vintage (dataset, interval, day)
    WHERE superseded_at IS NULL AND state = 'published';
CREATE INDEX vintage_path ON thermocline.vintage (path);

ALTER TABLE thermocline.hot_day ADD COLUMN until date;

-- Objects that no vintage names any more, and since when; they are deleted when no reader can still be at them.
CREATE TABLE thermocline.unnamed_object (
    dataset text NOT NULL,
    path text PRIMARY KEY,
    since timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Partitions that an act could not do, until one succeeds.
CREATE TABLE thermocline.trouble (
    dataset text NOT NULL,
    interval text NOT NULL,
    day date NOT NULL,
    act text NOT NULL,
    reason text NOT NULL,
    run_id text NOT NULL,
    times integer NOT NULL DEFAULT 1,
    first_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (dataset, interval, day, act)
);

-- In a schema of its own: who owns a schema may drop whatever is in it, so a log that its writer can't drop needs one
-- that can be given to somebody else. Its function lies beside it, since dropping that would drop the trigger.
CREATE SCHEMA IF NOT EXISTS thermocline_audit;
ALTER TABLE thermocline.audit SET SCHEMA thermocline_audit;
ALTER TABLE thermocline_audit.audit RENAME TO log;
ALTER TABLE thermocline_audit.log ADD COLUMN client text NOT NULL DEFAULT '';
ALTER TABLE thermocline_audit.log ALTER COLUMN client SET DEFAULT current_setting('application_name');
CREATE INDEX log_of_run ON thermocline_audit.log (run_id);

CREATE FUNCTION thermocline_audit.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only: % is refused', TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON thermocline_audit.log
    FOR EACH STATEMENT EXECUTE FUNCTION thermocline_audit.refuse_change();
REVOKE UPDATE, DELETE, TRUNCATE ON thermocline_audit.log FROM PUBLIC, CURRENT_USER;
"""


def upgrade() -> None:
    """Change the tables."""
    op.execute(_CHANGES)


def downgrade() -> None:
    """Refuse: a vintage that is held would look like one that readers get."""
    msg = "this revision can't be taken back"
    raise RuntimeError(msg)
