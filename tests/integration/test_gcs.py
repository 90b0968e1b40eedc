"""What is asked of Google Cloud Storage: the very requests, and what becomes of answers that go wrong."""

import base64
import io
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs

import google_crc32c
import pytest
from gcs_server import GcsServer
from google.cloud import storage
from hot_acts import day, publish
from made_rows import bars

from thermocline.errors import LakeError, ObjectExistsError, PlanDriftError, TransientLakeError, UsageError
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.query import Query
from thermocline.stores.gcs import GcsObjects, GcsOptions
from thermocline.stores.gcs import objects as store
from thermocline.stores.open import open_lake
from thermocline.stores.postgres import PostgresHot
from thermocline.stores.retrying import RetryingObjects
from thermocline.tasks.query import query

PATH = "cold_storage/news/year=2024/month=01/day=15/news_20240115.parquet"
KEY = "projects/p/locations/l/keyRings/r/cryptoKeys/k"
LARGE = store.CHUNK_BYTES * 2 + 3


@pytest.fixture(scope="session")
def server(gcs_server):
    return gcs_server


@pytest.fixture
def bucket(server):
    return server.new_bucket()


@pytest.fixture
def opened(server, bucket):
    """Makes stores of the bucket."""

    def opened(**options):
        return GcsObjects(bucket, "lake", GcsOptions(endpoint_url=server.endpoint_url, **options))

    return opened


@pytest.fixture
def objects(opened):
    return opened()


@pytest.fixture
def asked(server, bucket):
    """What a block asked for: methods with the parameters that matter."""

    class Asked(list):
        def __enter__(self):
            self.before = len(server.log(bucket))
            return self

        def __exit__(self, *_):
            self += [_Request(line) for line in server.log(bucket)[self.before :]]

    return Asked


class _Request:
    def __init__(self, line: str) -> None:
        self.method, _, rest = line.partition(" ")
        self.path, _, query = rest.partition("?")
        self.parameters = {name: values[0] for name, values in parse_qs(query).items()}

    def __repr__(self) -> str:
        return f"{self.method} {self.path} {self.parameters}"


def resource(server: GcsServer, bucket, path=PATH):
    blob = server.client().bucket(bucket).blob(f"lake/{path}")
    blob.reload()
    return blob._properties  # noqa: SLF001  # the SDK has no names for all of it


# ------------------------------------------------------------------------------------------------------------ writing


def test_a_small_object_is_one_request_that_may_not_overwrite(objects, asked, server, bucket):
    with asked() as requests:
        stored = objects.put(PATH, io.BytesIO(b"rows"), storage_class="NEARLINE", labels={"dataset": "news"})
    (request,) = requests
    assert (request.method, request.parameters["uploadType"]) == ("POST", "multipart")
    assert request.parameters["ifGenerationMatch"] == "0"
    found = resource(server, bucket)
    assert (found["storageClass"], found["metadata"]) == ("NEARLINE", {"dataset": "news"})
    assert (stored.etag, stored.storage_class) == (found["generation"], "NEARLINE")


