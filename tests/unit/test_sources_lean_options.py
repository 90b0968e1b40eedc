"""Option chains of LEAN: what a line becomes, what stays unknown, and what is refused."""

import zipfile
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from thermocline.errors import SourceError
from thermocline.model.conform import conform
from thermocline.model.datasets import OPTIONS_DATA
from thermocline.model.partition import ALL_DAYS, DayRange
from thermocline.ports import FetchRequest
from thermocline.sources.open import open_source

HEADER = "#expiry,strike,right,open,high,low,close,volume,open_interest,implied_volatility,delta,gamma,vega,theta,rho"
NEWER = HEADER.replace("#expiry,strike,right", "#symbol_id,symbol_value")
UNDERLYING = ",,,70.53,70.56,70.50,70.56,0,,,,,,,"
DAY = date(2014, 6, 5)


@pytest.fixture
def write(tmp_path):
    """Write a universe, or a zip of minutes."""

    def write(name, *lines, **entries):
        path = tmp_path / "option" / "usa" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".csv"):
            path.write_text("\n".join([*lines, ""]))
            return path
        day, kind, style = path.stem.split("_")
        with zipfile.ZipFile(path, "w") as opened:
            for contract, text in entries.items():
                opened.writestr(f"{day}_twx_minute_{kind}_{style}_{contract}.csv", text)
        return path

    return write


def fetched(tmp_path, *, symbols=(), days=ALL_DAYS):
    source = open_source("lean", path=str(tmp_path))
    return list(source.fetch(FetchRequest(OPTIONS_DATA, days, frozenset(symbols))))


def rows(tmp_path, **asked):
    """The rows as the gate accepts them, and what could not be read."""
    pages = fetched(tmp_path, **asked)
    found = []
    for page in pages:
        conformed = conform(page.rows, OPTIONS_DATA, source="lean", ingested_at=datetime.now(UTC), origin=page.origin)
        assert not conformed.rejected
        found += conformed.rows.to_pylist()
    return found, [reason for page in pages for _, reason in page.unreadable]


def test_a_line_of_a_universe_is_a_contract_at_the_end_of_the_session(tmp_path, write):
    line = "20140621,42.5,C,27.375,29.1,26.925,28.1,12,4860,1.02,0.98,0.001,0.002,0.049,0.017"
    write("universes/twx/20140605.csv", HEADER, UNDERLYING, line)
    [row], unreadable = rows(tmp_path)
    assert unreadable == []
    assert (row["contract_symbol"], row["underlying"]) == ("TWX140621C00042500", "TWX")
    assert (row["ts"], row["expiration"]) == (datetime(2014, 6, 5, tzinfo=UTC), date(2014, 6, 21))
    assert (row["strike"], row["option_type"], row["last"]) == (Decimal("42.5"), "call", Decimal("28.1"))
    assert (row["underlying_price"], row["volume"], row["open_interest"]) == (Decimal("70.56"), 12, 4860)
    assert (row["implied_volatility"], row["delta"], row["theta"], row["rho"]) == (1.02, 0.98, 0.049, 0.017)
    assert (row["bid"], row["ask"]) == (None, None)


def test_what_is_not_known_is_null_and_never_zero(tmp_path, write):
    write(
        "universes/twx/20140605.csv", HEADER, UNDERLYING,
        "20140621,42.5,P,1,1,1,1,0,,0,0.99,0.0,0.0,0.04,0.03",
        "20140621,45,P,1,1,1,1,5,7,,,,,,",
    )  # fmt: skip
    [quoted, traded], _ = rows(tmp_path)
    unknown = ("implied_volatility", "delta", "gamma", "theta", "vega", "rho")
    assert [quoted[name] for name in unknown] == [traded[name] for name in unknown] == [None] * 6
    assert (quoted["last"], quoted["volume"], quoted["open_interest"]) == (None, 0, None)
    assert (traded["last"], traded["volume"], traded["open_interest"]) == (1, 5, 7)


def test_newer_universes_name_contracts_by_their_symbol(tmp_path, write):
    under = "SPY R735QTJ8XC9X,SPY,475,476,474,475.5,100,,,,,,,"
    line = "SPY 326TT R735QTJ8XC9X,SPY   240119P00470500,1,2,1,1.5,3,9,0.12,-0.3,0.01,0.2,-0.05,-0.1"
    write("universes/spy/20231229.csv", NEWER, under, line)
    [row], unreadable = rows(tmp_path)
    assert unreadable == []
    assert (row["contract_symbol"], row["strike"], row["option_type"]) == (
        "SPY240119P00470500",
        Decimal("470.5"),
        "put",
    )
    assert (row["underlying_price"], row["theta"]) == (Decimal("475.5"), -0.05)


def test_lines_that_name_no_contract_or_lack_fields_are_told_and_the_others_go_on(tmp_path, write):
    good = "20140621,45,P,1,1,1,1,5,7,,,,,,"
    bad = ["20140699,45,P,1,1,1,1,5,7,,,,,,", "20140621,45.12345,P,1,1,1,1,5,7,,,,,,", "20140621,45,P,1,1"]
    write("universes/twx/20140605.csv", HEADER, UNDERLYING, good, *bad)
    found, unreadable = rows(tmp_path)
    assert len(found) == 1
    assert sorted(reason[:20] for reason in unreadable) == ["5 fields, 15 expecte", *["expiry, strike and r"] * 2]


