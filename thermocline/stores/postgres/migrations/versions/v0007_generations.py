"""A mark of what the ledger says of each dataset, so that who knew it before can tell whether it is still so."""

from alembic import op

revision = "0007"
down_revision = "0006"

_CHANGES = """
-- Anew in every transaction that changes the dataset's hot days or vintages, whoever makes it. Not a number: a ledger
-- that was restored from a backup must not come to the same one with other contents.
CREATE TABLE thermocline.generation (
    dataset text PRIMARY KEY,
    generation uuid NOT NULL,
    xact xid8 NOT NULL
);
INSERT INTO thermocline.generation
SELECT dataset, gen_random_uuid(), pg_current_xact_id()
FROM (SELECT dataset FROM thermocline.vintage UNION SELECT dataset FROM thermocline.hot_day) AS known;

CREATE FUNCTION thermocline.begin_generation() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed text;
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        UPDATE thermocline.generation SET generation = gen_random_uuid(), xact = pg_current_xact_id();
        RETURN NULL;
    END IF;
    FOREACH changed IN ARRAY ARRAY[OLD.dataset, NEW.dataset] LOOP
        -- Once a transaction will do. Writers of a dataset come one after the other, so nobody waits here for long.
        CONTINUE WHEN changed IS NULL OR EXISTS (
            SELECT FROM thermocline.generation g WHERE g.dataset = changed AND g.xact = pg_current_xact_id()
        );
        INSERT INTO thermocline.generation VALUES (changed, gen_random_uuid(), pg_current_xact_id())
        ON CONFLICT (dataset) DO UPDATE SET generation = excluded.generation, xact = excluded.xact;
    END LOOP;
    RETURN NULL;
END $$;

-- What a look at a dataset goes by, as a text that is another one where anything of it has changed: the generation, the
-- tables that hang from the partitioned ones, and the parent's columns. Of the catalog's rows xmin is the transaction
-- that wrote them, and 64 bits stand for all of them. A function, since a session plans what is in it once.
CREATE FUNCTION thermocline.state_of(name text, parent text, partitioned oid[]) RETURNS text
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT g.generation::text FROM thermocline.generation g WHERE g.dataset = name) || ' ' || coalesce((
        SELECT hash_array_extended(
            array_agg((i.inhrelid::bigint << 32) | i.xmin::text::bigint ORDER BY i.inhrelid), 0)
        FROM pg_inherits i WHERE i.inhparent = ANY(partitioned)
    ), 0) || ' ' || coalesce((
        SELECT hash_array_extended(array_agg((a.attnum::bigint << 32) | a.xmin::text::bigint ORDER BY a.attnum), 0)
        FROM pg_attribute a WHERE a.attrelid = to_regclass(parent) AND a.attnum > 0
    ), 0);
END $$;
"""
_TRIGGERS = """
CREATE TRIGGER begin_generation AFTER INSERT OR DELETE ON thermocline.{table}
    FOR EACH ROW EXECUTE FUNCTION thermocline.begin_generation();
CREATE TRIGGER begin_generation_if_changed AFTER UPDATE ON thermocline.{table}
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION thermocline.begin_generation();
CREATE TRIGGER begin_generation_if_emptied AFTER TRUNCATE ON thermocline.{table}
    FOR EACH STATEMENT EXECUTE FUNCTION thermocline.begin_generation();
"""


def upgrade() -> None:
    """Make the table, and have every change of the ledger note itself there."""
    op.execute(_CHANGES)
    for table in ("vintage", "hot_day"):
        op.execute(_TRIGGERS.format(table=table))


def downgrade() -> None:
    """Drop what marks changes; nothing else was changed."""
    op.execute("DROP FUNCTION thermocline.begin_generation() CASCADE")
    op.execute("DROP FUNCTION thermocline.state_of; DROP TABLE thermocline.generation")