def test_a_large_object_goes_up_in_chunks_with_its_checksum_last(objects, asked, server, bucket):
    body = bytes(range(256)) * (LARGE // 256 + 1)
    with asked() as requests:
        objects.put(PATH, io.BytesIO(body), storage_class="COLDLINE", labels={"day": "2024-01-15"})
    assert [request.method for request in requests] == ["POST", "PUT", "PUT", "PUT"]
    assert requests[0].parameters["ifGenerationMatch"] == "0"
    found = resource(server, bucket)
    assert found["crc32c"] == base64.b64encode(google_crc32c.Checksum(body).digest()).decode()
    assert (found["storageClass"], found["metadata"]) == ("COLDLINE", {"day": "2024-01-15"})


@pytest.mark.parametrize("size", [10, LARGE])
def test_what_arrives_otherwise_than_it_was_sent_is_refused_and_sent_again(objects, monkeypatch, size):
    """The checksum is that of what was read; the wire is bent here, where the SDK hands a request over."""
    session = objects._made()._http  # noqa: SLF001  # where its requests pass
    original = session.request

    def bent(method, url, data=None, **further):
        if isinstance(data, bytes) and b"x" * 10 in data:
            data = data.replace(b"x" * 10, b"y" * 10, 1)
        return original(method, url, data=data, **further)

    monkeypatch.setattr(session, "request", bent)
    with pytest.raises(TransientLakeError, match="doesn't match calculated"):
        objects.put(PATH, io.BytesIO(b"x" * size))
    assert list(objects.list("")) == []
    monkeypatch.undo()
    objects.put(PATH, io.BytesIO(b"x" * size))
    assert objects.open(PATH).read() == b"x" * size


def test_an_upload_that_was_left_in_the_middle_is_nothing(objects, server, bucket):
    calls = []

    class Dying(io.BytesIO):
        def read(self, size=-1):
            calls.append(size)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return super().read(size)

    with pytest.raises(KeyboardInterrupt):
        objects.put(PATH, Dying(bytes(LARGE)))
    assert any("upload_id" in line for line in server.log(bucket))
    assert list(objects.list("")) == []
    with pytest.raises(FileNotFoundError):
        objects.open(PATH)
    objects.put(PATH, io.BytesIO(b"after all"))
    assert objects.open(PATH).read() == b"after all"


def test_of_two_writers_of_a_large_object_one_wins(objects):
    def put(number):
        body = bytes([number]) * LARGE
        try:
            objects.put(PATH, io.BytesIO(body))
        except ObjectExistsError:
            return None
        return body

    with ThreadPoolExecutor(3) as pool:
        (won,) = [body for body in pool.map(put, range(3)) if body]
    assert objects.open(PATH).read() == won


@pytest.mark.parametrize("size", [10, LARGE])
def test_a_write_whose_answer_was_lost_counts(objects, server, bucket, size):
    retrying = RetryingObjects(objects, sleep=lambda _: None)
    server.refuse(bucket, 503, late=True, times=1)
    stored = retrying.put(PATH, io.BytesIO(b"x" * size))
    assert stored == objects.stat(PATH)
    with pytest.raises(ObjectExistsError):
        retrying.put(PATH, io.BytesIO(b"y" * size))


def test_a_large_write_takes_little_memory(objects):
    class Zeros(io.RawIOBase):
        size, at = 100 << 20, 0

        def seekable(self):
            return True

        def readable(self):
            return True

        def tell(self):
            return self.at

        def seek(self, offset, whence=0):
            self.at = {0: 0, 1: self.at, 2: self.size}[whence] + offset
            return self.at

        def readinto(self, buffer):
            count = min(len(buffer), self.size - self.at)
            self.at += count
            return count

    list(objects.list(""))  # what is made on first use does not count
    tracemalloc.start()
    try:
        objects.put(PATH, Zeros())
        assert tracemalloc.get_traced_memory()[1] < 4 * store.CHUNK_BYTES
    finally:
        tracemalloc.stop()
    objects.delete(PATH)


# ------------------------------------------------------------------------------------------------------------ reading


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


# ------------------------------------------------------------------------------------------------------------ classes


def test_moving_what_was_surveyed_is_one_request_and_keeps_what_the_object_was_labelled_with(
    objects, asked, server, bucket
):
    objects.put(PATH, io.BytesIO(b"rows"), labels={"dataset": "news", "day": "2024-01-15"})
    before = resource(server, bucket)
    (stored,) = objects.survey("")
    with asked() as requests:
        moved = objects.classes.transition(stored, "COLDLINE")
    (request,) = requests
    assert "/rewriteTo/" in request.path
    assert request.parameters["ifSourceGenerationMatch"] == request.parameters["ifGenerationMatch"] == stored.etag
    after = resource(server, bucket)
    assert moved == objects.stat(PATH)
    assert (after["storageClass"], after["generation"]) == ("COLDLINE", moved.etag)
    kept = ("metadata", "contentType", "customTime", "crc32c", "size")
    assert [after[name] for name in kept] == [before[name] for name in kept]


def test_a_large_object_is_moved_in_several_calls(objects, asked):
    stored = objects.put(PATH, io.BytesIO(b"x" * (5 << 19)))
    with asked() as requests:
        moved = objects.classes.transition(stored, "ARCHIVE")
    rewrites = [request for request in requests if request.method == "POST"]
    assert ["rewriteToken" in request.parameters for request in rewrites] == [False, True, True]
    assert moved.storage_class == "ARCHIVE"
    assert objects.open(PATH).read() == b"x" * (5 << 19)


def test_an_object_that_changed_since_the_survey_is_left_alone(objects):
    stored = objects.put(PATH, io.BytesIO(b"rows"))
    now = objects.classes.transition(stored, "NEARLINE")
    with pytest.raises(PlanDriftError, match="changed since it was surveyed"):
        objects.classes.transition(stored, "COLDLINE")
    assert objects.stat(PATH) == now


def test_a_move_whose_answer_was_lost_counts(objects, server, bucket):
    stored = objects.put(PATH, io.BytesIO(b"rows"))
    server.refuse(bucket, 503, late=True, times=2)  # that of the description, and that of the move
    moved = RetryingObjects(objects, sleep=lambda _: None).classes.transition(stored, "NEARLINE")
    assert moved == objects.stat(PATH)
    assert moved.storage_class == "NEARLINE"


def test_a_bucket_that_chooses_classes_by_itself_is_named_for_it(objects, server, bucket):
    real = server.client().bucket(bucket)
    real.reload()
    real.autoclass_enabled = True
    real.patch()
    stored = objects.put(PATH, io.BytesIO(b"rows"), storage_class="NEARLINE")
    assert stored.storage_class == "STANDARD"
    with pytest.raises(LakeError, match="Autoclass"):
        objects.classes.transition(stored, "COLDLINE")
    assert objects.open(PATH).read() == b"rows"


def test_archives_are_read_at_once_and_need_no_restoring(objects):
    objects.put(PATH, io.BytesIO(b"rows"), storage_class="ARCHIVE")
    assert objects.open(PATH).read() == b"rows"
    with pytest.raises(UsageError, match=r"can be read at once .* billed by the GiB"):
        objects.classes.restore(PATH, days=1, speed="Bulk")


def test_rules_are_written_where_nobody_else_wrote_meanwhile_and_others_stay(objects, asked, server, bucket):
    theirs = {"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": 7}}
    ours = {"action": {"type": "SetStorageClass", "storageClass": "NEARLINE"}, "condition": {"age": 30}}
    real = server.client().bucket(bucket)
    real.reload()
    real.lifecycle_rules = [theirs]
    real.patch()
    with asked() as requests:
        objects.classes.replace_rules([theirs, ours], expected=[theirs])
    assert [request.method for request in requests] == ["GET", "PATCH"]
    assert requests[1].parameters["ifMetagenerationMatch"]
    assert list(objects.classes.rules()) == [theirs, ours]
    with pytest.raises(PlanDriftError, match="changed since they were read"):
        objects.classes.replace_rules([], expected=[theirs])
    assert list(objects.classes.rules()) == [theirs, ours]
    server.refuse(bucket, 412)
    with pytest.raises((PlanDriftError, LakeError)):
        objects.classes.replace_rules([], expected=[theirs, ours])


