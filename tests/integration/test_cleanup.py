"""A PostgreSQL that was full before Thermocline came."""

import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal

import psycopg
import pytest
from click.testing import CliRunner

import thermocline
from thermocline.api import Thermocline
from thermocline.cli import main
from thermocline.errors import HotStoreError, PlanDriftError, UsageError
from thermocline.settings import load_settings
from thermocline.stores.postgres import adoption

AS_OF = date(2023, 3, 1)
PLAIN = """
    CREATE TABLE public.market_data (
        asset_class text, symbol text, interval text, ts timestamptz,
        open numeric, high double precision, low numeric(18, 8), close real, volume bigint, exchange text
    );
    INSERT INTO market_data
        SELECT 'equity', symbol, '1day', day, 1.5, 69.13, 0.25, 1.25, 100, 'X'
        FROM generate_series('2023-01-16'::timestamptz, '2023-03-01', '1 day') AS day,
             unnest(array['AAPL', 'IBM']) AS symbol;
"""
ODD = """
    INSERT INTO market_data SELECT * FROM market_data WHERE ts < '2023-01-18' AND symbol = 'AAPL';
    INSERT INTO market_data VALUES ('equity', NULL, '1day', '2023-01-16', 1, 1, 1, 1, 1, NULL);
    INSERT INTO market_data VALUES ('equity', 'X', '1day', NULL, 1, 1, 1, 1, 1, NULL);
    INSERT INTO market_data VALUES ('equity', 'Y', '1day', '2023-01-16', 7.123456789, 1, 1, 1, 1, NULL);
"""
GOOD_ROWS, ODD_ROWS = 90, 5


@pytest.fixture(scope="session")
def prepare_database() -> None:
    """Nothing of ours is there yet."""


@pytest.fixture
def connection(hot_url) -> Iterator[psycopg.Connection]:
    with psycopg.connect(hot_url, autocommit=True) as connection:
        connection.execute("SET TIME ZONE 'UTC'")
        yield connection


@pytest.fixture
def opened(home, hot_url) -> Iterator[Thermocline]:
    settings = load_settings(home, environ={"THERMOCLINE_HOT_URL": hot_url})
    with thermocline.open(settings=settings) as opened:
        yield opened


def test_a_plain_table_is_never_worked_beside(opened, connection):
    connection.execute(PLAIN)
    for act in (opened.status, opened.rotate, lambda: opened.query("market_data").to_arrow()):
        with pytest.raises(HotStoreError, match="thermocline cleanup market_data --analyze-only"):
            act()
    assert connection.execute("SELECT count(*) FROM market_data").fetchone() == (GOOD_ROWS,)


def test_the_plan_lists_what_is_there_and_what_can_not_go_in(opened, connection):
    connection.execute(PLAIN + ODD)
    plan = opened.plan_cleanup("market_data", as_of=AS_OF).document()
    assert plan["adopts"] == "public.market_data"
    assert [(m["month"], m["rows"]) for m in plan["months"]] == [
        ("2023-01", 36),
        ("2023-02", 56),
        ("2023-03", 2),
    ]
    assert plan["kept_aside"] == {
        "duplicate_rows": 2,
        "null_rows": {"symbol": 1, "ts": 1},
        "undated_rows": 1,
        "rejected_rows": {"symbol: is missing": 1, "open: a value has more than 8 decimal places": 1},
        "unknown_columns": ["exchange"],
        "filled_columns": {},
    }
    assert connection.execute("SELECT count(*) FROM market_data").fetchone() == (GOOD_ROWS + ODD_ROWS,)


