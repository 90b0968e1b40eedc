"""Explain: what a query would read and how soon, and where the time of one went."""

from datetime import timedelta

import pytest
from hot_acts import day, ingest, publish
from made_rows import NOON, bars

from thermocline.errors import LakeError
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.latency import latency_of
from thermocline.model.query import Query, Route, plan_route
from thermocline.model.receipt import StoredObject
from thermocline.model.storage_classes import Provider
from thermocline.stores import parquet
from thermocline.stores.memory_hot import MemoryHot
from thermocline.stores.open import open_lake, open_results
from thermocline.tasks.analyze import _covered, analyze
from thermocline.tasks.explain import explain
from thermocline.tasks.query import query

SYMBOLS = [f"S{number:03d}" for number in range(60)]
"""More than a row group has."""


@pytest.fixture(autouse=True)
def _small_row_groups(monkeypatch):
    """Else days as small as these would be one row group each."""
    monkeypatch.setattr(parquet, "ROW_GROUP_FEW", 0)


@pytest.fixture
def hot():
    return MemoryHot()


@pytest.fixture
def lake():
    with open_lake("memory://", catalog_url="", threads=1, results=open_results(memory_mib=8, max_entry_mib=1)) as lake:
        yield lake


@pytest.fixture
def days(hot, lake):
    """Three cold days of sixty symbols, the fourth hot."""
    publish(hot, lake, *(bars(day(number), SYMBOLS, 10) for number in range(3)))
    ingest(hot, bars(day(3), SYMBOLS, 10), hot_days=[day(3)])


def asked(**said):
    return Query(MARKET_DATA, **said)


@pytest.mark.usefixtures("days")
def test_it_says_which_row_groups_and_bytes_are_read(hot, lake):
    found = explain(hot, asked(symbols=("S055",), columns=("close",)), lake).document()
    assert found["row_groups"]["total"] == 6
    assert found["row_groups"]["read"] == 3
    assert found["row_groups"]["read_bytes"] < found["bytes"] / 4
    assert [segment["row_groups"] for segment in found["segments"]] == [found["row_groups"], None]
    assert found["latency"]["class"] == "tens of milliseconds"
    assert found["analysis"] is None


@pytest.mark.usefixtures("days")
def test_what_can_not_be_read_is_no_reason_not_to_explain_the_rest(hot):
    with open_lake("memory://", catalog_url="") as empty:
        found = explain(hot, asked(), empty).document()
    assert found["row_groups"] is None
    assert (found["files"], len(found["segments"])) == (3, 2)


@pytest.mark.usefixtures("days")
def test_a_run_says_what_each_segment_gave_and_where_its_time_went(hot, lake):
    analysis = analyze(hot, lake, lambda hot, lake: query(hot, lake, asked()))
    assert analysis.rows == 4 * 600
    assert [(scan.segment.tier.value, scan.rows, scan.kept_in) for scan in analysis.scans] == [
        ("cold", 1800, ""),
        ("hot", 600, ""),
    ]
    parts = (analysis.plan_seconds, analysis.hot_seconds, analysis.cold_seconds, analysis.merge_seconds)
    assert all(0 <= part <= analysis.seconds for part in parts)
    assert sum(parts) >= analysis.seconds - 1e-6, "no time is unaccounted for"
    assert analysis.first_rows_seconds <= analysis.seconds
    assert analysis.document()["requests"] is None


@pytest.mark.usefixtures("days")
def test_a_run_says_what_came_from_a_cache_and_a_late_row_ends_that(hot, lake):
    def hits():
        return analyze(hot, lake, lambda hot, lake: query(hot, lake, asked())).cache_hits

    assert (hits(), hits()) == (0, 1)
    ingest(hot, bars(day(1), SYMBOLS[:1], 1, close="200", ingested_at=NOON + timedelta(hours=1)))
    assert (hits(), hits()) == (0, 0)


def test_a_run_of_nothing_is_all_plan(hot, lake):
    analysis = analyze(hot, lake, lambda hot, lake: query(hot, lake, asked()))
    assert (analysis.rows, analysis.first_rows_seconds, analysis.scans) == (0, None, [])
    assert analysis.plan_seconds == analysis.seconds


def test_an_error_of_the_query_is_that_of_the_run(hot, lake, days):  # noqa: ARG001
    lake.delete(explain(hot, asked(), lake).route.paths[0])
    with pytest.raises(LakeError):
        analyze(hot, lake, lambda hot, lake: query(hot, lake, asked()))


@pytest.mark.parametrize(
    ("spans", "covered"),
    [([], 0), ([(1, 3)], 2), ([(1, 3), (2, 5)], 4), ([(4, 5), (1, 2)], 2), ([(1, 9), (2, 3), (8, 10)], 9)],
)
def test_time_in_which_two_were_at_work_counts_once(spans, covered):
    assert _covered(spans) == covered


@pytest.mark.usefixtures("days")
def test_the_latency_class_has_a_reason(hot):
    with hot.snapshot([MARKET_DATA], asked().days) as snapshot:
        both = plan_route(asked(), hot=snapshot.hot, live=snapshot.live)
        only_hot = plan_route(asked(start=day(3).start), hot=snapshot.hot, live=snapshot.live)
    archived = [StoredObject("a", 1, "")]
    assert str(latency_of(only_hot, Provider.S3)) == "milliseconds: hot"
    assert str(latency_of(Route(asked()), Provider.S3)) == "milliseconds: there is nothing to read"
    assert str(latency_of(both, Provider.LOCAL)) == "tens of milliseconds: 3 objects on a local disk"
    assert str(latency_of(both, Provider.LOCAL, read_bytes=1 << 30)).startswith("seconds: 1,024 MiB of 3 objects")
    assert str(latency_of(both, Provider.GCS)) == "seconds: 3 objects in a bucket"
    assert str(latency_of(both, Provider.S3, archived)).startswith("hours: 1 object must be restored")
