"""Files as the source of files reads them."""

from datetime import UTC, datetime

import pyarrow as pa

from thermocline.model.conform import conform
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import ALL_DAYS
from thermocline.ports import FetchRequest
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
