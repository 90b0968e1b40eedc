"""EDGAR's filings as news: files, the clock that they mean, and EDGAR itself."""

import json
from datetime import UTC, date, datetime

import pytest
from vendor_server import Reply, failing, quick_network, throttled, vendor_server

from thermocline.errors import SettingsError, SourceError, UsageError
from thermocline.model.conform import conform
from thermocline.model.datasets import NEWS
from thermocline.model.partition import ALL_DAYS, DayRange
from thermocline.ports import FetchRequest
from thermocline.sources.open import open_source

INDEX = """Description:           Daily Index of EDGAR Dissemination Feed by Form Type
Last Data Received:    Mar 18, 2020

Form Type   Company Name                                                  CIK         Date Filed  File Name
------------------------------------------------------------------------------------------------------------------------
10-K        Apple Inc.                                                    320193      20200318    edgar/data/320193/0000320193-20-000052.txt
4           BERKSHIRE HATHAWAY INC                                        1067983     20200318    edgar/data/1067983/0001209191-20-019996.txt
4           BUFFETT WARREN E                                              315090      20200318    edgar/data/315090/0001209191-20-019996.txt
1-A         DLP Positive Note Fund LLC                                    1806014     20200318    edgar/data/1806014/0001140361-20-006155.txt
"""  # noqa: E501  # EDGAR's own width
TICKERS = {
    "0": {"cik_str": 320193, "ticker": "AAPL", "title": "Apple Inc."},
    "1": {"cik_str": 1067983, "ticker": "BRK-B", "title": "BERKSHIRE HATHAWAY INC"},
    "2": {"cik_str": 1067983, "ticker": "BRK-A", "title": "BERKSHIRE HATHAWAY INC"},
}


def columns(*accepted, form="8-K", first=1):
    """A company's filings column by column, as EDGAR has them."""
    count = len(accepted)
    return {
        "accessionNumber": [f"0000320193-20-{first + number:06d}" for number in range(count)],
        "filingDate": [text[:10] for text in accepted],
        "acceptanceDateTime": list(accepted),
        "form": [form] * count,
        "items": ["2.02,9.01"] * count,
        "primaryDocument": ["a.htm"] * count,
        "primaryDocDescription": ["CURRENT REPORT"] * count,
    }


def submissions(*accepted, files=(), **others):
    recent = columns(*accepted)
    return {
        "cik": "320193", "name": "Apple Inc.", "tickers": ["AAPL"], "filings": {"recent": recent, "files": list(files)}
    } | others  # fmt: skip


def rows_of(pages):
    """The rows as the gate accepts them, and what could not be read."""
    rows, unreadable = [], []
    for page in pages:
        conformed = conform(page.rows, NEWS, source="sec", ingested_at=datetime.now(UTC), origin=page.origin)
        assert not conformed.rejected
        rows += conformed.rows.to_pylist()
        unreadable += [reason for _, reason in page.unreadable]
    return rows, unreadable


def read(path, **options):
    source = open_source("sec", path=str(path), options=options)
    return rows_of(source.fetch(FetchRequest(NEWS, ALL_DAYS)))


def test_an_index_has_a_row_for_each_filing_and_symbol_of_its_filers(tmp_path):
    (tmp_path / "form.20200318.idx").write_text(INDEX)
    (tmp_path / "company_tickers.json").write_text(json.dumps(TICKERS))
    rows, unreadable = read(tmp_path)
    assert unreadable == []
    found = {(row["article_id"], row["symbol"]): row for row in rows}
    assert sorted(found) == [
        ("0000320193-20-000052", "AAPL"),
        ("0001140361-20-006155", ""),
        ("0001209191-20-019996", "BRK.A"),
        ("0001209191-20-019996", "BRK.B"),
    ]
    apple = found["0000320193-20-000052", "AAPL"]
    assert (apple["ts"], apple["category"], apple["headline"]) == (
        datetime(2020, 3, 18, tzinfo=UTC), "10-K", "10-K: Apple Inc.",
    )  # fmt: skip
    assert apple["url"] == "https://www.sec.gov/Archives/edgar/data/320193/0000320193-20-000052.txt"
    both = found["0001209191-20-019996", "BRK.B"]
    assert both["author"] == "BERKSHIRE HATHAWAY INC; BUFFETT WARREN E"


def test_a_letter_of_the_staff_is_news_on_the_day_it_was_published_not_written(tmp_path):
    (tmp_path / "form.20200318.idx").write_text(
        INDEX.replace("20200318    edgar/data/320193", "20200218    edgar/data/320193")
    )
    rows, _ = read(tmp_path)
    assert {row["ts"].date() for row in rows} == {date(2020, 3, 18)}


def test_lines_that_say_no_filing_are_told_and_the_others_go_on(tmp_path):
    broken = "10-K        Apple Inc.   320193      20200318    edgar/data/320193/0000320193-20-000052.txt\nrubbish\n"
    (tmp_path / "form.20200318.idx").write_text(INDEX + broken)
    rows, unreadable = read(tmp_path)
    assert len(rows) == 3  # nobody has a ticker here
    assert unreadable == ["no CIK, date or path of a filing where the header says"] * 2


def test_an_index_with_bars_between_its_columns_is_read_too(tmp_path):
    line = "320193|Apple Inc.|10-K|2020-03-18|edgar/data/320193/0000320193-20-000052.txt"
    (tmp_path / "master.idx").write_text(f"CIK|Company Name|Form Type|Date Filed|Filename\n-----\n{line}\n")
    [row], _ = read(tmp_path)
    assert (row["ts"].date(), row["headline"]) == (date(2020, 3, 18), "10-K: Apple Inc.")


