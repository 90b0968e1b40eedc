"""A PostgreSQL that was full before Thermocline came."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal

import psycopg
import pytest

import thermocline
from thermocline.api import Thermocline
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
        SELECT 'equity', symbol, '1day', day, 1.5, 69.13, 2.25, 1.25, 100, 'X'
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
    kept = connection.execute(f"SELECT count(*), count(exchange) FROM {done.kept_as}").fetchone()  # noqa: S608
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
           INSERT INTO market_data VALUES ('AAPL', '2023-01-03', 1.1, 2.2, 0.7, 0.1)"""
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
