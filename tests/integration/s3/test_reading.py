"""What is asked of S3 to read: objects, queries, archives."""

import io
from datetime import timedelta

import boto3
import pytest
from aiobotocore.session import AioSession
from botocore.session import get_session
from made_rows import DAY, NOON, bars
from s3_acts import PATH, Asked
from s3_server import KEY as ACCESS_KEY
from s3_server import REGION

from thermocline.errors import ArchivedError, LakeError
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import Partition
from thermocline.model.query import Query, Segment, Tier
from thermocline.model.receipt import Vintage
from thermocline.stores.lake import ParquetLake
from thermocline.stores.memory import MemoryCatalog
from thermocline.stores.s3.sessions import informed


def test_reading_in_order_is_one_request_and_an_end_another(objects):
    body = bytes(range(256)) * 4096
    objects.put(PATH, io.BytesIO(body))
    asked = Asked(objects)
    with objects.open(PATH) as stream:
        assert stream.read(100_000) + stream.read() == body
        stream.seek(-10, io.SEEK_END)
        assert stream.read() == body[-10:]
    assert asked.operations == ["GetObject"] * 2


def test_a_query_of_a_symbol_asks_once_for_each_file_and_lists_nothing(objects, monkeypatch):
    from aiobotocore.endpoint import AioEndpoint  # noqa: PLC0415

    asked, send = [], AioEndpoint._send  # noqa: SLF001

    async def sent(self, request):
        asked.append((request.method, "?" in request.url))
        return await send(self, request)

    lake = ParquetLake(objects, MemoryCatalog())
    days = [Partition("market_data", "1min", DAY + timedelta(days=number)) for number in range(10)]
    receipts = [lake.write(day, 1, [bars(day)], run_id="r") for day in days]
    segment = Segment(Tier.COLD, "1min", tuple(day.day for day in days), tuple(Vintage(r, NOON) for r in receipts))
    monkeypatch.setattr(AioEndpoint, "_send", sent)
    own = Asked(objects)
    with lake.scan(Query(MARKET_DATA, symbols=("AAPL",)), segment) as reader:
        assert reader.read_all().num_rows == 10 * 3
    assert set(asked) == {("GET", False)}
    assert len(asked) == len(days)
    assert own == []
    assert lake.traffic().requests == len(asked)
    assert 0 < lake.traffic().fetched_bytes <= 2 * sum(receipt.size_bytes for receipt in receipts)


def test_an_archived_object_is_told_by_whatever_reads_it(imitated):
    lake, day = ParquetLake(imitated, MemoryCatalog()), Partition("market_data", "1min", DAY)
    receipt = lake.write(day, 1, [bars(day)], run_id="r")
    lake.classes.transition(next(lake.classes.survey("cold_storage/")), "DEEP_ARCHIVE")
    segment = Segment(Tier.COLD, "1min", (DAY,), (Vintage(receipt, NOON),))

    def scan():
        with lake.scan(Query(MARKET_DATA), segment) as reader:
            return reader.read_all()

    for read in (scan, lambda: lake.observe(receipt), lambda: imitated.open(receipt.path)):
        with pytest.raises(ArchivedError, match="lies in DEEP_ARCHIVE"):
            read()
    imitated.restore(receipt.path, days=2, speed="Bulk")
    assert imitated.stat(receipt.path).readable_until
    assert scan().num_rows == lake.observe(receipt)[0].contents.rows


def test_a_session_that_is_lent_signs_what_duckdb_asks_too(objects, opened, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "of somebody else")
    objects.put(PATH, io.BytesIO(b"0123456789"))
    with objects.filesystem.open(objects.location(PATH)) as stream:
        assert stream.read() == b"0123456789"
    stranger = opened(session=boto3.Session(ACCESS_KEY, "s3cret-but-wrong", region_name=REGION))
    for read in (lambda: stranger.stat(PATH), lambda: stranger.filesystem.open(stranger.location(PATH))):
        with pytest.raises(LakeError) as caught:
            read()
        assert "s3cret" not in str(caught.value)


def test_whoever_asks_s3_knows_from_one_reading_what_it_is():
    read = {id(informed(session()).get_component("data_loader")) for session in (get_session, get_session, AioSession)}
    assert len(read) == 1


def test_descriptions_of_somebodys_own_are_read_beside_those(monkeypatch, tmp_path):
    usual = informed(get_session()).get_component("data_loader")
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))
    own = informed(get_session()).get_component("data_loader")
    assert str(tmp_path) in own.search_paths
    assert str(tmp_path) not in usual.search_paths