def test_minutes_become_snapshots_at_their_end(tmp_path, write):
    contract = "call_700000_20140621"
    quotes = "34200000,13000,13000,13000,13100,5,14600,14600,14600,14700,9\n34260000,,,,,0,14700,14700,14700,14800,9\n"
    trades = (
        "34200000,13500,13500,13500,13600,2\n34260000,13700,13700,13700,13700,3\n34380000,13800,13800,13800,13800,1\n"
    )
    write("minute/twx/20140605_quote_american.zip", **{contract: quotes})
    write("minute/twx/20140605_trade_american.zip", **{contract: trades})
    write("minute/twx/20140605_openinterest_american.zip", **{contract: "23520000,4871\n"})
    found, unreadable = rows(tmp_path)
    assert unreadable == []
    told = [[str(row["ts"])[11:16], row["bid"], row["ask"], row["last"], row["volume"]] for row in found]
    assert told == [
        ["10:32", None, None, None, 0],
        ["13:31", Decimal("1.31"), Decimal("1.47"), Decimal("1.36"), 2],
        ["13:32", None, Decimal("1.48"), Decimal("1.37"), 5],
        ["13:34", None, None, Decimal("1.38"), 6],
    ]
    assert {row["open_interest"] for row in found} == {4871}
    assert {row["contract_symbol"] for row in found} == {"TWX140621C00070000"}


def test_a_trade_of_one_contract_says_nothing_of_the_next(tmp_path, write):
    first, second = "call_700000_20140621", "put_700000_20140621"
    quote = "34260000,100,100,100,100,1,200,200,200,200,1\n"
    write("minute/twx/20140605_quote_american.zip", **{first: quote, second: quote})
    write("minute/twx/20140605_trade_american.zip", **{first: "34200000,150,150,150,150,4\n"})
    found, _ = rows(tmp_path)
    assert [(row["option_type"], row["last"], row["volume"]) for row in found] == [
        ("call", Decimal("0.015"), 4), ("call", Decimal("0.015"), 4), ("put", None, 0),
    ]  # fmt: skip
    assert "open_interest" not in fetched(tmp_path)[0].rows.column_names


def test_wrong_lines_of_a_minute_are_told_and_the_others_go_on(tmp_path, write):
    contract = "call_700000_20140621"
    text = (
        "34200000,1,1,1,1,2\n34200000,1,1,1,9,2\nnoon,1,1,1,1,2\n34260000,1,1,1,x,2\n34320000,1\n34380000,1,1,1,1,2\n"
    )
    write("minute/twx/20140605_trade_american.zip", **{contract: text, "nonsense": "1\n"})
    found, unreadable = rows(tmp_path)
    assert len(found) == 2
    assert sorted(reason.split(":")[0] for reason in unreadable) == [
        "2 fields, 6 expected",
        "a second line of the same minute",
        "last",
        "the name of this file in 20140605_trade_american.zip names no contract",
        "time",
    ]


def test_only_what_is_asked_for_is_opened_and_damage_is_named_after_the_rest(tmp_path, write):
    good = "20140621,45,P,1,1,1,1,5,7,,,,,,"
    write("universes/twx/20140605.csv", HEADER, UNDERLYING, good)
    write("universes/aapl/20140606.csv", HEADER, UNDERLYING, good)
    damaged = write("minute/twx/20140605_trade_american.zip", call_1_20140621="")
    damaged.write_bytes(b"no zip")
    assert [page.rows["underlying"][0].as_py() for page in fetched(tmp_path, symbols=["AAPL"])] == ["AAPL"]
    assert len(fetched(tmp_path, days=DayRange(date(2014, 6, 6), date(2014, 6, 7)))) == 1
    pages = open_source("lean", path=str(tmp_path)).fetch(FetchRequest(OPTIONS_DATA, ALL_DAYS))
    seen = []
    with pytest.raises(SourceError, match=r"1 of 3 chains could not be read(.|\n)*20140605"):
        seen.extend(pages)
    assert len(seen) == 2


def test_a_folder_without_chains_says_what_was_expected(tmp_path):
    (tmp_path / "20140605.csv").write_text("#expiry,open,high\n")
    with pytest.raises(SourceError, match="no option chains there; expected"):
        fetched(tmp_path)


def test_options_of_indices_and_futures_are_passed_over_wherever_the_folder_lies(tmp_path):
    good = "20140621,45,P,1,1,1,1,5,7,,,,,,"
    root = tmp_path / "index" / "mine"
    for folder in ("option", "indexoption"):
        path = root / folder / "usa" / "universes" / "twx" / "20140605.csv"
        path.parent.mkdir(parents=True)
        path.write_text(f"{HEADER}\n{UNDERLYING}\n{good}")
    assert len(fetched(root)) == 1
