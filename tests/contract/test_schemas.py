"""What every pair of tiers promises when the columns of a dataset change under rows in every state."""

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from hot_acts import day, ingest
from made_rows import bars
from pyiceberg.table import StaticTable

from thermocline.api import Thermocline
from thermocline.errors import LockTimeoutError, SchemaError, StaleStateError, UsageError
from thermocline.model.datasets import DATASETS, MARKET_DATA
from thermocline.ports import Fetched
from thermocline.settings import load_settings
from thermocline.stores.analytics import DuckDBAnalytics
from thermocline.stores.iceberg import IcebergCatalog
from thermocline.stores.lake import ParquetLake
from thermocline.stores.memory import MemoryCatalog, MemoryObjects
from thermocline.stores.memory_hot import MemoryHot
from thermocline.stores.objects_local import LocalObjects
from thermocline.stores.postgres import PostgresHot
from thermocline.stores.postgres import schemas as postgres_schemas
from thermocline.stores.spool import DuckDBSpool

SPREAD = {"market_data": {"columns": {"spread": "price"}}}
AS_OF = date(2024, 2, 20)
"""Ten days of window: from 2024-02-10 on."""

COLD, DETACHED, LATE, HOT = day(0), day(1), day(2), day(30)


@dataclass(frozen=True)
class Made:
    """A source of rows that are there already."""

    table: pa.Table
    name: str = "made"

    def fetch(self, request):
        """Yield all of them at once."""
        del request
        yield Fetched(self.table, "made")


@dataclass
class Home:
    """Stores that are opened again and again with other declarations, as by processes that come one after another."""

    hot: MemoryHot | PostgresHot
    lake: ParquetLake
    folder: Path

    def opened(self, declared=None) -> Thermocline:
        """Open the stores with what thermocline.yaml declares."""
        environ = {
            "THERMOCLINE_DATASETS": json.dumps(declared or {}),
            "THERMOCLINE_STORAGE__LIFECYCLE__HOT_DAYS": "10",
            "THERMOCLINE_STORAGE__LIFECYCLE__HOT_INTERVALS": '["1min"]',
        }
        settings = load_settings(self.folder, environ=environ)
        DATASETS.declare(settings.declared)
        return Thermocline(
            settings, hot=self.hot, lake=self.lake, spools=DuckDBSpool, analytics=DuckDBAnalytics(self.lake.engine)
        )


@pytest.fixture(params=["memory", "embedded"])
def home(request, tmp_path):
    if request.param == "memory":
        lake = ParquetLake(MemoryObjects(), MemoryCatalog())
        yield Home(MemoryHot(), lake, tmp_path)
        return
    yield made_home(request, tmp_path, PostgresHot(request.getfixturevalue("new_database")("embedded")))


def made_home(request, folder, hot):
    objects = LocalObjects(folder / "lake")
    lake = ParquetLake(objects, IcebergCatalog(f"sqlite:///{folder}/catalog.db", objects))
    request.addfinalizer(lake.close)
    return Home(hot, lake, folder)


def rows_of(*batches):
    return pa.Table.from_batches(batches)


def with_spread(batch, spread):
    column = pa.array([Decimal(spread)] * batch.num_rows, pa.decimal128(18, 8))
    return pa.Table.from_batches([batch]).append_column("spread", column)


def in_every_state(tc):
    """Bars that are cold, detached, late and hot; and the rows that are there then."""
    old = [bars(partition) for partition in (COLD, DETACHED, LATE)]
    tc.backfill("market_data", source=Made(rows_of(old[0], old[2])), as_of=AS_OF)
    ingest(tc.hot, old[1], hot_days=[DETACHED])
    tc.rotate(["market_data"], as_of=AS_OF)
    tc.ingest("market_data", rows_of(bars(HOT)), as_of=AS_OF)
    late = bars(LATE, ["LATE"])
    tc.ingest("market_data", rows_of(late), as_of=AS_OF, accept_restatements=True)
    assert [found.partition for found in tc.hot.detached(MARKET_DATA)] == [DETACHED]
    assert list(tc.hot.late(MARKET_DATA)) == [LATE]
    return len(rows_of(*old, late, bars(HOT)))


def spreads(tc, **asked):
    """How often each spread is there."""
    found = tc.query("market_data", **asked).to_arrow()["spread"].to_pylist()
    return {value: found.count(value) for value in dict.fromkeys(found)}