def test_adoption_keeps_every_row_once_and_what_can_not_go_in_aside(opened, connection):
    connection.execute(PLAIN + ODD)
    done = opened.cleanup(opened.plan_cleanup("market_data", as_of=AS_OF))
    table = opened.query("market_data").to_arrow()
    rows = table.select(["symbol", "ts", "open", "high", "close"]).to_pylist()
    assert len(rows) == GOOD_ROWS
    assert len({(row["symbol"], row["ts"]) for row in rows}) == GOOD_ROWS
    assert {(row["open"], row["high"], row["close"]) for row in rows} == {
        (Decimal("1.50000000"), Decimal("69.13000000"), Decimal("1.25000000"))
    }
    assert done.adopted.rejected == 2
    assert connection.execute("SELECT count(*) FROM thermocline.quarantine").fetchone() == (2,)
    kept = connection.execute(f"SELECT count(*), count(exchange) FROM {done.kept_as}").fetchone()
    assert kept == (GOOD_ROWS + ODD_ROWS, GOOD_ROWS + 2)
    line = opened.status(["market_data"], as_of=AS_OF)[0]
    assert (line.hot_rows, line.watermark, line.due_partitions) == (62, date(2023, 1, 30), 0)


def test_an_adoption_that_died_is_finished_by_the_next_one(opened, connection, monkeypatch):
    connection.execute(PLAIN)

    def dies(*_, **__):
        raise KeyboardInterrupt

    plan = opened.plan_cleanup("market_data", as_of=AS_OF)
    with monkeypatch.context() as patch:
        patch.setattr(adoption.PostgresPlainTable, "swap", dies)
        with pytest.raises(KeyboardInterrupt):
            opened.cleanup(plan)
    assert connection.execute("SELECT count(*) FROM public.market_data").fetchone() == (GOOD_ROWS,)
    done = opened.cleanup(opened.plan_cleanup("market_data", as_of=AS_OF))
    assert (done.adopted.written, done.adopted.unchanged) == (0, GOOD_ROWS // 2)
    assert opened.query("market_data").to_arrow().num_rows == GOOD_ROWS


def test_a_plan_whose_table_changed_is_refused(opened, connection):
    connection.execute(PLAIN)
    plan = opened.plan_cleanup("market_data", as_of=AS_OF)
    connection.execute("DELETE FROM market_data WHERE symbol = 'IBM'")
    with pytest.raises(PlanDriftError):
        opened.cleanup(plan)
    assert connection.execute("SELECT count(*) FROM market_data").fetchone() == (GOOD_ROWS // 2,)


def test_columns_of_other_names_are_mapped_and_missing_ones_filled(opened, connection):
    connection.execute(
        """CREATE TABLE market_data (symbol text, time timestamp, open float8, high float8, low float8, close float8);
           INSERT INTO market_data VALUES ('AAPL', '2023-01-03', 1.1, 2.2, 0.1, 0.7)"""
    )
    with pytest.raises(UsageError, match="--map ts=COLUMN"):
        opened.plan_cleanup("market_data", as_of=AS_OF)
    how = {"columns": {"ts": "time"}, "constants": {"interval": "1day"}}
    opened.cleanup(opened.plan_cleanup("market_data", as_of=AS_OF, **how), **how)
    (row,) = opened.query("market_data").to_arrow().to_pylist()
    assert (row["asset_class"], row["interval"], row["open"], row["source"]) == (
        "equity",
        "1day",
        Decimal("1.10000000"),
        "postgres",
    )


def test_partitions_older_than_the_window_are_rotated(opened, connection):
    connection.execute(PLAIN)
    opened.cleanup(opened.plan_cleanup("market_data", as_of=AS_OF))
    plan = opened.plan_cleanup("market_data", as_of=AS_OF, hot_days=10)
    assert plan.document()["moving_rows"] == 40
    assert len(opened.cleanup(plan).rotated.moved) == 20
    assert opened.query("market_data").to_arrow().num_rows == GOOD_ROWS
    assert opened.status(["market_data"], as_of=AS_OF)[0].hot_rows == 22


BARS_BY_MONTH = """
    CREATE TABLE market_data (
        asset_class text, symbol text, interval text, ts timestamptz, open numeric, high numeric, low numeric,
        close numeric, volume bigint
    ) PARTITION BY LIST (interval);
    CREATE TABLE bars PARTITION OF market_data FOR VALUES IN ('1day') PARTITION BY RANGE (ts);
    CREATE TABLE bars_01 PARTITION OF bars FOR VALUES FROM ('2023-01-01 00:00+00') TO ('2023-02-01 00:00+00');
    CREATE TABLE bars_0202 PARTITION OF bars FOR VALUES FROM ('2023-02-02 00:00+00') TO ('2023-02-03 00:00+00');
    CREATE TABLE bars_rest PARTITION OF bars DEFAULT;
    CREATE TABLE rest PARTITION OF market_data DEFAULT;
    INSERT INTO market_data
        SELECT 'equity', symbol, interval, day, 1.5, 2.5, 1.25, 1.25, 100
        FROM generate_series('2023-01-16'::timestamptz, '2023-03-01', '1 day') AS day,
             unnest(array['1day', '1hour']) AS interval, unnest(array['AAPL']) AS symbol;
"""


def test_a_table_of_other_partitions_is_adopted_without_losing_a_row(opened, connection):
    connection.execute(BARS_BY_MONTH)
    for act in (opened.status, opened.rotate, lambda: opened.query("market_data").to_arrow()):
        with pytest.raises(HotStoreError, match="thermocline cleanup market_data --analyze-only"):
            act()
    plan = opened.plan_cleanup("market_data", as_of=AS_OF)
    assert (plan.plain.table, plan.plain.rows) == ("public.market_data", GOOD_ROWS)
    done = opened.cleanup(plan)
    assert done.adopted.rows == GOOD_ROWS
    table = opened.query("market_data").to_arrow()
    assert len({(row["interval"], row["ts"]) for row in table.to_pylist()}) == table.num_rows == GOOD_ROWS
    assert connection.execute(f"SELECT count(*) FROM {done.kept_as}").fetchone() == (GOOD_ROWS,)
    assert opened.status(["market_data"], as_of=AS_OF)[0].hot_rows > 0
    assert opened.cleanup(opened.plan_cleanup("market_data", as_of=AS_OF)).kept_as is None


def test_a_table_of_days_attached_by_hand_is_adopted(opened, connection):
    connection.execute(BARS_BY_MONTH + "DROP TABLE bars_01, bars_rest, rest")
    done = opened.cleanup(opened.plan_cleanup("market_data", as_of=AS_OF))
    assert (done.adopted.rows, opened.query("market_data").to_arrow().num_rows) == (1, 1)


def test_a_yearly_table_that_lacks_columns_is_named(opened, connection):
    connection.execute(
        """CREATE TABLE forecasts (symbol text, ts timestamptz, predicted_price numeric) PARTITION BY RANGE (ts);
           CREATE TABLE forecasts_2023 PARTITION OF forecasts
               FOR VALUES FROM ('2023-01-01 00:00+00') TO ('2024-01-01 00:00+00');
           INSERT INTO forecasts VALUES ('AAPL', '2023-01-03', 1)"""
    )
    with pytest.raises(UsageError, match="has no column model_name"):
        opened.plan_cleanup("forecasts", as_of=AS_OF)
    assert connection.execute("SELECT count(*) FROM forecasts").fetchone() == (1,)


@pytest.mark.parametrize(
    ("over", "bounds"),
    [
        ("thermocline_hot.market_data_1day", "FROM ('2022-01-01 00:00+00') TO ('2022-02-01 00:00+00')"),
        ("public.market_data", "IN ('1week')"),
    ],
)
def test_an_odd_partition_of_our_own_table_is_named_and_left_alone(opened, connection, over, bounds):
    connection.execute(PLAIN)
    opened.cleanup(opened.plan_cleanup("market_data", as_of=AS_OF))
    connection.execute(
        f"""CREATE TABLE public.odd (LIKE market_data INCLUDING ALL);
            INSERT INTO odd SELECT * FROM market_data LIMIT 1;
            UPDATE odd SET ts = '2022-01-03 00:00+00', interval = CASE '{over}' WHEN 'public.market_data'
                THEN '1week' ELSE interval END;
            ALTER TABLE {over} ATTACH PARTITION odd FOR VALUES {bounds}"""
    )
    acts = (
        opened.status,
        opened.plan_rotation,
        lambda: opened.query("market_data").to_arrow(),
        lambda: opened.plan_cleanup("market_data", as_of=AS_OF),
    )
    for act in acts:
        with pytest.raises(HotStoreError, match=r"public\.odd .* DETACH PARTITION .*thermocline ingest market_data"):
            act()
    assert connection.execute("SELECT count(*) FROM odd").fetchone() == (1,)
    connection.execute(f"ALTER TABLE {over} DETACH PARTITION odd")
    assert opened.query("market_data").to_arrow().num_rows == GOOD_ROWS


def test_a_day_attached_by_hand_to_our_own_table_is_named_once_it_has_rows(opened, connection):
    connection.execute(PLAIN)
    opened.cleanup(opened.plan_cleanup("market_data", as_of=AS_OF))
    connection.execute(
        """CREATE TABLE public.by_hand (LIKE market_data INCLUDING ALL);
           ALTER TABLE thermocline_hot.market_data_1day ATTACH PARTITION by_hand
               FOR VALUES FROM ('2022-01-03 00:00+00') TO ('2022-01-04 00:00+00')"""
    )
    opened.status()
    connection.execute(
        """CREATE TEMP TABLE one AS SELECT * FROM market_data WHERE ts = '2023-03-01' AND symbol = 'IBM';
           UPDATE one SET ts = '2022-01-03 00:00+00';
           INSERT INTO by_hand SELECT * FROM one"""
    )
    named = r"public\.by_hand .*not in the hot set.* DETACH PARTITION"
    for act in (opened.status, opened.plan_rotation, lambda: opened.plan_cleanup("market_data", as_of=AS_OF)):
        with pytest.raises(HotStoreError, match=named):
            act()
    rotated = opened.rotate()
    assert rotated.moved == []
    assert rotated.failed
    assert all(re.search(named, failed.reason) for failed in rotated.failed)
    assert connection.execute("SELECT count(*) FROM by_hand").fetchone() == (1,)


def test_rows_that_the_gate_rejects_are_planned_to_stay_and_do(opened, connection):
    connection.execute(PLAIN)
    connection.execute(
        """INSERT INTO market_data SELECT 'equity', 'FINE' || n, '1day', '2023-01-20', 1 + n / 1e9, 2, 1, 1, 1, NULL
           FROM generate_series(11, 19) AS n;
           INSERT INTO market_data VALUES
               ('equity', 'INF', '1day', '2023-01-20', 1, 'infinity', 1, 1, 1, NULL),
               ('equity', 'LATE', '1day', '2023-01-20 15:00', 1, 1, 1, 1, 1, NULL),
               ('equity', 'ODD', 'd''aily', '2023-01-20', 1, 1, 1, 1, 1, NULL)"""
    )
    plan = opened.plan_cleanup("market_data", as_of=AS_OF, hot_days=10)
    rejected = plan.document()["kept_aside"]["rejected_rows"]
    assert rejected.pop("open: a value has more than 8 decimal places") == 9
    assert sorted(rejected.values()) == [1, 1, 1]
    assert not any(value in reason for reason in rejected for value in ("d'aily", "15:00", "2023"))
    assert plan.moving_rows == 32
    assert connection.execute("SELECT count(*) FROM thermocline.quarantine").fetchone() == (0,)
    done = opened.cleanup(plan)
    assert (done.adopted.rows, done.adopted.rejected, done.stayed) == (GOOD_ROWS, 12, 12)


def test_the_command_says_how_many_rows_stay_behind_and_where(home, hot_url, connection, monkeypatch):
    monkeypatch.setenv("THERMOCLINE_HOT_URL", hot_url)
    connection.execute(PLAIN + ODD)
    asked = ["--home", str(home), "cleanup", "market_data", "--as-of", str(AS_OF)]
    shown = CliRunner().invoke(main, [*asked, "--dry-run"]).stdout
    for why in ("open: a value has more than 8 decimal places", "symbol: is missing", "no usable time"):
        assert f"1 row would stay in the old table alone: {why}" in shown
    told = CliRunner().invoke(main, [*asked, "--yes"]).stdout
    assert "WARNING: 5 rows did NOT go in and stayed behind in thermocline_detached.market_data_adopted_" in told
    assert "2 rejected, each with its reason in thermocline.quarantine; 1 without a usable time" in told
