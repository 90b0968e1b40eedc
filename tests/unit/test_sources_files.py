"""Rows from files: what is read exactly, what is left out with a reason, and what is refused in plain words."""

import gzip
import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.feather as pa_feather
import pyarrow.ipc as pa_ipc
import pyarrow.parquet as pq
import pytest

from thermocline.errors import SettingsError, SourceError
from thermocline.model.conform import conform
from thermocline.model.datasets import FEATURES, MARKET_DATA, NEWS, OPTIONS_DATA, dataset_named
from thermocline.model.partition import ALL_DAYS
from thermocline.ports import FetchRequest
from thermocline.sources import delimited
from thermocline.sources.open import open_source

NOW = datetime(2024, 6, 1, tzinfo=UTC)
DAILY = "Date,Open,High,Low,Close,Volume,Name\n2012-08-13,89.06,90.0,89.04,90.0,69707463,AAPL\n"
DAILY += "2012-08-14,90.27,91.23,90.03,90.24,85041824,AAPL\n"
MINUTES = "time,open,high,low,close,volume\n2024-01-02 09:30,1,2,1,2,10\n2024-01-02 09:31,2,3,2,3,20\n"


def pages(path, dataset=MARKET_DATA, symbols=(), intervals=(), **options):
    source = open_source("files", path=str(path), options=options)
    return list(source.fetch(FetchRequest(dataset, ALL_DAYS, frozenset(symbols), frozenset(intervals))))


def rows(path, dataset=MARKET_DATA, **options):
    """The rows of all pages as the gate lets them in; nothing may be left out."""
    tables = []
    for page in pages(path, dataset, **options):
        assert page.unreadable == ()
        conformed = conform(page.rows, dataset, source="files", ingested_at=NOW, origin=page.origin)
        assert conformed.rejected == ()
        tables.append(conformed.rows)
    return pa.concat_tables(tables).to_pylist() if tables else []


def file(tmp_path, text, name="AAPL_data.csv"):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def times(path, **options):
    return [row["ts"] for row in rows(path, **options)]


# ---------------------------------------------------------------------------------------------------------- formats


def test_a_csv_of_daily_bars_needs_no_options(tmp_path):
    first, second = rows(file(tmp_path, DAILY))
    assert first == {
        "asset_class": "equity",
        "symbol": "AAPL",
        "interval": "1day",
        "ts": datetime(2012, 8, 13, tzinfo=UTC),
        "open": Decimal("89.06"),
        "high": Decimal(90),
        "low": Decimal("89.04"),
        "close": Decimal(90),
        "volume": 69707463.0,
        "vwap": None,
        "trade_count": None,
        "source": "files",
        "ingested_at": NOW,
    }
    assert second["ts"] == datetime(2012, 8, 14, tzinfo=UTC)


def test_prices_of_a_csv_never_pass_through_a_float(tmp_path):
    text = DAILY.replace("89.06", "1234567890.12345678")
    assert rows(file(tmp_path, text))[0]["open"] == Decimal("1234567890.12345678")


@pytest.mark.parametrize("name", ["a_x.csv", "a_x.CSV", "a_x.csv.gz", "a_x.tsv", "a_x.tsv.gz", "a_x.txt"])
def test_text_files_are_told_by_their_names(tmp_path, name):
    text = DAILY.replace(",", "\t") if ".tsv" in name else DAILY
    content = gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()
    assert len(rows(file(tmp_path, content, name))) == 2


@pytest.mark.parametrize("suffix", [".parquet", ".pq", ".feather", ".arrow", ".ipc", "-stream.arrow"])
def test_arrow_and_parquet_files_are_told_by_their_names(tmp_path, suffix):
    table = pa.table(
        {
            "Symbol": ["AAPL", "MSFT"],
            "Date": [date(2024, 1, 2)] * 2,
            "open": [1.1, 2.2],
            "high": [1.3, 2.4],
            "low": [1.0, 2.0],
            "close": [1.2, 2.3],
            "Volume": [10, 20],
        }
    )
    path = tmp_path / f"bars{suffix}"
    if suffix in {".parquet", ".pq"}:
        pq.write_table(table, path)
    elif suffix == ".feather":
        pa_feather.write_feather(table, path)
    else:
        new = pa_ipc.new_stream if "stream" in suffix else pa_ipc.new_file
        with new(path, table.schema) as writer:
            writer.write_table(table)
    assert [(row["symbol"], row["close"]) for row in rows(path)] == [("AAPL", Decimal("1.2")), ("MSFT", Decimal("2.3"))]


