"""DBN files of Databento: exact prices, symbols of the day, one bar of many venues, and no silent loss."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import BytesIO

import pyarrow as pa
import pytest
from databento_dbn import CBBOMsg, ConsolidatedBidAskPair, RType, Side
from dbn_made import CALL, DAY, UNDEFINED, bar, dbn, nanoseconds

from thermocline.errors import SettingsError, SourceError, UsageError
from thermocline.model.conform import conform
from thermocline.model.datasets import MARKET_DATA, NEWS, OPTIONS_DATA
from thermocline.model.partition import ALL_DAYS, DayRange
from thermocline.ports import FetchRequest
from thermocline.sources.open import open_source
from thermocline.sources.zstd_frames import is_whole

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def written(path, records, schema="ohlcv-1m", **said):
    """A DBN file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(dbn(records, schema, **said))
    return path


def fetched(path, dataset=MARKET_DATA, intervals=(), days=ALL_DAYS, **options):
    request = FetchRequest(dataset, days, frozenset(), frozenset(intervals))
    return list(open_source("databento", path=str(path), options=options).fetch(request))


def rows(path, dataset=MARKET_DATA, **asked):
    found = []
    for page in fetched(path, dataset, **asked):
        conformed = conform(page.rows, dataset, source="databento", ingested_at=NOW, origin=page.origin)
        assert conformed.rejected == ()
        found += conformed.rows.to_pylist()
    return found


def test_a_price_of_billionths_is_exact(tmp_path):
    file = written(tmp_path / "a.dbn", [bar(DAY, "3702.75 3735.00000001 0.1 69.13", 718)], names={"MSFT": 7})
    (row,) = rows(file)
    assert {name: row[name] for name in ("open", "high", "low", "close")} == {
        "open": Decimal("3702.75"),
        "high": Decimal("3735.00000001"),
        "low": Decimal("0.1"),
        "close": Decimal("69.13"),
    }
    assert (row["symbol"], row["interval"], row["ts"], row["volume"]) == ("MSFT", "1min", DAY, 718.0)


@pytest.mark.parametrize(
    ("dataset", "symbol", "kept", "asset_class"),
    [
        ("XNAS.ITCH", "BRK.B", "BRK.B", "equity"),
        ("GLBX.MDP3", "ESH5", "ESH5", "future"),
        ("GLBX.MDP3", "ESH5 C6000", "ESH5 C6000", "option"),
        ("OPRA.PILLAR", CALL, "AAPL250221C00250000", "option"),
    ],
)
def test_the_dataset_tells_what_an_instrument_is(tmp_path, dataset, symbol, kept, asset_class):
    file = written(tmp_path / "a.dbn", [bar(DAY, "1 1 1 1", 1)], dataset=dataset, names={symbol: 7})
    (row,) = rows(file)
    assert (row["symbol"], row["asset_class"]) == (kept, asset_class)


def test_the_bars_of_all_venues_are_one_bar(tmp_path):
    later = DAY + timedelta(minutes=1)
    records = [
        bar(DAY, "0.25 0.38 0.25 0.33", 70, publisher=31),
        bar(DAY, "0.19 0.40 0.24 0.35", 80, publisher=22),
        bar(DAY, "0.37 0.37 0.10 0.32", 19, publisher=33),
        bar(DAY, "9 9 9 9", 1, instrument=8, publisher=22),
        bar(later, "0.5 0.5 0.5 0.5", 3, publisher=22),
    ]
    file = written(tmp_path / "a.dbn", records, dataset="OPRA.PILLAR", names={CALL: 7, "AAPL  250221P00250000": 8})
    prices = ("open", "high", "low", "close", "volume")
    first, second, third = rows(file)
    # Open and close are the busiest venue's; high, low and volume are everybody's.
    assert [str(first[name]) for name in prices] == ["0.19000000", "0.40000000", "0.10000000", "0.35000000", "169.0"]
    assert (second["symbol"], second["volume"]) == ("AAPL250221P00250000", 1.0)
    assert (third["ts"], third["volume"]) == (later, 3.0)
    assert [row["volume"] for row in rows(file, publisher=31)] == [70.0]


def test_instruments_asked_for_by_parent_get_their_symbol_from_the_download_s_symbology(tmp_path):
    file = written(
        tmp_path / "glbx" / "a.dbn",
        [bar(DAY, "1 1 1 1", 1), bar(DAY, "2 2 2 2", 2, instrument=8)],
        dataset="GLBX.MDP3",
        stype="parent",
        names={"ES.FUT": 7},
    )
    (page,) = fetched(file)
    assert len(page.rows) == 0
    assert [reason.split(" on ")[0] for _, reason in page.unreadable] == [
        "no symbol is known for instrument 7",
        "no symbol is known for instrument 8",
    ]
    told = [{"d0": "2025-02-20", "d1": "2025-02-21", "s": number} for number in ("7", "8")]
    file.with_name("symbology.json").write_text(
        json.dumps(
            {
                "result": {"ESH5": told[:1], "ESM5": told[1:]},
                "symbols": ["ESH5", "ESM5"],
                "stype_in": "raw_symbol",
                "stype_out": "instrument_id",
                "start_date": "2025-02-20",
                "end_date": "2025-02-21",
                "partial": [],
                "not_found": [],
                "message": "OK",
                "status": 0,
            }
        )
    )
    assert [row["symbol"] for row in rows(file)] == ["ESH5", "ESM5"]


