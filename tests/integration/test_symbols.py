"""Symbols of every shape, in PostgreSQL and in the lake: each finds its own rows and is adjusted by its own events."""

import csv
import json
from decimal import Decimal

import pyarrow as pa
import pytest
from click.testing import CliRunner

import thermocline
from thermocline.cli import main
from thermocline.settings import load_settings

SYMBOLS = (
    *("AAPL", "aapl", "BRK.B", "BRK/B", "BTC/USDT", "BTC/USDT:USDT", "^GSPC", "CON", "con", "Con", ".hidden", ".."),
    *("a b", " a b", "100%", "%41", "A,B", 'O\'Neil "q"', "A_B", "日本", "é", "e\N{COMBINING ACUTE ACCENT}"),
    *("NA", "null", "-X", "Z" * 300),
)
DAYS = ("2024-01-15", "2024-01-16", "2024-03-01")
AS_OF = "2024-03-10"  # the last of the days is hot


def bars() -> pa.Table:
    """A bar of each symbol and day; all prices of a symbol are its number."""
    rows = [(symbol, number + 1, day) for number, symbol in enumerate(SYMBOLS) for day in DAYS]
    prices = {name: [str(price) for _, price, _ in rows] for name in ("open", "high", "low", "close")}
    return pa.table(
        {
            "asset_class": ["equity"] * len(rows),
            "symbol": [symbol for symbol, *_ in rows],
            "interval": ["1day"] * len(rows),
            "ts": [day for *_, day in rows],
            **prices,
        }
    )


def splits(*symbols: str) -> pa.Table:
    """A split of one share into two on the last day."""
    count = len(symbols)
    return pa.table(
        {
            "asset_class": ["equity"] * count,
            "symbol": list(symbols),
            "ts": [DAYS[-1]] * count,
            "old_shares": ["1"] * count,
            "new_shares": ["2"] * count,
        }
    )


def renamed(before: str, after: str) -> pa.Table:
    """An instrument that changed its symbol on the second day."""
    return pa.table(
        {
            "instrument_id": [f"equity:{before}:20240101"] * 2,
            "asset_class": ["equity"] * 2,
            "symbol": [before, after],
            "ts": ["2024-01-01", DAYS[1]],
            "until": [DAYS[1], None],
        }
    )


@pytest.fixture
def url(home, new_database, monkeypatch):
    del home
    url = new_database("embedded")
    monkeypatch.setenv("THERMOCLINE_HOT_URL", url)
    return url


def test_every_symbol_finds_its_own_rows_in_both_tiers_and_is_adjusted_by_its_own_events(home, url, tmp_path):
    settings = load_settings(home, environ={"THERMOCLINE_HOT_URL": url})
    split = ("con", "BTC/USDT:USDT", "e\N{COMBINING ACUTE ACCENT}", "%41", "..")
    with thermocline.open(settings=settings) as opened:
        opened.save("market_data", bars())
        opened.save("splits", splits(*split))
        opened.load_hot(as_of=AS_OF)
        opened.rotate(as_of=AS_OF)
        tiers = {each["tier"] for each in opened.explain("market_data").document()["segments"]}
        assert tiers == {"hot", "cold"}
        for number, symbol in enumerate(SYMBOLS, 1):
            rows = opened.query("market_data", symbols=[symbol]).to_arrow()
            assert rows.select(["symbol", "close"]).to_pydict() == {"symbol": [symbol] * 3, "close": [number] * 3}
        adjusted = opened.query("market_data", adjust="splits", adjust_as_of=AS_OF).to_arrow().to_pylist()
        halved = {row["symbol"] for row in adjusted if row["close"] != SYMBOLS.index(row["symbol"]) + 1}
        assert halved == set(split)
        assert {row["close"] for row in adjusted if row["symbol"] == "con"} == {Decimal("4.5"), Decimal(9)}

        opened.save("instruments", renamed("con", "Con"))

    shown = json.loads(CliRunner().invoke(main, ["instruments", "Con", "--on", DAYS[-1], "--json"]).stdout)
    assert [(each["symbol"], each["until"]) for each in shown["instruments"]] == [("con", DAYS[1]), ("Con", None)]
    asked = ["query", "market_data", "--instrument", "equity:con:20240101", "--columns", "symbol,ts", "--json"]
    rows = json.loads(CliRunner().invoke(main, [*asked, "--adjust", "splits"]).stdout)["rows"]
    assert [(row["symbol"], row["ts"][:10]) for row in rows] == list(zip(("con", "Con", "Con"), DAYS, strict=True))

    asked = ["query", "market_data", *(f"--symbol={symbol}" for symbol in SYMBOLS), "--start", DAYS[-1]]
    file = tmp_path / "bars.csv"
    result = CliRunner().invoke(main, [*asked, "--output", str(file)])
    assert result.exit_code == 0, result.output
    with file.open(newline="", encoding="utf-8") as opened_file:
        written = [row["symbol"] for row in csv.DictReader(opened_file)]
    printed = [row["symbol"] for row in json.loads(CliRunner().invoke(main, [*asked, "--json"]).stdout)["rows"]]
    assert sorted(written) == sorted(printed) == sorted(SYMBOLS)