@pytest.mark.parametrize("delimiter", [";", "|", "\t"])
def test_a_delimiter_is_told_from_the_first_line(tmp_path, delimiter):
    assert len(rows(file(tmp_path, DAILY.replace(",", delimiter)))) == 2


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path):
    text = b"\xef\xbb\xbf" + DAILY.replace("\n", "\r\n").encode()
    assert len(rows(file(tmp_path, text))) == 2


def test_a_large_file_comes_in_pages(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 4096)
    lines = [f"{date.fromordinal(730_000 + day)},1,2,1,{day}.5,7,AAPL" for day in range(1000)]
    path = file(tmp_path, DAILY.splitlines()[0] + "\n" + "\n".join(lines) + "\n")
    assert len(pages(path)) > 5
    assert [row["close"] for row in rows(path)] == [Decimal(day) + Decimal("0.5") for day in range(1000)]


def test_a_file_without_a_header_is_given_one(tmp_path):
    path = file(tmp_path, DAILY.split("\n", 1)[1])
    assert len(rows(path, header=["ts", "open", "high", "low", "close", "volume", "symbol"])) == 2


def test_another_encoding_is_named_by_an_option(tmp_path):
    path = file(tmp_path, DAILY.replace("AAPL", "ÅAK").encode("latin-1"))
    with pytest.raises(SourceError, match="set `encoding`"):
        pages(path)
    assert rows(path, encoding="latin-1")[0]["symbol"] == "ÅAK"


# ------------------------------------------------------------------------------------------------------ which files


def test_a_folder_is_read_with_all_below_it_in_order_and_without_hidden_files(tmp_path):
    for name in ("b/BBB.csv", "AAA.csv", "b/c/CCC.csv.gz", ".hidden.csv", "_SUCCESS", "readme.md", ".git/DDD.csv"):
        text = DAILY.replace(",Name", "").replace(",AAPL", "").encode()
        file(tmp_path, gzip.compress(text) if name.endswith(".gz") else text, name)
    assert [row["symbol"] for row in rows(tmp_path)] == ["AAA", "AAA", "BBB", "BBB", "CCC", "CCC"]


@pytest.mark.parametrize(("pattern", "count"), [("*.csv", 2), ("**/*.csv", 4), ("?/*.csv", 2), ("*", 2)])
def test_a_glob_may_reach_into_folders(tmp_path, pattern, count):
    file(tmp_path, DAILY, "A.csv")
    file(tmp_path, DAILY, "b/B.csv")
    file(tmp_path, "nothing", "notes.md")
    assert len(rows(f"{tmp_path}/{pattern}")) == count


def test_a_file_whose_name_looks_like_a_glob_is_a_file(tmp_path):
    assert len(rows(file(tmp_path, DAILY, "A[1].csv"))) == 2


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("missing.csv", "there is no such file or folder"),
        ("*.parquet", "nothing there ends in"),
        ("empty", "nothing there ends in"),
        ("notes.md", "can't be told from its name"),
    ],
)
def test_a_path_that_leads_to_nothing_is_an_error(tmp_path, path, complaint):
    (tmp_path / "empty").mkdir()
    file(tmp_path, "x", "notes.md")
    with pytest.raises(SourceError, match=complaint):
        pages(tmp_path / path)


# ---------------------------------------------------------------------------------------------------------- columns


def test_columns_and_constants_are_named_by_options(tmp_path):
    text = "Tag;Letzter;o;h;l;Menge\n2024-01-02;1.5;1;2;1;100\n"
    columns = {"ts": "Tag", "close": "letzter", "volume": "Menge"}
    constants = {"symbol": "SAP", "asset_class": "index", "interval": "1day", "trade_count": 7}
    (row,) = rows(file(tmp_path, text), columns=columns, constants=constants)
    assert (row["symbol"], row["asset_class"], row["close"], row["volume"]) == ("SAP", "index", Decimal("1.5"), 100.0)
    assert row["trade_count"] == 7


