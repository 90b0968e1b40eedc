"""Rows for days that are cold already: accepted and visible at once, folded by the next rotation, never skipped."""

from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest
from hot_acts import about_to_cut_over, answer, assert_answers, day, hot_set, ingest, load, publish, rotate
from made_rows import DAY, NOON, as_sorted_lists, bars, rows

import thermocline
from thermocline.cli import main
from thermocline.errors import StaleStateError
from thermocline.model.datasets import DATASETS, MARKET_DATA, NEWS, OPTIONS_DATA
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.partition import ALL_DAYS, DayRange, Partition
from thermocline.model.query import Query
from thermocline.stores.postgres import PostgresHot
from thermocline.stores.spool import DuckDBSpool
from thermocline.tasks.load import rehydrate
from thermocline.tasks.query import query
from thermocline.tasks.rotate import Rotation
from thermocline.tasks.undo import undo

LATER, EARLIER = NOON + timedelta(hours=1), NOON - timedelta(hours=1)
AS_OF = DAY + timedelta(days=400)
OTHERS = [dataset for dataset in DATASETS.values() if dataset is not MARKET_DATA]


@pytest.fixture
def hot(new_database):
    return PostgresHot(new_database("embedded"))


def night(hot, lake, **options):
    """Rotate as the schedule does: days of market_data, late rows of every dataset."""
    done = Rotation(hot, lake, DuckDBSpool, Lifecycle(hot_days=30, **options), "run").run(
        [MARKET_DATA], as_of=AS_OF, folding=OTHERS
    )
    assert done.failed == []
    return [(moved.partition, moved.action) for moved in done.moved]


def versions(hot, dataset=MARKET_DATA):
    return {vintage.partition: vintage.receipt.version for vintage in hot.live(dataset, ALL_DAYS)}


@pytest.mark.parametrize("partition", [day(0), day(0, "1hour"), day(-9000), day(0, "1day")], ids=str)
def test_a_late_row_is_answered_at_once_and_folded_by_the_next_night(hot, lake, partition):
    publish(hot, lake, bars(partition))
    new = bars(partition, ["IBM"], ingested_at=LATER)
    assert ingest(hot, new).late_rows == 3
    assert_answers(hot, lake, bars(partition), new)
    assert night(hot, lake) == [(partition, "fold")]
    assert hot.late(MARKET_DATA) == {}
    assert versions(hot) == {partition: 2}
    assert_answers(hot, lake, bars(partition), new)
    assert night(hot, lake) == []


def test_a_late_row_of_a_day_that_has_nothing_makes_its_first_vintage(hot, lake):
    new = bars(day(-9000), ingested_at=LATER)
    assert ingest(hot, new).late_rows == 6
    assert_answers(hot, lake, new)
    night(hot, lake)
    assert versions(hot) == {day(-9000): 1}
    assert_answers(hot, lake, new)


@pytest.mark.parametrize("dataset", OTHERS, ids=lambda dataset: dataset.name)
def test_late_rows_of_every_dataset_are_folded_by_a_night_of_market_data(hot, lake, dataset):
    batch = rows(dataset, 20)
    partition = Partition(dataset.name, "1min" if dataset.has_intervals else "", DAY)
    hot.ingest(dataset, pa.Table.from_batches([batch]), hot_days=(), run_id="run")
    expected = as_sorted_lists(pa.Table.from_batches([batch]), dataset)

    def check():
        with query(hot, lake, Query(dataset)) as reader:
            assert as_sorted_lists(reader.read_all(), dataset) == expected

    check()
    assert night(hot, lake) == [(partition, "fold")]
    assert hot.late(dataset) == {}
    check()
    assert night(hot, lake) == []


def test_hot_days_of_other_datasets_stay_hot_on_a_night_of_market_data(hot, lake):
    partition = Partition("news", "", DAY)
    hot.ingest(NEWS, pa.Table.from_batches([rows(NEWS)]), hot_days=[partition], run_id="run")
    assert night(hot, lake) == []
    assert [hot_day.partition for hot_day in hot.hot_days(NEWS)] == [partition]


