"""What is asked of Google Cloud Storage to read: objects, surveys, queries."""

import io

import pytest
from gcs_acts import PATH
from hot_acts import day, publish
from made_rows import bars

from thermocline.model.datasets import MARKET_DATA
from thermocline.model.query import Query
from thermocline.stores.open import open_lake
from thermocline.stores.postgres import PostgresHot
from thermocline.tasks.query import query


def test_reading_in_order_is_few_requests_and_pins_no_generation(objects, asked):
    body = bytes(range(256)) * (4 << 12)
    stored = objects.put(PATH, io.BytesIO(body))
    with asked() as requests, objects.open(PATH) as stream:
        start = stream.read(100)
        objects.classes.transition(stored, "NEARLINE")
        assert start + stream.read() == body
    reads = [request for request in requests if request.method == "GET"]
    assert len(reads) <= 5
    assert not any("generation" in request.parameters for request in reads)


def test_a_small_object_is_read_with_one_request_and_a_missing_one_found_out_with_one(objects, asked):
    objects.put(PATH, io.BytesIO(b"rows"))
    with asked() as requests:
        with objects.open(PATH) as stream:
            assert stream.read() == b"rows"
        with pytest.raises(FileNotFoundError, match="No such file"):
            objects.open("cold_storage/none")
    assert len(requests) == 2


def test_a_survey_asks_once_for_a_thousand_objects(objects, asked, server, bucket):
    server.fill(bucket, [f"lake/a/{number:04}" for number in range(1001)])
    objects.put("a/1001", io.BytesIO(b"x"), storage_class="NEARLINE")
    with asked() as requests:
        found = list(objects.survey("a/"))
    assert [stored.path for stored in found] == [f"a/{number:04}" for number in range(1002)]
    assert [stored.storage_class for stored in found[-2:]] == ["STANDARD", "NEARLINE"]
    assert all(stored.etag.isdigit() and stored.modified_at for stored in found)
    assert [request.method for request in requests] == ["GET", "GET"]
    assert requests[1].parameters["pageToken"]


@pytest.fixture
def lake(server, bucket, monkeypatch, tmp_path):
    """A lake with a name that has a space, found by the SDK's own variables."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    with open_lake(f"gs://{bucket}/a lake", catalog_url=f"sqlite:///{tmp_path}/catalog.db", threads=2) as lake:
        yield lake


def test_a_query_of_one_symbol_is_one_request_a_day(lake, asked, new_database):
    hot = PostgresHot(new_database("embedded"))
    publish(hot, lake, *(bars(day(number), ("AAPL", "IBM"), 2) for number in range(5)))
    for _ in range(2):
        with asked() as requests, query(hot, lake, Query(MARKET_DATA, symbols=("IBM",))) as reader:
            assert reader.read_all().num_rows == 10
        assert ["alt" in request.parameters for request in requests] == [True] * 5


def test_characters_of_patterns_are_read_as_they_are(objects):
    paths = ["a[bc]d", "abd", "a*d", "a?d", "ä %41 #1"]
    for path in paths:
        objects.put(path, io.BytesIO(path.encode()))
    for path in paths:
        with objects.filesystem.open(objects.location(path)) as stream:
            assert stream.read() == path.encode()
    assert objects.filesystem.glob(objects.location("a*d")) == [objects.location("a*d")]


def test_an_engine_reads_any_part_of_a_large_object(objects):
    body = bytes(range(251)) * 4_000
    objects.put(PATH, io.BytesIO(body))
    with objects.filesystem.open(objects.location(PATH)) as stream:
        assert stream.size == len(body)
        for start, most in ((0, 10), (5, 300_000), (len(body) - 5, 10), (len(body), 10), (600_000, -1), (0, -1)):
            stream.seek(start)
            assert stream.read(most) == body[start:][: most if most >= 0 else None]
    with pytest.raises(FileNotFoundError):
        objects.filesystem.open(objects.location("none"))
    with pytest.raises(ValueError, match="only read here"):
        objects.filesystem.open(objects.location("new"), "wb")
    objects.put("empty", io.BytesIO())
    with objects.filesystem.open(objects.location("empty")) as stream:
        assert stream.read() == b""


def test_opening_a_lake_asks_for_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with open_lake("gs://bucket/lake", catalog_url=f"sqlite:///{tmp_path}/catalog.db") as lake:
        assert lake.url == "gs://bucket/lake"
