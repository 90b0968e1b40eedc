"""Files that the source of files reads: formats, folders, damage, every dataset."""

import gzip
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.feather as pa_feather
import pyarrow.ipc as pa_ipc
import pyarrow.parquet as pq
import pytest
from read_files import DAILY, NOW, file, pages, rows

from thermocline.errors import SourceError
from thermocline.model.datasets import FEATURES, MARKET_DATA, NEWS, OPTIONS_DATA, dataset_named
from thermocline.model.partition import ALL_DAYS
from thermocline.ports import FetchRequest
from thermocline.sources import delimited
from thermocline.sources.open import open_source

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
