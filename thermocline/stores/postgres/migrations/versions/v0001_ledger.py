"""The ledger, the hot set, quarantine and the audit log."""

from alembic import op

revision = "0001"
down_revision = None

_TABLES = """
CREATE SCHEMA IF NOT EXISTS thermocline_hot;
CREATE SCHEMA IF NOT EXISTS thermocline_detached;

CREATE TABLE thermocline.vintage (
    dataset text NOT NULL,
    interval text NOT NULL,
    day date NOT NULL,
    version integer NOT NULL CHECK (version >= 1),
    path text NOT NULL,
    size_bytes bigint NOT NULL,
    sha256 text NOT NULL,
    etag text NOT NULL,
    schema_version integer NOT NULL,
    run_id text NOT NULL,
    rows bigint NOT NULL CHECK (rows > 0),
    min_ts timestamptz NOT NULL,
    max_ts timestamptz NOT NULL,
    null_counts jsonb NOT NULL,
    fingerprint text NOT NULL,
    content_fingerprint text NOT NULL,
    published_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    superseded_at timestamptz,
    PRIMARY KEY (dataset, interval, day, version)
);
CREATE UNIQUE INDEX vintage_live ON thermocline.vintage (dataset, interval, day) WHERE superseded_at IS NULL;

CREATE TABLE thermocline.hot_day (
    dataset text NOT NULL,
    interval text NOT NULL,
    day date NOT NULL,
    version integer NOT NULL CHECK (version >= 0),
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (dataset, interval, day)
);

CREATE TABLE thermocline.catalog_head (
    dataset text PRIMARY KEY,
    head text NOT NULL,
    published_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE thermocline.detached (
    table_name text PRIMARY KEY,
    dataset text NOT NULL,
    interval text NOT NULL,
    day date NOT NULL,
    version integer NOT NULL,
    rows bigint NOT NULL,
    run_id text NOT NULL,
    detached_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz
);

CREATE TABLE thermocline.quarantine (
    quarantine_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    run_id text NOT NULL,
    dataset text NOT NULL,
    source text NOT NULL,
    origin text NOT NULL,
    record text NOT NULL,
    reason text NOT NULL
);
CREATE UNIQUE INDEX quarantine_once ON thermocline.quarantine (dataset, source, origin, md5(record), reason);

CREATE TABLE thermocline.audit (
    audit_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    name text NOT NULL,
    dataset text,
    interval text,
    day date,
    run_id text NOT NULL,
    actor text NOT NULL DEFAULT session_user,
    detail jsonb NOT NULL
);
CREATE INDEX audit_newest ON thermocline.audit (dataset, name, audit_id DESC);
"""


def upgrade() -> None:
    """Create the tables."""
    op.execute(_TABLES)


def downgrade() -> None:
    """Refuse: the ledger says which rows are where, and dropping it would lose them from sight."""
    msg = "the first revision can't be taken back"
    raise RuntimeError(msg)