def test_a_late_row_of_a_day_that_was_withdrawn_makes_a_new_vintage(hot, lake):
    publish(hot, lake, bars(day(0)))
    publish(hot, lake, withdrawn=[day(0)])
    new = bars(day(0), ["IBM"], ingested_at=LATER)
    ingest(hot, new)
    assert_answers(hot, lake, new)
    assert night(hot, lake) == [(day(0), "fold")]
    assert versions(hot) == {day(0): 2}
    assert_answers(hot, lake, new)


@pytest.mark.parametrize(
    ("late", "seen"),
    [
        (bars(day(0), ["AAPL"], ingested_at=LATER), bars(day(0))),
        (bars(day(0), ingested_at=LATER), bars(day(0))),
        (bars(day(0), ["AAPL"], close="1", ingested_at=EARLIER), bars(day(0))),
    ],
    ids=["some equal rows", "the whole day again", "an older row"],
)
def test_late_rows_that_say_nothing_newer_are_folded_away_without_a_vintage(hot, lake, late, seen):
    publish(hot, lake, bars(day(0)))
    ingest(hot, late)
    content = ["symbol", "ts", "close"]
    assert answer(hot, lake).select(content) == pa.Table.from_batches([seen]).sort_by("ts").select(content)
    assert night(hot, lake) == [(day(0), "fold")]
    assert versions(hot) == {day(0): 1}
    assert hot.late(MARKET_DATA) == {}
    assert_answers(hot, lake, seen)


def test_a_late_row_may_move_an_option_to_another_symbol(hot, lake):
    [old] = rows(OPTIONS_DATA, 1).to_pylist()
    new = old | {OPTIONS_DATA.symbol_column: "MOVED", "ingested_at": old["ingested_at"] + timedelta(hours=1)}
    for row in (old, new):
        hot.ingest(OPTIONS_DATA, pa.Table.from_pylist([row], OPTIONS_DATA.arrow_schema), hot_days=(), run_id="run")
        if row is old:
            night(hot, lake)

    def found(symbol):
        with query(hot, lake, Query(OPTIONS_DATA, symbols=(symbol,))) as reader:
            return reader.read_all().num_rows

    moves = OPTIONS_DATA.symbol_column not in OPTIONS_DATA.key
    for _ in range(2):
        assert found("MOVED") == 1
        assert found(old[OPTIONS_DATA.symbol_column]) == (0 if moves else 1)
        night(hot, lake)


def test_a_late_row_of_a_detached_day_forbids_undo_and_outlives_the_release(hot, lake):
    ingest(hot, bars(day(0)), hot_days=[day(0)])
    rotate(hot, lake, day(0))
    new = bars(day(0), ["IBM"], ingested_at=LATER)
    ingest(hot, new)
    undone = undo(hot, MARKET_DATA, ALL_DAYS, run_id="run")
    assert [failed.partition for failed in undone.failed] == [day(0)]
    assert_answers(hot, lake, bars(day(0)), new)
    assert night(hot, lake, undo_days=0) == [(day(0), "fold")]
    done = Rotation(hot, lake, DuckDBSpool, Lifecycle(undo_days=0), "run").run(
        [MARKET_DATA], as_of=datetime.now(UTC).date() + timedelta(days=1)
    )
    assert done.released == [day(0)]
    assert hot.detached(MARKET_DATA) == []
    assert_answers(hot, lake, bars(day(0)), new)


def test_a_row_that_comes_while_its_day_is_folded_waits_for_the_next_night(hot, lake):
    publish(hot, lake, bars(day(0)))
    first, second = bars(day(0), ["IBM"], ingested_at=LATER), bars(day(0), ["ORCL"], ingested_at=LATER)
    ingest(hot, first)
    with hot.writer(MARKET_DATA) as writer, writer.export(day(0)) as export:
        ingest(hot, second)
        assert export.rows == 3
    assert_answers(hot, lake, bars(day(0)), first, second)
    assert night(hot, lake) == [(day(0), "fold")]
    assert_answers(hot, lake, bars(day(0)), first, second)