def test_submissions_say_when_each_filing_was_accepted(tmp_path):
    (tmp_path / "CIK0000320193.json").write_text(json.dumps(submissions("2020-01-28T21:30:41.000Z")))
    [row], unreadable = read(tmp_path)
    assert unreadable == []
    assert (row["ts"], row["symbol"]) == (datetime(2020, 1, 28, 21, 30, 41, tzinfo=UTC), "AAPL")
    assert row["url"] == "https://www.sec.gov/Archives/edgar/data/320193/000032019320000001/a.htm"
    assert (row["summary"], row["publisher"]) == ("CURRENT REPORT; items 2.02, 9.01", "SEC EDGAR")


@pytest.mark.parametrize(
    ("accepted_in", "hour"), [("auto", 11), ("utc", 7), ("new_york", 11)], ids=["told", "as marked", "as said"]
)
def test_the_clock_of_new_york_with_a_z_behind_it_is_told_by_edgars_hours(tmp_path, accepted_in, hour):
    early = ["2020-05-28T07:00:00.000Z", "2020-05-28T21:00:00.000Z"]  # 03:00 in New York, if it were UTC
    (tmp_path / "CIK0000320193.json").write_text(json.dumps(submissions(*early)))
    rows, _ = read(tmp_path, accepted_in=accepted_in)
    assert min(row["ts"] for row in rows).hour == hour


def test_what_could_be_either_is_taken_as_it_is_marked(tmp_path):
    (tmp_path / "CIK0000320193.json").write_text(json.dumps(submissions("2020-05-28T16:00:00.000Z")))
    assert read(tmp_path)[0][0]["ts"].hour == 16


def test_files_that_are_none_of_edgars_are_named_after_the_others(tmp_path):
    (tmp_path / "form.1.idx").write_text("nothing")
    (tmp_path / "CIK0000320193.json").write_text(json.dumps({"filings": {"recent": {}}}))
    (tmp_path / "form.2.idx").write_text(INDEX)
    pages = []
    with pytest.raises(SourceError, match="2 of 3 files could not be read"):
        pages.extend(open_source("sec", path=str(tmp_path)).fetch(FetchRequest(NEWS, ALL_DAYS)))
    assert len(pages) == 1
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(SourceError, match="no filings there; expected"):
        read(empty)


# --------------------------------------------------------------------------------------------------------------- EDGAR


@pytest.fixture
def edgar():
    with vendor_server() as server:
        agents = []
        server.agents = agents

        @server.route("/files/company_tickers.json")
        def tickers(request):
            agents.append(request.headers["User-Agent"])
            return TICKERS

        yield server


def asked(edgar, first, last, symbols=(), **options):
    options = {"contact": "Jane Doe jane@example.com", "url": edgar.url, "data_url": edgar.url} | options
    source = open_source("sec", options=options, network=quick_network())
    return source.fetch(FetchRequest(NEWS, DayRange(first, last), frozenset(symbols)))


def test_edgar_is_asked_for_the_index_of_each_working_day_by_name(edgar):
    edgar.route(r"/Archives/edgar/daily-index/2020/QTR1/form.20200318.idx")(lambda _: INDEX.encode())
    refused = Reply(b"<Error><Code>AccessDenied</Code></Error>", 403)
    edgar.route(r"/Archives/edgar/daily-index/2020/QTR1/form.20200319.idx")(lambda _: refused)
    edgar.instead("/Archives/edgar/daily-index/2020/QTR1/form.20200318.idx", throttled(0), failing(503))
    rows, _ = rows_of(asked(edgar, date(2020, 3, 14), date(2020, 3, 21)))  # a Saturday to a Friday
    assert len(rows) == 4
    assert edgar.agents == ["Jane Doe jane@example.com"]
    days = {served.path[-12:-4] for served in edgar.log if served.path.endswith(".idx")}
    assert days == {"20200316", "20200317", "20200318", "20200319", "20200320"}


def test_edgar_is_asked_for_a_companys_filings_and_for_older_pages_only_where_they_matter(edgar):
    pages = {
        "CIK0000320193-submissions-001.json": ("2015-01-01", "2016-12-31"),
        "CIK0000320193-submissions-002.json": ("2010-01-01", "2014-12-31"),
    }
    files = [{"name": name, "filingFrom": first, "filingTo": last} for name, (first, last) in pages.items()]
    recent = submissions("2020-01-28T21:30:41.000Z", files=files)
    edgar.route("/submissions/CIK0000320193.json")(lambda _: recent)
    edgar.route("/submissions/CIK0000320193-submissions-001.json")(
        lambda _: columns("2016-05-05T18:00:00.000Z", first=9)
    )
    rows, _ = rows_of(asked(edgar, date(2016, 1, 1), date(2021, 1, 1), ["AAPL"]))
    assert sorted((row["article_id"], row["symbol"], row["headline"]) for row in rows) == [
        ("0000320193-20-000001", "AAPL", "8-K: Apple Inc."),
        ("0000320193-20-000009", "AAPL", "8-K: AAPL"),  # older pages don't name the company
    ]
    assert edgar.requests("/submissions/CIK0000320193-submissions-002.json") == 0
    with pytest.raises(UsageError, match="no company whose symbol is NOPE"):
        list(asked(edgar, date(2016, 1, 1), date(2021, 1, 1), ["NOPE"]))


def test_nobody_is_asked_without_a_contact():
    source = open_source("sec")
    with pytest.raises(SettingsError, match=r"needs a path with files of EDGAR, or sources\.sec\.contact"):
        list(source.fetch(FetchRequest(NEWS, ALL_DAYS)))
    with pytest.raises(SettingsError, match="a name and an e-mail address"):
        open_source("sec", options={"contact": "me"})
