"""A way to S3 or GCS that breaks off, refuses, dawdles and loses answers: a night and a backfill succeed all the same.

Here the SDKs themselves see what goes wrong, through real connections. Each test counts the faults that fired.
"""

import io
import os
import random
import signal
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from uuid import uuid4

import pytest
from hostile_wire import WireFault, hostile_wire
from hot_acts import assert_answers, day, hot_set, ingest
from killing.places import in_gcs, in_s3
from made_rows import DAY, bars

from thermocline.faults import listening
from thermocline.model.bucket_rules import place_of, rules_for
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.partition import ALL_DAYS
from thermocline.model.retention import RetentionPolicy
from thermocline.model.storage_classes import Provider
from thermocline.stores.duckdb import Engine
from thermocline.stores.iceberg import IcebergCatalog
from thermocline.stores.lake import ParquetLake
from thermocline.stores.postgres import PostgresHot
from thermocline.stores.retrying import Patience, RetryingObjects
from thermocline.stores.s3 import objects as s3
from thermocline.stores.spool import DuckDBSpool
from thermocline.tasks.rotate import Rotation
from thermocline.tasks.verify import verify

DAYS = [day(0), day(1)]
EVERY = [bars(each) for each in DAYS]
REQUESTS = {
    "write": {"s3": r"^PUT .*\.parquet", "gcs": r"^POST .*/upload/.*\.parquet"},
    "table": {"s3": r"^PUT .*(metadata\.json|\.avro)", "gcs": r"^POST .*/upload/.*(metadata\.json|\.avro)"},
    "read": {"s3": r"^GET .*\.parquet", "gcs": r"^GET .*\.parquet.*alt=media"},
}
"""How requests look, by what they are for."""


@dataclass(frozen=True)
class Harm:
    """What a way does to so many requests."""

    act: str
    fault: WireFault
    times: int = 2


@pytest.fixture(scope="session")
def places():
    with ExitStack() as made:
        yield cache(lambda place: made.enter_context({"s3": in_s3, "gcs": in_gcs}[place]()))


@pytest.fixture
def wire(place, places):
    with hostile_wire(places(place).endpoint_url) as wire:
        yield wire


@pytest.fixture
def lake(place, places, wire, tmp_path):
    objects = RetryingObjects(places(place).objects(uuid4().hex, wire.url), Patience(), sleep=lambda _: None)
    with ParquetLake(objects, IcebergCatalog(f"sqlite:///{tmp_path}/catalog.db", objects), Engine(threads=1)) as lake:
        yield lake


@pytest.fixture
def hot(new_database):
    """Days that are hot and due."""
    hot = PostgresHot(new_database("embedded"))
    ingest(hot, *EVERY, hot_days=DAYS)
    return hot


def rotate(hot, lake):
    night = Rotation(hot, lake, DuckDBSpool, Lifecycle(hot_intervals={"1min": None}), "night")
    return night.run([MARKET_DATA], as_of=DAY + timedelta(days=400))


@pytest.mark.parametrize("place", ["s3", "gcs"])
@pytest.mark.parametrize(
    "harm",
    [
        Harm("write", WireFault.CUT_REQUEST),
        Harm("write", WireFault.SLOW_DOWN, 3),
        Harm("write", WireFault.LOST_ANSWER, 1),
        Harm("table", WireFault.LOST_ANSWER, 1),
        Harm("table", WireFault.CUT_REQUEST),
        Harm("read", WireFault.CUT_ANSWER),
        Harm("read", WireFault.LOST_ANSWER),
        Harm("read", WireFault.SLOW_DOWN, 3),
        Harm("read", WireFault.DELAY),
    ],
    ids=lambda harm: f"{harm.fault.name}-{harm.act}",
)
def test_a_night_outlasts_a_bad_way(place, harm, wire, hot, lake):
    wire.harm(harm.fault, REQUESTS[harm.act][place], harm.times)
    result = rotate(hot, lake)
    assert wire.fired == {harm.fault: harm.times}
    assert (result.failed, hot_set(hot)) == ([], set())
    assert_answers(hot, lake, *EVERY)
    report = verify(hot, lake, [MARKET_DATA], ALL_DAYS)
    assert (report.failed, report.table) == ([], [])


@pytest.mark.parametrize("place", ["s3", "gcs"])
def test_a_query_outlasts_an_answer_that_breaks_off(place, wire, hot, lake):
    assert rotate(hot, lake).failed == []
    wire.harm(WireFault.CUT_ANSWER, REQUESTS["read"][place], 1)
    assert_answers(hot, lake, *EVERY)
    assert wire.fired == {WireFault.CUT_ANSWER: 1}


LARGE = random.Random(1).randbytes(s3.PART_BYTES * 2 + 5)  # noqa: S311  # bytes to tell apart
PATH = "cold_storage/news/year=2024/month=01/day=15/news_20240115.parquet"


@pytest.mark.parametrize("place", ["s3", "gcs"])
@pytest.mark.parametrize(
    "fault", [WireFault.CUT_REQUEST, WireFault.LOST_ANSWER, WireFault.SLOW_DOWN], ids=lambda fault: fault.name
)
def test_a_large_object_arrives_whole_though_parts_of_it_are_lost(place, fault, wire, places):
    bucket, prefix = places(place), uuid4().hex
    objects = RetryingObjects(bucket.objects(prefix, wire.url), Patience(), sleep=lambda _: None)
    wire.harm(fault, {"s3": r"^PUT .*partNumber=2", "gcs": r"^PUT .*upload_id="}[place], 1)
    stored = objects.put(PATH, io.BytesIO(LARGE))
    assert wire.fired == {fault: 1}
    assert stored.size_bytes == len(LARGE)
    with objects.open(PATH) as stream:
        assert stream.read() == LARGE
    if place == "s3":  # nobody pays for what is left of an upload to Google
        assert bucket.unfinished(prefix) == []


def test_an_upload_that_was_killed_is_no_object_and_a_rule_of_the_bucket_ends_it(places):
    bucket, prefix = places("s3"), uuid4().hex
    objects = bucket.objects(prefix)
    pid = os.fork()
    if pid == 0:
        with listening(lambda point: point == "put:written" and os.kill(os.getpid(), signal.SIGKILL)):
            objects.put(PATH, io.BytesIO(LARGE))
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    with pytest.raises(FileNotFoundError):
        objects.stat(PATH)
    assert list(objects.list("")) == []
    (left,) = bucket.unfinished(prefix)
    assert left == f"{prefix}/{PATH}"
    rules = rules_for(place_of(Provider.S3, objects.url), RetentionPolicy(), {})
    assert [
        left.startswith(rule["Filter"]["Prefix"]) for rule in rules if "AbortIncompleteMultipartUpload" in rule
    ] == [True]
    objects.put(PATH, io.BytesIO(LARGE))
    with objects.open(PATH) as stream:
        assert stream.read() == LARGE