def test_a_row_that_comes_between_the_export_and_the_cutover_of_its_hot_day_keeps_it_hot(hot, lake):
    ingest(hot, bars(day(0)), hot_days=[day(0)])
    new = bars(day(0), ["IBM"], ingested_at=LATER)
    with about_to_cut_over(hot, lake, day(0)) as cut_over:
        ingest(hot, new)
        with pytest.raises(StaleStateError):
            cut_over()
    assert_answers(hot, lake, bars(day(0)), new)


def test_late_rows_join_a_day_that_is_rehydrated_and_leave_with_it(hot, lake):
    [vintage] = publish(hot, lake, bars(day(0)))
    late, later = bars(day(0), ["IBM"], ingested_at=LATER), bars(day(0), ["ORCL"], ingested_at=LATER)
    ingest(hot, late)
    assert load(hot, lake, vintage) == 9
    assert ingest(hot, later).hot_rows == 3
    assert hot_set(hot) == {day(0)}
    assert_answers(hot, lake, bars(day(0)), late, later)
    assert night(hot, lake) == [(day(0), "rotate")]
    assert_answers(hot, lake, bars(day(0)), late, later)
    rehydrate(hot, lake, MARKET_DATA, DayRange(day(0).day, day(1).day), until=AS_OF, run_id="run")
    assert_answers(hot, lake, bars(day(0)), late, later)


def test_late_rows_from_the_shell_and_from_python_are_seen_by_every_question(home, tmp_path, capsys):
    """One home: a file by the command, a table by Python, a backfill over both."""
    header = "symbol,interval,ts,open,high,low,close,volume,asset_class"
    for name, line in {
        "old": "AAPL,1min,2020-01-06T15:00:00Z,1,1,1,1,1,equity",
        "late": "IBM,1min,2020-01-06T15:00:00Z,2,2,2,2,2,equity",
    }.items():
        (tmp_path / f"{name}.csv").write_text(f"{header}\n{line}\n")
    with thermocline.open(home=home) as tc:
        tc.backfill("market_data", source="files", path=str(tmp_path / "old.csv"))
        assert main(["ingest", "market_data", str(tmp_path / "late.csv")], standalone_mode=False) in {0, None}
        assert "1 late row" in capsys.readouterr().out

        def symbols():
            whole = tc.query("market_data").to_arrow()["symbol"].to_pylist()
            by_sql = tc.sql("SELECT symbol FROM market_data ORDER BY symbol").to_arrow()["symbol"].to_pylist()
            assert by_sql == sorted(whole)
            [line] = tc.status(["market_data"], as_of="2024-01-01")
            return sorted(whole), line.late_rows, line.due_partitions

        assert symbols() == (["AAPL", "IBM"], 1, 1)
        assert tc.ingest("market_data", _bar("MSFT", 3)).late_rows == 1
        assert symbols() == (["AAPL", "IBM", "MSFT"], 2, 1)
        # A backfill of the day restates it, under rows that are late still.
        tc.backfill("market_data", source="files", path=str(tmp_path / "late.csv"))
        assert symbols() == (["AAPL", "IBM", "MSFT"], 2, 1)
        [moved] = tc.rotate(as_of="2024-01-01").moved
        assert (moved.action, moved.partition.day) == ("fold", date(2020, 1, 6))
        assert symbols() == (["AAPL", "IBM", "MSFT"], 0, 0)
        assert tc.verify(["market_data"]).failed == []


def _bar(symbol, price):
    names = ("symbol", "interval", "ts", "open", "high", "low", "close", "volume", "asset_class")
    at = datetime(2020, 1, 6, 15, tzinfo=UTC)
    return pa.table(
        {name: [value] for name, value in zip(names, (symbol, "1min", at, *[price] * 5, "equity"), strict=True)}
    )