def test_a_mapping_goes_before_a_column_of_the_same_name(tmp_path):
    text = "date,open,high,low,close,Adj Close\n2024-01-02,1,2,1,2,1.5\n"
    assert rows(file(tmp_path, text), columns={"close": "Adj Close"})[0]["close"] == Decimal("1.5")
    assert rows(file(tmp_path, text))[0]["close"] == Decimal(2)


def test_columns_that_nobody_asked_for_are_handed_on_to_be_listed(tmp_path):
    (page,) = pages(file(tmp_path, "date,open,high,low,close,Adj Close\n2024-01-02,1,2,1,2,1.5\n"))
    assert conform(page.rows, MARKET_DATA, source="s", ingested_at=NOW, origin="o").ignored_columns == ("Adj Close",)


@pytest.mark.parametrize(
    ("header", "line"),
    [
        ("t,o,h,l,c,v,vw,n", "1704153600000,1,2,1,2,10,1.5,3"),
        ("Timestamp,OPEN,HIGH,LOW,CLOSE,VOL", "2024-01-02,1,2,1,2,10"),
        ("<DATE>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>", "20240102,1,2,1,2,10"),
        (",Open,High,Low,Close,Volume", "2024-01-02,1,2,1,2,10"),
        ("Open Time,Open,High,Low,Close,Volume", "1704153600000,1,2,1,2,10"),
    ],
)
def test_columns_are_known_by_their_usual_names(tmp_path, header, line):
    (row,) = rows(file(tmp_path, f"{header}\n{line}\n"))
    assert (row["ts"], row["close"], row["volume"]) == (datetime(2024, 1, 2, tzinfo=UTC), Decimal(2), 10.0)


def test_a_ticker_goes_before_a_name(tmp_path):
    text = "Name,Ticker,date,open,high,low,close\nApple Inc.,AAPL,2024-01-02,1,2,1,2\n"
    assert rows(file(tmp_path, text))[0]["symbol"] == "AAPL"


def test_a_date_and_a_time_of_day_in_two_columns_are_one_time(tmp_path):
    text = "Date,Time,open,high,low,close\n2024-01-02,09:30:00,1,2,1,2\n2024-01-02,09:31:00,1,2,1,2\n"
    found = times(file(tmp_path, text), constants={"interval": "1min"}, timezone="America/New_York")
    assert found == [datetime(2024, 1, 2, 14, 30 + minute, tzinfo=UTC) for minute in (0, 1)]


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("AAPL_data.csv", "AAPL"),
        ("BTC%2FUSDT_1m.csv", "BTC/USDT"),
        ("BRK.B_data.csv", "BRK.B"),
        ("BRK.B.csv", "BRK.B"),
        ("aapl.csv.gz", "AAPL"),
    ],
)
def test_a_file_without_a_symbol_is_that_of_its_name(tmp_path, name, symbol):
    text = DAILY.replace(",Name", "").replace(",AAPL", "").encode()
    path = file(tmp_path, gzip.compress(text) if name.endswith("gz") else text, name)
    assert {row["symbol"] for row in rows(path)} == {symbol}


def test_a_pattern_finds_the_symbol_in_a_file_s_name(tmp_path):
    path = file(tmp_path, DAILY.replace(",Name", "").replace(",AAPL", ""), "daily-2012-XYZ.csv")
    assert rows(path, symbol_from=r"-(?P<symbol>[A-Z]+)\.")[0]["symbol"] == "XYZ"


def test_files_of_symbols_that_nobody_asked_for_are_passed_over(tmp_path):
    for name in ("AAA.csv", "BBB.csv"):
        file(tmp_path, DAILY.replace(",Name", "").replace(",AAPL", ""), name)
    (page,) = pages(tmp_path, symbols={"BBB"})
    assert page.origin.endswith("BBB.csv")


def test_wrong_names_in_options_are_refused_before_anything_is_read(tmp_path):
    with pytest.raises(SettingsError, match="has no column 'opn'"):
        pages(tmp_path / "missing", columns={"opn": "Open"})
    with pytest.raises(SettingsError, match="can't be both"):
        pages(tmp_path / "missing", columns={"open": "Open"}, constants={"open": "1"})
    with pytest.raises(SourceError, match="it has no column 'Opening'"):
        pages(file(tmp_path, DAILY), columns={"open": "Opening"})


# ------------------------------------------------------------------------------------------------------------ times