def test_rows_in_every_state_get_a_column_and_stay_what_they_are(home):
    before = home.opened()
    count = in_every_state(before)
    earlier = datetime.now(UTC)
    content = before.query("market_data").to_arrow()

    tc = home.opened(SPREAD)
    # Until it is applied, no row with the column is taken in, and all else goes on without it.
    assert [change.column.name for change in tc.schema_diff("market_data")] == ["spread"]
    for act in (tc.ingest, lambda name, rows: tc.backfill(name, source=Made(rows), as_of=AS_OF)):
        with pytest.raises(SchemaError, match="thermocline schema evolve market_data"):
            act("market_data", with_spread(bars(COLD), "0.02"))
    assert tc.query("market_data").to_arrow() == content

    assert tc.plan_evolution("market_data").new.version == 2
    assert tc.evolve("market_data").new.version == 2
    assert (tc.evolve("market_data").changes, tc.plan_evolution("market_data").changes) == ([], [])
    found = tc.query("market_data").to_arrow()
    assert found.drop_columns("spread") == content
    assert spreads(tc) == {None: count}
    assert tc.sql("SELECT count(*) AS n, count(spread) AS s FROM market_data").to_arrow().to_pylist() == [
        {"n": count, "s": 0}
    ]
    assert spreads(tc, as_of_vintage=earlier) == {None: 18}

    # What is old is as good as it was: verified, restored for a trial, brought back, brought to hot, found unchanged.
    report = tc.verify(["market_data"])
    assert (report.failed, report.table, report.verified) == ([], [], 3)
    assert tc.drill(["market_data"], count=3).failed == []
    assert len(tc.undo("market_data", as_of=AS_OF, days=90).moved) == 1
    assert tc.rehydrate("market_data", start=str(COLD.day), end=str(DETACHED.day), as_of=AS_OF).loaded == 1
    again = tc.backfill("market_data", source=Made(rows_of(bars(COLD))), as_of=AS_OF)
    assert (again.unchanged, again.written) == (1, 0)
    assert spreads(tc) == {None: count}

    # New rows have values; a night folds the late ones into a file that has the column.
    tc.backfill(
        "market_data",
        source=Made(with_spread(bars(COLD, ingested_at=datetime.now(UTC)), "0.02")),
        as_of=AS_OF,
        accept_restatements=True,
    )
    tc.ingest("market_data", with_spread(bars(HOT, ["NEW"]), "0.03"), as_of=AS_OF)
    assert tc.rotate(["market_data"], as_of=AS_OF + timedelta(days=200)).failed == []
    expected = {Decimal("0.02000000"): 6, Decimal("0.03000000"): 3, None: count - 6}
    assert spreads(tc) == expected
    (cells,) = {c["column"] for c in cells_of(tc, COLD.day)}
    assert cells == "spread"
    assert tc.compact(["market_data"], as_of=AS_OF + timedelta(days=400)).failed == []
    assert spreads(tc) == expected
    report = tc.verify(["market_data"])
    assert (report.failed, report.table) == ([], [])
    assert [(state.version, sum(state.objects.values())) for state in tc.schemas(["market_data"])] == [(2, 1)]
    if isinstance(home.hot, PostgresHot):
        assert sorted(map(str, seen_by_others(home)["spread"].unique().to_pylist())) == [
            "0.02000000",
            "0.03000000",
            "None",
        ]

    # A machine that was told nothing loses nothing.
    older = home.opened()
    assert spreads(older) == expected
    older.ingest("market_data", rows_of(bars(day(40))), as_of=AS_OF)
    assert spreads(older) == {**expected, None: expected[None] + 6}


def cells_of(tc, on):
    with tc.diff("market_data", on).changes() as found:
        return found.cells.read_all().to_pylist()


def seen_by_others(home):
    """The whole table, as PyIceberg reads it without us."""
    metadata = home.folder / "lake/cold_storage/market_data/metadata"
    hint = (metadata / "version-hint.text").read_text()
    return StaticTable.from_metadata(str(metadata / f"v{hint}.metadata.json")).scan().to_arrow()


def test_a_price_becomes_money_and_a_value_may_be_missing(home):
    def declared(kind, required):
        score = {"kind": "float", "required": required}
        return {"mine": {"columns": {"symbol": "text", "total": kind, "score": score}}}

    def rows(day_, total, score):
        at = datetime(2024, 1, day_, tzinfo=UTC)
        return pa.table({"symbol": ["A"], "ts": [at], "total": [Decimal(total)], "score": pa.array([score], "float64")})

    tc = home.opened(declared("price", required=True))
    tc.backfill("mine", source=Made(rows(2, "9999999999.5", 1.0)), as_of=AS_OF)
    tc.ingest("mine", rows(3, "1.5", 2.0), as_of=date(2024, 1, 4))
    tc = home.opened(declared("money", required=False))
    assert [change.what for change in tc.evolve("mine").changes] == [
        "column total changes from price to money, which holds every price",
        "column score may be null",
    ]
    tc.ingest("mine", rows(4, "123456789012345.5", None), as_of=date(2024, 1, 4))
    assert tc.rotate(["mine"], as_of=AS_OF).failed == []
    found = tc.query("mine").to_arrow()
    assert [str(total) for total in found["total"].to_pylist()] == [
        "9999999999.50000000",
        "1.50000000",
        "123456789012345.50000000",
    ]
    assert found.schema.field("total").type == pa.decimal128(28, 8)
    assert (tc.verify(["mine"]).failed, tc.drill(["mine"], count=3).failed) == ([], [])
    assert tc.sql("SELECT sum(total) AS n FROM mine").to_arrow()["n"].to_pylist() == [
        Decimal("123466789012346.50000000")
    ]