def test_quotes_of_all_venues_are_snapshots_of_contracts(tmp_path):
    def quote(instant, bid, ask, last):
        level = ConsolidatedBidAskPair(bid, ask, 1, 1, 30, 30)
        at = nanoseconds(instant)
        return CBBOMsg(RType.CBBO_1M, 30, 7, at, last, 1, Side.NONE, at, 0, levels=level)

    minute = DAY + timedelta(hours=14, minutes=31)
    records = [quote(DAY, UNDEFINED, UNDEFINED, UNDEFINED), quote(minute, 320_000_000, UNDEFINED, 340_000_000)]
    file = written(tmp_path / "q.dbn", records, "cbbo-1m", dataset="OPRA.PILLAR", names={CALL: 7})
    (row,) = rows(file, OPTIONS_DATA)
    assert row["contract_symbol"] == "AAPL250221C00250000"
    assert (row["underlying"], row["option_type"], row["strike"]) == ("AAPL", "call", Decimal(250))
    assert (row["expiration"], row["ts"]) == (date(2025, 2, 21), minute)
    assert (row["bid"], row["ask"], row["last"]) == (Decimal("0.32"), None, Decimal("0.34"))
    assert row["implied_volatility"] is None


def test_only_files_that_can_hold_what_is_asked_for_are_read(tmp_path):
    for schema in ("ohlcv-1m", "ohlcv-1d"):
        written(tmp_path / f"{schema}.dbn", [bar(DAY, "1 1 1 1", 1, schema=schema)], schema, names={"A": 7})
    assert {row["interval"] for row in rows(tmp_path)} == {"1min", "1day"}
    assert {row["interval"] for row in rows(tmp_path, intervals={"1day"})} == {"1day"}
    assert rows(tmp_path, days=DayRange(date(2025, 2, 21), date(2025, 2, 22))) == []


def test_a_file_that_breaks_off_is_named_after_the_others_were_read(tmp_path):
    whole = written(tmp_path / "a.dbn", [bar(DAY, "1 1 1 1", 1)], names={"A": 7})
    (tmp_path / "b.dbn").write_bytes(whole.read_bytes()[:-9])
    (tmp_path / "c.dbn").write_bytes(b"no DBN")
    source = open_source("databento", path=str(tmp_path))
    pages = source.fetch(FetchRequest(MARKET_DATA, ALL_DAYS))
    assert len(next(pages).rows) == 1
    with pytest.raises(SourceError, match=r"2 of 3 DBN files could not be read") as caught:
        list(pages)
    assert "b.dbn: it can't be read to its end" in str(caught.value)
    assert "c.dbn: it is no DBN file" in str(caught.value)


def test_a_packed_file_that_breaks_off_anywhere_is_noticed(tmp_path):
    at = [DAY + timedelta(seconds=second) for second in range(9_000)]
    records = [bar(each, f"1 {2 + n % 977} 1 1", n, schema="ohlcv-1s") for n, each in enumerate(at)]
    content = dbn(records, "ohlcv-1s", names={"A": 7})
    packed = pa.compress(content, codec="zstd", asbytes=True)
    assert is_whole(BytesIO(packed + b"\x50\x2a\x4d\x18\x02\x00\x00\x00hi" + packed))
    file = tmp_path / "a.dbn.zst"
    file.write_bytes(packed)
    assert len(rows(file)) == 9_000
    for length in range(5, len(packed), len(packed) // 200):
        assert not is_whole(BytesIO(packed[:length]))
    file.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(SourceError, match="it can't be read to its end: it breaks off"):
        fetched(file)


def test_what_can_t_be_rows_is_named_where_nothing_else_is_there(tmp_path):
    written(tmp_path / "t.dbn", [], "trades", names={"A": 7})
    written(tmp_path / "d.dbn", [], "definition", names={"A": 7})
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(
        SourceError, match="none of its 2 DBN files has rows for market_data; they hold definition, trades"
    ):
        fetched(tmp_path)
    with pytest.raises(UsageError, match="has rows for market_data and options_data, not for news"):
        fetched(tmp_path, NEWS)
    with pytest.raises(SourceError, match="nothing there ends in"):
        fetched(empty)
    with pytest.raises(SettingsError, match="needs a path"):
        open_source("databento")