@pytest.mark.parametrize(
    "written",
    [
        "2024-01-15",
        "20240115",
        "2024/01/15",
        "01/15/2024",
        "15/01/2024",
        "15.01.2024",
        "15-Jan-2024",
        "Jan 15, 2024",
        "1/15/24",
        "2024-1-15",
        "2024-01-15 00:00:00",
        "2024-01-15T00:00:00Z",
        "2024-01-15 00:00:00-05:00",
        "1705276800",
        "1705276800000",
        "1705276800000000",
        "1705276800000000000",
        "20240115000000",
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_a_session_s_date_stays_that_date_in_every_zone(tmp_path, written, zone):
    text = f'date,open,high,low,close\n"{written}",1,2,1,2\n'
    assert times(file(tmp_path, text), timezone=zone) == [datetime(2024, 1, 15, tzinfo=UTC)]


def test_a_daily_bar_stamped_with_the_exchange_s_midnight_in_utc_is_its_session_s(tmp_path):
    text = "t,open,high,low,close\n2024-01-02T05:00:00Z,1,2,1,2\n2024-07-02T04:00:00Z,1,2,1,2\n"
    found = times(file(tmp_path, text), timezone="America/New_York")
    assert found == [datetime(2024, 1, 2, tzinfo=UTC), datetime(2024, 7, 2, tzinfo=UTC)]


@pytest.mark.parametrize(
    ("written", "zone", "hour"),
    [
        ("2024-01-02 09:30", "America/New_York", 14),
        ("2024-07-02 09:30", "America/New_York", 13),
        ("2024-01-02 09:30:00", "UTC", 9),
        ("2024-01-02T09:30:00-05:00", "Asia/Tokyo", 14),
        ("01/31/2024 09:30 AM", "America/New_York", 14),
        ("20240102 09:30", "America/New_York", 14),
        ("1704205800", "America/New_York", 14),
        ("1704205800000", "Asia/Tokyo", 14),
    ],
)
def test_a_naive_time_is_of_the_zone_and_an_instant_is_an_instant(tmp_path, written, zone, hour):
    text = f"time,open,high,low,close\n{written},1,2,1,2\n"
    (found,) = times(file(tmp_path, text), timezone=zone, constants={"interval": "1min"})
    assert (found.hour, found.minute) == (hour, 30)


def test_times_with_and_without_offsets_may_stand_in_one_file(tmp_path):
    text = "time,open,high,low,close\n2024-01-02 09:30,1,2,1,2\n2024-01-02T14:31:00Z,1,2,1,2\n"
    found = times(file(tmp_path, text), timezone="America/New_York", constants={"interval": "1min"})
    assert found == [datetime(2024, 1, 2, 14, 30 + minute, tzinfo=UTC) for minute in (0, 1)]


def test_an_hour_that_happens_twice_means_the_first_and_one_that_is_skipped_is_unreadable(tmp_path):
    text = "time,open,high,low,close\n2024-11-03 01:30,1,2,1,2\n2024-03-10 02:30,3,4,3,4\n2024-03-10 03:00,5,6,5,6\n"
    (page,) = pages(file(tmp_path, text), timezone="America/New_York", constants={"interval": "1min"})
    assert page.rows["ts"].to_pylist() == [
        datetime(2024, 11, 3, 5, 30, tzinfo=UTC),
        datetime(2024, 3, 10, 7, tzinfo=UTC),
    ]
    ((record, reason),) = page.unreadable
    assert json.loads(record)["open"] == "3"
    assert "does not exist in America/New_York" in reason


@pytest.mark.parametrize(
    ("spelling", "written"),
    [
        ("%d.%m.%Y %H:%M", "02.01.2024 14:30"),
        ("%Y%m%d%H%M", "202401021430"),
        ("%Y-%m-%d %H:%M:%S.%f", "2024-01-02 14:30:00.0"),
        ("%Y-%m-%dT%H:%M:%S%z", "2024-01-02T15:30:00+0100"),
        ("s", "1704205800"),
    ],
)
def test_a_format_can_be_given(tmp_path, spelling, written):
    text = f"time,open,high,low,close\n{written},1,2,1,2\n"
    found = times(file(tmp_path, text), timestamp_format=spelling, constants={"interval": "1min"})
    assert found == [datetime(2024, 1, 2, 14, 30, tzinfo=UTC)]


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("01/02/2024", "could be %m/%d/%Y or %d/%m/%Y"),
        ("202401021430", "could be a date and time or milliseconds"),
        ("12345678", "can't|is no time that can be told by its size"),
        ("tomorrow", "in no known form"),
    ],
)
def test_a_time_that_can_be_read_in_two_ways_is_not_guessed(tmp_path, written, complaint):
    with pytest.raises(SourceError, match=f"({complaint}).*timestamp_format"):
        pages(file(tmp_path, f"date,open,high,low,close\n{written},1,2,1,2\n"))


