"""What is kept of answers in levels of caches, and what the lake keeps in them."""

from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from cache_acts import MIB, noise
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_rows import DAY, NOON, bars

from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import Partition, midnight
from thermocline.model.query import Query, Segment, Tier
from thermocline.model.receipt import Vintage
from thermocline.stores.open import open_lake, open_results
from thermocline.stores.results import MemoryCache, Results, key_of

# -------------------------------------------------------------------------------------------------------------- levels


class Stream:
    """An answer that counts how often it is opened."""

    def __init__(self, *tables):
        """Answer with the rows of these tables."""
        self.tables, self.opened = tables, 0

    @contextmanager
    def __call__(self):
        """Open it."""
        self.opened += 1
        batches = (batch for table in self.tables for batch in table.to_batches())
        yield pa.RecordBatchReader.from_batches(self.tables[0].schema, batches)


def read(results, key, stream):
    with results.stream(key, stream.tables[0].schema, stream) as reader:
        return reader.read_all()


def test_what_the_far_cache_has_comes_to_the_near_one():
    near, far = MemoryCache(MIB), MemoryCache(MIB)
    far.put("a", noise(1000))
    results, stream = Results([near, far]), Stream(noise(1000))
    assert read(results, "a", stream).equals(noise(1000))
    assert read(results, "a", stream).equals(noise(1000))
    assert (stream.opened, near.state().hits, far.state().hits) == (0, 1, 1)


def test_only_what_was_read_to_its_end_is_kept():
    results, stream = Results([MemoryCache(MIB)]), Stream(noise(1000, 0), noise(1000, 1))
    with results.stream("a", stream.tables[0].schema, stream) as reader:
        reader.read_next_batch()
    assert read(results, "a", stream).num_rows == 2
    assert read(results, "a", stream).num_rows == 2
    assert stream.opened == 2


def test_what_breaks_off_is_not_kept():
    results = Results([MemoryCache(MIB)])

    @contextmanager
    def breaking():
        def batches():
            yield from noise(1000).to_batches()
            raise OSError("broke off")  # noqa: TRY003, EM101

        yield pa.RecordBatchReader.from_batches(noise(1).schema, batches())

    with results.stream("a", noise(1).schema, breaking) as reader, pytest.raises(OSError, match="broke off"):
        reader.read_all()
    assert [state.entries for state in results.states()] == [0]


def test_nothing_is_held_of_an_answer_that_is_too_large():
    results = Results([MemoryCache(64 * MIB)], max_entry_bytes=MIB)
    stream = Stream(*(noise(300_000, number) for number in range(20)))
    held = []
    before = pa.total_allocated_bytes()

    @contextmanager
    def made():
        def batches():
            for number in range(40):
                held.append(pa.total_allocated_bytes() - before)
                yield pa.record_batch({"number": pa.array(range(number, number + 40_000), pa.int64())})

        yield pa.RecordBatchReader.from_batches(pa.schema({"number": pa.int64()}), batches())

    with results.stream("b", pa.schema({"number": pa.int64()}), made) as reader:
        for _ in reader:
            pass
    assert max(held) < 3 * MIB
    assert read(results, "a", stream).num_rows == 20
    assert [state.entries for state in results.states()] == [0]


def test_a_made_answer_is_made_once():
    results, made = Results([MemoryCache(MIB)]), []

    def produce():
        made.append(1)
        return noise(1000)

    assert results.cached("a", produce).equals(results.cached("a", produce))
    assert len(made) == 1
    assert Results().cached("a", produce).equals(noise(1000))
    assert len(made) == 2


# ------------------------------------------------------------------------------------------------------------ the lake


@pytest.fixture
def lake(tmp_path):
    results = open_results(memory_mib=8, max_entry_mib=1)
    with open_lake(
        str(tmp_path / "lake"), catalog_url=f"sqlite:///{tmp_path}/catalog.db", threads=1, results=results
    ) as lake:
        yield lake


def written(lake, number=0, version=1, **said):
    partition = Partition("market_data", "1day", DAY + timedelta(days=number))
    return Vintage(lake.write(partition, version, [bars(partition, **said)], run_id="run-1"), NOON)


def cold(*vintages):
    return Segment(Tier.COLD, "1day", tuple(v.partition.day for v in vintages), vintages)


def answer(lake, query, segment, late=None):
    with lake.scan(query, segment, late) as reader:
        return reader.read_all()


def hits(lake):
    state = lake.kept_answers.states()[0]
    return state.hits, state.misses


def test_the_same_question_to_the_same_vintages_is_read_once(lake):
    segment = cold(written(lake), written(lake, 1))
    first = answer(lake, Query(MARKET_DATA), segment)
    assert answer(lake, Query(MARKET_DATA), segment).equals(first)
    assert first.num_rows == 12
    assert hits(lake) == (1, 1)