# ------------------------------------------------------------------------------------------- keys, payers, and refusals


@pytest.mark.parametrize("size", [10, LARGE])
def test_objects_are_encrypted_with_the_key_of_the_settings_also_where_they_are_moved(opened, server, bucket, size):
    stored = opened(kms_key_name=KEY).put(PATH, io.BytesIO(b"x" * size))
    assert resource(server, bucket)["kmsKeyName"] == f"{KEY}/cryptoKeyVersions/1"
    opened().transition(stored, "NEARLINE")
    assert resource(server, bucket)["kmsKeyName"] == f"{KEY}/cryptoKeyVersions/1"
    opened(kms_key_name=f"{KEY}2").transition(opened().stat(PATH), "COLDLINE")
    assert resource(server, bucket)["kmsKeyName"] == f"{KEY}2/cryptoKeyVersions/1"


def test_whoever_asks_pays_where_the_bucket_demands_it(opened, server, bucket, asked):
    real = server.client().bucket(bucket, user_project="mine")
    real.reload()
    real.requester_pays = True
    real.patch()
    with pytest.raises(LakeError, match=r"set storage\.gcs\.user_project"):
        opened().put(PATH, io.BytesIO(b"rows"))
    objects = opened(user_project="payer")
    with asked() as requests:
        stored = objects.put(PATH, io.BytesIO(b"x" * LARGE))
        objects.open(PATH).read(10)
        objects.transition(objects.stat(PATH), "NEARLINE")
        assert list(objects.list("")) == [stored.path]
        assert objects.rules() == []
        with objects.filesystem.open(objects.location(PATH)) as stream:
            assert stream.read(3) == b"xxx"
        objects.delete(PATH)
    uploads = [request for request in requests if request.method == "PUT"]
    assert {r.parameters.get("userProject") for r in requests if r not in uploads} == {"payer"}


