"""The whole life of a lake in a bucket, through the Python API: no row is lost on the way, nor when the database is."""

from datetime import date

import pytest

import thermocline
from thermocline.model.datasets import MARKET_DATA
from thermocline.settings import load_settings

START, END = date(2013, 1, 28), date(2013, 2, 8)
MARCH, MAY = date(2013, 3, 4), date(2013, 5, 1)
SAMPLE = {"source": "sample", "symbols": ("AAPL", "IBM"), "start": START, "end": END}
COLDER = {"s3": "STANDARD_IA", "gcs": "NEARLINE"}
LAID = {"s3": "STANDARD", "gcs": "NEARLINE"}
"""Objects of a few KiB are billed as 128 KiB in S3's colder class, so they are not written there."""


@pytest.mark.parametrize("kind", ["s3", "gcs"])
def test_a_lake_in_a_bucket_lives_as_one_on_disk(kind, home, new_lake_url, new_database):
    lake_url = new_lake_url(kind, "a lake")

    def opened(database):
        environ = {
            "THERMOCLINE_LAKE_URL": lake_url,
            "THERMOCLINE_CATALOG_URL": f"sqlite:///{home}/{database}.db",
            "THERMOCLINE_HOT_URL": new_database("embedded"),
            "THERMOCLINE_STORAGE__RETENTION__STEPS": f'{{"30": "{COLDER[kind]}"}}',
        }
        return thermocline.open(settings=load_settings(home, environ=environ))

    def rows(tc):
        answer = tc.query("market_data", start=START, end=END, columns=("symbol", "ts", "close")).to_arrow()
        return sorted(map(repr, answer.to_pylist()))

    with opened("first") as tc:
        assert not tc.backfill("market_data", **SAMPLE, as_of=MARCH).failed
        before = rows(tc)
        tc.load_hot(as_of=MARCH)
        assert rows(tc) == before
        tc.rotate(as_of=MAY)
        assert rows(tc) == before
        by_symbol = tc.sql("SELECT symbol, count(*) AS n FROM market_data GROUP BY symbol ORDER BY symbol").to_arrow()
        assert by_symbol["n"].to_pylist() == [len(before) // 2] * 2
        compacted = tc.compact(as_of=MAY, pay_early=True)  # Nearline is billed for 30 days all the same
        assert [(period.start.month, period.objects) for period in compacted.periods] == [(1, 4), (2, 5)]
        tc.expire(keep_vintages_days=0, grace_hours=0, as_of=MAY)
        assert [stored.storage_class for stored in tc.lake.survey(MARKET_DATA)] == [LAID[kind]] * 2
        assert rows(tc) == before
        assert not tc.verify().failed
    with opened("second") as tc:
        assert tc.recover().is_whole
        assert rows(tc) == before