def test_day_and_month_are_told_apart_by_the_other_rows(tmp_path):
    text = "date,open,high,low,close\n01/02/2024,1,2,1,2\n13/02/2024,1,2,1,2\n"
    assert [found.month for found in times(file(tmp_path, text))] == [2, 2]


def test_a_row_whose_time_can_t_be_read_is_left_out_and_the_file_goes_on(tmp_path):
    text = DAILY + "someday,1,2,1,2,3,AAPL\n2012-08-15,1,2,1,2,3,AAPL\n"
    (page,) = pages(file(tmp_path, text))
    assert len(page.rows) == 3
    ((record, reason),) = page.unreadable
    assert json.loads(record)["Date"] == "someday"
    assert "not an ISO time" in reason


def test_times_of_parquet_keep_their_zone_or_take_the_given_one(tmp_path):
    naive = pa.table({"ts": [datetime(2024, 1, 2, 9, 30)], "symbol": ["A"]})  # noqa: DTZ001  # naive is the point
    for name, column in (
        ("naive", naive["ts"]),
        ("aware", pa.chunked_array([pa.array([1_704_205_800], pa.timestamp("s", "Asia/Tokyo"))])),
    ):
        prices = {price: [1.0] for price in ("open", "high", "low", "close")}
        pq.write_table(pa.table({"ts": column, "symbol": ["A"], **prices}), tmp_path / f"{name}.parquet")
    options = {"timezone": "America/New_York", "constants": {"interval": "1min"}}
    assert set(times(tmp_path, **options)) == {datetime(2024, 1, 2, 14, 30, tzinfo=UTC)}


# --------------------------------------------------------------------------------------------------------- intervals


def test_an_interval_that_can_t_be_told_must_be_given(tmp_path):
    path = file(tmp_path, MINUTES)
    with pytest.raises(SourceError, match=r"60 seconds apart; set `constants: \{interval: 1min\}`"):
        pages(path)
    assert {row["interval"] for row in rows(path, constants={"interval": "1min"})} == {"1min"}
    assert {row["interval"] for row in rows(path, intervals={"1min"})} == {"1min"}


def test_an_interval_that_was_asked_for_is_not_believed_against_the_times(tmp_path):
    with pytest.raises(SourceError, match="60 seconds apart"):
        pages(file(tmp_path, MINUTES), intervals={"1hour"})


def test_intervals_may_be_mixed_in_one_file(tmp_path):
    text = "ts,interval,open,high,low,close\n2024-01-02,1day,1,2,1,2\n2024-01-02 09:30,1min,1,2,1,2\n"
    found = rows(file(tmp_path, text), timezone="America/New_York")
    assert [(row["interval"], row["ts"].hour) for row in found] == [("1day", 0), ("1min", 14)]


# ------------------------------------------------------------------------------------------------------------ damage


def test_a_line_with_a_wrong_number_of_fields_is_left_out_with_its_number(tmp_path):
    text = DAILY + "2012-08-15,1,2\n2012-08-16,1,2,1,2,3,AAPL\n2012-08-17,1,2,1,2,3,AAPL,extra\n"
    (page,) = pages(file(tmp_path, text))
    assert len(page.rows) == 3
    assert page.unreadable == (
        ("2012-08-15,1,2", "line 4: 3 fields, 7 expected"),
        ("2012-08-17,1,2,1,2,3,AAPL,extra", "line 6: 8 fields, 7 expected"),
    )