def test_a_new_vintage_is_read_anew(lake):
    old = written(lake)
    assert answer(lake, Query(MARKET_DATA, columns=("close",)), cold(old))["close"][0].as_py() == Decimal("187.15")
    new = written(lake, close="1")
    assert new.receipt.path != old.receipt.path
    assert answer(lake, Query(MARKET_DATA, columns=("close",)), cold(new))["close"][0].as_py() == 1
    assert hits(lake) == (0, 2)


def test_late_rows_are_neither_kept_nor_answered_from_what_is_kept(lake):
    vintage = written(lake)
    segment, query = cold(vintage), Query(MARKET_DATA, columns=("symbol", "close"))
    before = answer(lake, query, segment)
    late = pa.table(bars(vintage.partition, ("AAPL",), 1, close="5", ingested_at=NOON + timedelta(days=1)))
    assert answer(lake, query, segment, late)["close"][0].as_py() == 5
    assert hits(lake) == (0, 1)
    assert answer(lake, query, segment, late.slice(0, 0)).equals(before)
    assert hits(lake) == (1, 1)


def test_late_rows_of_other_days_keep_nothing_from_being_kept(lake):
    vintage, other = written(lake), written(lake, 1)
    query = Query(MARKET_DATA, columns=("symbol", "close"))
    late = pa.table(bars(other.partition, ("AAPL",), 1, close="5", ingested_at=NOON + timedelta(days=1)))
    before = answer(lake, query, cold(vintage), late)
    assert answer(lake, query, cold(vintage), late).equals(before)
    assert hits(lake) == (1, 1)
    assert answer(lake, query, cold(vintage, other), late)["close"].to_pylist().count(5) == 1
    assert hits(lake) == (1, 1)


def test_an_answer_that_is_kept_outlives_its_object(lake):
    """The ledger says which vintages are live; an object that is missing is what `verify` finds, by reading."""
    vintage = written(lake)
    first = answer(lake, Query(MARKET_DATA), cold(vintage))
    lake.delete(vintage.receipt.path)
    assert answer(lake, Query(MARKET_DATA), cold(vintage)).equals(first)
    lake.kept_answers.clear()
    with pytest.raises(Exception, match="can't be read"):
        answer(lake, Query(MARKET_DATA), cold(vintage))
    with pytest.raises(Exception, match="is missing"):
        lake.observe(vintage.receipt)


symbols = st.lists(st.sampled_from(["AAPL", "MSFT", "IBM"]), max_size=3).map(tuple)
hours = st.one_of(st.none(), st.integers(0, 71))
columns = st.lists(st.sampled_from(["symbol", "ts", "close", "volume"]), max_size=3, unique=True).map(tuple)


@pytest.fixture
def three_days(lake):
    return lake, cold(*(written(lake, number, count=30) for number in range(3)))


@given(symbols, st.tuples(hours, hours), columns, st.one_of(st.none(), st.integers(1, 20)))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_answer_is_the_one_that_is_read(three_days, symbols, between, columns, limit):
    """One cache for all examples: a key that two questions shared would show."""
    lake, segment = three_days
    first, last = between
    start = None if first is None else midnight(DAY) + timedelta(hours=first)
    end = None if last is None else midnight(DAY) + timedelta(hours=(first or 0) + last + 1)
    query = Query(MARKET_DATA, start, end, symbols, (), columns, limit)
    kept = lake._results  # noqa: SLF001  # the same lake without a cache
    found = answer(lake, query, segment)
    lake._results = Results()  # noqa: SLF001
    assert answer(lake, query, segment).equals(found)
    lake._results = kept  # noqa: SLF001


def test_questions_with_one_answer_have_one_key(lake):
    segment = cold(written(lake), written(lake, 1))
    asked = Query(MARKET_DATA, symbols=("AAPL", "MSFT"))
    alike = [
        replace(asked, symbols=("MSFT", "AAPL", "MSFT")),
        replace(asked, start=midnight(DAY)),
        replace(asked, start=datetime(1999, 1, 1, tzinfo=UTC), end=midnight(DAY + timedelta(days=2))),
        replace(asked, as_of_vintage=NOON),
        replace(asked, columns=MARKET_DATA.names),
    ]
    assert {key_of(each, segment) for each in alike} == {key_of(asked, segment)}
    moved = replace(segment.vintages[0].receipt, sha256="0" * 64)
    others = [
        key_of(replace(asked, limit=1), segment),
        key_of(replace(asked, columns=("ts",)), segment),
        key_of(replace(asked, symbols=()), segment),
        key_of(replace(asked, start=midnight(DAY) + timedelta(microseconds=1)), segment),
        key_of(replace(asked, end=midnight(DAY + timedelta(days=1))), segment),
        key_of(replace(asked, dataset=replace(MARKET_DATA, schema_version=2)), segment),
        key_of(asked, segment, "count"),
        key_of(asked, cold(segment.vintages[0])),
        key_of(asked, cold(replace(segment.vintages[0], receipt=moved), segment.vintages[1])),
        key_of(asked, replace(segment, interval="1min")),
    ]
    assert len({key_of(asked, segment), *others}) == len(others) + 1