REFUSALS = [
    (401, "Invalid Credentials", LakeError, "gcloud auth application-default login"),
    (403, "x does not have storage.objects.create access", LakeError, r"docs/guide/lakes\.md has the roles"),
    (429, "Too many requests", TransientLakeError, "Too many requests"),
    (503, "Backend error", TransientLakeError, "Backend error"),
]


@pytest.mark.parametrize("refusal", REFUSALS)
def test_every_refusal_is_an_error_with_a_remedy(objects, server, bucket, refusal):
    status, said, error, remedy = refusal
    stored = objects.put(PATH, io.BytesIO(b"rows"))
    acts = [
        lambda: objects.put("a", io.BytesIO(b"x")),
        lambda: objects.put("b", io.BytesIO(b"x" * LARGE)),
        lambda: objects.open(PATH),
        lambda: objects.stat(PATH),
        lambda: objects.delete(PATH),
        lambda: list(objects.list("")),
        lambda: objects.transition(stored, "NEARLINE"),
        objects.rules,
    ]
    for act in acts:
        server.refuse(bucket, status, said)
        with pytest.raises(error, match=remedy) as caught:
            act()
        assert type(caught.value) is error
        if status != 401:  # of which the SDK says something of its own
            assert f"{said} ({status})" in str(caught.value)
        assert "upload_id" not in str(caught.value)
    assert objects.stat(PATH) == stored


def test_a_bucket_that_is_not_there_is_no_missing_object(server):
    objects = GcsObjects("none", "", GcsOptions(endpoint_url=server.endpoint_url))
    for act in (lambda: objects.put(PATH, io.BytesIO(b"x")), lambda: list(objects.list("")), objects.rules):
        with pytest.raises(LakeError, match="there is no such bucket; make it"):
            act()


def test_what_the_bucket_must_keep_is_not_deleted(objects, server, bucket):
    objects.put(PATH, io.BytesIO(b"rows"))
    real = server.client().bucket(bucket)
    real.reload()
    real.retention_period = 3600
    real.patch()
    with pytest.raises(LakeError, match="keeps it for a while"):
        objects.delete(PATH)
    assert objects.open(PATH).read() == b"rows"


def test_what_a_bucket_keeps_and_bills_is_said_once_when_its_rules_are_read(objects, server, bucket, caplog):
    real = server.client().bucket(bucket)
    real.reload()
    assert objects.rules() == []
    assert not caplog.records
    real.versioning_enabled = True
    real.soft_delete_policy.retention_duration_seconds = 7 * 86_400
    real.retention_period = 86_400
    real.patch()
    objects = GcsObjects(bucket, "lake", GcsOptions(endpoint_url=server.endpoint_url))
    for _ in range(2):
        objects.rules()
    said = [record.getMessage().removeprefix(f"gs://{bucket} ") for record in caplog.records]
    assert [line.partition(",")[0] for line in said] == [
        "keeps every object that is deleted or moved",
        "keeps what is deleted or moved for 7 days more (soft delete)",
        "lets nobody delete or move an object in its first 1 days (retention policy)",
    ]


def test_no_credentials_is_an_error_with_a_remedy(bucket, monkeypatch, tmp_path):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(LakeError, match="gcloud auth application-default login"):
        GcsObjects(bucket).stat(PATH)


def test_only_another_store_is_asked_without_credentials(monkeypatch, tmp_path, bucket):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    for endpoint in ("https://storage.googleapis.com", "https://storage-x.p.googleapis.com"):
        with pytest.raises(LakeError, match="there are no credentials"):
            GcsObjects(bucket, "", GcsOptions(endpoint_url=endpoint)).stat(PATH)


def test_the_store_is_found_by_the_variable_of_emulators(server, bucket, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.endpoint_url)
    objects = GcsObjects(bucket)
    objects.put(PATH, io.BytesIO(b"rows"))
    with objects.filesystem.open(objects.location(PATH)) as stream:
        assert stream.read() == b"rows"


def test_a_client_that_is_given_does_the_asking(server, bucket, asked):
    class Noting(storage.Client):
        asked = 0

        def bucket(self, *arguments, **options):
            type(self).asked += 1
            return super().bucket(*arguments, **options)

    client = Noting(
        project="mine", client_options={"api_endpoint": server.endpoint_url}, use_auth_w_custom_endpoint=False
    )
    with asked() as requests:
        GcsObjects(bucket, "", GcsOptions(client=client)).put(PATH, io.BytesIO(b"rows"))
    assert Noting.asked
    assert [request.method for request in requests] == ["POST"]


# ------------------------------------------------------------------------------------------------------------- queries


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