def test_a_damaged_file_does_not_stop_the_others_and_is_named_at_the_end(tmp_path):
    whole = gzip.compress((DAILY * 200).encode())
    file(tmp_path, whole[:-20], "A_cut.csv.gz")
    file(tmp_path, "no gzip at all", "B_fake.csv.gz")
    file(tmp_path, b"PAR1 it says", "C_fake.parquet")
    file(tmp_path, "", "D_empty.csv")
    file(tmp_path, DAILY, "E_good.csv")
    source = open_source("files", path=str(tmp_path))
    good = []
    with pytest.raises(SourceError, match=r"4 of 5 files could not be read\. Fix") as caught:
        good.extend(source.fetch(FetchRequest(MARKET_DATA, ALL_DAYS)))
    assert [page.origin for page in good if "E_good" in page.origin]
    for name in ("A_cut.csv.gz", "B_fake.csv.gz", "C_fake.parquet", "D_empty.csv: it is empty"):
        assert name in str(caught.value)


def test_a_file_with_a_header_alone_has_no_rows(tmp_path):
    assert rows(file(tmp_path, DAILY.splitlines()[0] + "\n")) == []
    assert rows(file(tmp_path, DAILY.splitlines()[0])) == []


# ----------------------------------------------------------------------------------------------------- other datasets


def test_news_may_span_lines_and_name_no_symbol(tmp_path):
    text = 'id,symbol,publishedAt,title,body,url\n7,,2024-01-02T10:00:00Z,Rates held,"one\ntwo",\n'
    (row,) = rows(file(tmp_path, text, "feed.csv"), dataset=NEWS)
    assert (row["article_id"], row["symbol"], row["body"], row["url"]) == ("7", "", "one\ntwo", None)


def test_an_option_chain_is_read_by_its_usual_names(tmp_path):
    text = "contract,ticker,date,expiry,strikeprice,type,bid,ask,iv\n"
    text += "AAPL140621C00500000,AAPL,2014-06-05,2014-06-21,500,call,147.1,148,0.2\n"
    (row,) = rows(file(tmp_path, text, "chain.csv"), dataset=OPTIONS_DATA)
    assert (row["underlying"], row["expiration"], row["strike"]) == ("AAPL", date(2014, 6, 21), Decimal(500))
    assert row["implied_volatility"] == 0.2


def test_features_take_equity_for_granted(tmp_path):
    text = "date,rsi_14,market_cap,pe\n2024-01-02,55.5,3000000000000.25,28.1\n"
    (row,) = rows(file(tmp_path, text), dataset=FEATURES)
    assert (row["asset_class"], row["market_cap"], row["pe_ratio"]) == ("equity", Decimal("3000000000000.25"), 28.1)


# --------------------------------------------------------------------------------------------------------- odd symbols


def test_files_that_differ_in_case_alone_are_of_two_symbols(tmp_path):
    for name in ("con.csv", "CON.csv", "aapl.csv"):
        file(tmp_path, MINUTES, name)
    if len(list(tmp_path.iterdir())) < 3:
        pytest.skip("this file system does not tell upper from lower case")
    found = {row["symbol"] for row in rows(tmp_path, constants={"interval": "1min"})}
    assert found == {"con", "CON", "AAPL"}


def test_symbols_of_a_column_stay_as_they_are_written(tmp_path):
    symbols = [
        "brk.b",
        "BRK.B",
        "BTC/USDT",
        "BTC/USDT:USDT",
        "^GSPC",
        "CON",
        "con",
        ".x",
        "a b",
        "100%",
        "日本",
        "NA",
        "X" * 300,
    ]
    text = "symbol,date,open,high,low,close\n" + "".join(f"{symbol},2024-01-15,1,1,1,1\n" for symbol in symbols)
    assert [row["symbol"] for row in rows(file(tmp_path, text))] == symbols


def test_splits_and_dividends_come_from_files_too(tmp_path):
    splits = file(tmp_path, "ticker,ex_date,split_from,split_to\nAAPL,2014-06-09,1,7\n", "splits.csv")
    [split] = rows(splits, dataset_named("splits"))
    assert (split["symbol"], split["ts"].date(), split["old_shares"], split["new_shares"]) == (
        "AAPL",
        date(2014, 6, 9),
        1,
        7,
    )
    paid = file(tmp_path, "ticker,ex_date,cash_amount\nAAPL,2014-08-07,0.47\n", "paid.csv")
    [dividend] = rows(paid, dataset_named("dividends"))
    assert (dividend["amount"], dividend["kind"], dividend["asset_class"]) == (Decimal("0.47"), "regular", "equity")