def test_what_is_not_safe_changes_nothing(home):
    mine = {"mine": {"columns": {"symbol": "text", "n": "integer", "note": "text"}}}
    home.opened(mine).ingest(
        "mine", pa.table({"symbol": ["A"], "ts": [datetime(2024, 2, 19, tzinfo=UTC)]}), as_of=AS_OF
    )
    tc = home.opened({"mine": {"columns": {"symbol": "text", "n": "float", "more": "text"}}})
    with pytest.raises(SchemaError) as refused:
        tc.evolve("mine")
    assert "2**53" in str(refused.value)
    assert "column note is there and not declared" in str(refused.value)
    assert [state.version for state in tc.schemas(["mine"])] == [1]
    columns = ["symbol", "n", "note", "ts", "source", "ingested_at"]
    assert tc.query("mine").to_arrow().column_names == columns

    # Nor does it change when nothing declares it any more.
    tc = home.opened()
    assert tc.query("mine").to_arrow().column_names == columns
    assert [act.dataset for act in tc.audit(limit=1)] == ["mine"]
    with pytest.raises(UsageError, match="nothing declares mine any more"):
        tc.evolve("mine")


def test_a_dataset_without_a_row_may_be_declared_in_any_other_way(home):
    home.opened({"mine": {"columns": {"symbol": "text", "n": "integer"}}}).status()
    with home.hot.writer(DATASETS["mine"]):
        pass
    declared = {"mine": {"columns": {"symbol": "text", "n": "text", "who": "text"}, "key": ["symbol", "who"]}}
    tc = home.opened(declared)
    assert (tc.plan_evolution("mine").anew, tc.evolve("mine").new.version) == (True, 1)
    row = {"symbol": ["A"], "who": ["me"], "n": ["many"], "ts": [datetime(2024, 2, 19, tzinfo=UTC)]}
    tc.ingest("mine", pa.table(row), as_of=AS_OF)
    assert tc.query("mine", columns=["n", "who"]).to_arrow().to_pylist() == [{"n": "many", "who": "me"}]
    tc = home.opened({"mine": {"columns": {"symbol": "text", "n": "integer"}}})
    with pytest.raises(SchemaError, match="key changes from"):
        tc.evolve("mine")


def test_a_run_that_does_not_know_the_newest_version_is_told_so_and_changes_nothing(home):
    in_every_state(home.opened())
    home.opened(SPREAD).evolve("market_data")
    with pytest.raises(StaleStateError, match="run it again"), home.hot.writer(MARKET_DATA):
        pass
    with pytest.raises(StaleStateError, match="run it again"):
        home.hot.ingest(MARKET_DATA, rows_of(bars(day(40))), hot_days=[], run_id="stale")
    assert list(home.hot.late(MARKET_DATA)) == [LATE]


# ---------------------------------------------------------------------------------------------------- PostgreSQL alone


@pytest.fixture
def address(new_database):
    return new_database("embedded")


@pytest.fixture
def postgres(request, tmp_path, address):
    return made_home(request, tmp_path, PostgresHot(address))


def test_a_lost_database_learns_the_versions_from_the_lake(postgres, new_database):
    in_every_state(postgres.opened())
    tc = postgres.opened({"market_data": {"columns": {"spread": "price", "depth": "integer"}}})
    tc.evolve("market_data")
    tc.ingest("market_data", with_spread(bars(day(31)), "0.05"), as_of=AS_OF)
    tc.rotate(["market_data"], as_of=AS_OF + timedelta(days=200))
    expected = spreads(tc)

    anew = Home(PostgresHot(new_database("embedded")), postgres.lake, postgres.folder)
    for declared in ({}, SPREAD):
        tc = anew.opened(declared)
        assert tc.recover(["market_data"]).is_whole
        assert [schema.version for schema in tc.schemas(["market_data"])[0].versions] == [1, 2]
        assert spreads(tc) == expected
    assert tc.verify(["market_data"]).failed == []


def test_a_home_of_an_older_release_has_its_first_version_without_any_act(postgres, address):
    count = in_every_state(postgres.opened())
    with psycopg.connect(address) as connection:
        connection.execute("DELETE FROM thermocline.dataset_schema")
    later = Home(PostgresHot(address), postgres.lake, postgres.folder)
    tc = later.opened(SPREAD)
    assert [change.column.name for change in tc.schema_diff("market_data")] == ["spread"]
    assert len(tc.query("market_data").to_arrow()) == count
    assert tc.evolve("market_data").new.version == 2
    assert spreads(tc) == {None: count}


def test_a_reader_that_does_not_end_holds_up_the_evolution_and_not_other_readers(postgres, address, monkeypatch):
    count = in_every_state(postgres.opened())
    tc = postgres.opened(SPREAD)
    monkeypatch.setattr(postgres_schemas, "PATIENCE_SECONDS", 0.0)
    with psycopg.connect(address) as reader:
        reader.execute("SELECT count(*) FROM public.market_data")
        with pytest.raises(LockTimeoutError, match="server process"):
            tc.evolve("market_data")
        assert len(tc.query("market_data").to_arrow()) == count
    assert [state.version for state in tc.schemas(["market_data"])] == [1]
    assert tc.evolve("market_data").new.version == 2
