"""What is asked of S3: the very requests, and what becomes of answers that go wrong."""

import io
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectionClosedError
from made_rows import DAY, NOON, bars
from s3_server import KEY as ACCESS_KEY
from s3_server import REGION, SECRET

from thermocline.errors import (
    ArchivedError,
    LakeError,
    ObjectExistsError,
    PlanDriftError,
    TransientLakeError,
    UsageError,
)
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import Partition
from thermocline.model.query import Query, Segment, Tier
from thermocline.model.receipt import Vintage
from thermocline.stores.lake import ParquetLake
from thermocline.stores.memory import MemoryCatalog
from thermocline.stores.retrying import RetryingObjects
from thermocline.stores.s3 import S3Objects, S3Options
from thermocline.stores.s3 import objects as s3

PATH = "cold_storage/news/year=2024/month=01/day=15/news_20240115.parquet"
SMALL, LARGE = 1000, s3.PART_BYTES * 2 + 3
KMS_KEY = "arn:aws:kms:us-east-1:123456789012:key/0000"


@pytest.fixture
def opened(s3_server):
    """Makes stores of one prefix."""
    bucket, prefix = s3_server.new_prefix().split("/")
    session = boto3.Session(ACCESS_KEY, SECRET, region_name=REGION)

    def opened(**options):
        return S3Objects(
            bucket, prefix, S3Options(**{"endpoint_url": s3_server.endpoint_url, "session": session, **options})
        )

    return opened


@pytest.fixture
def objects(opened):
    return opened()


@pytest.fixture
def imitated(moto_server, monkeypatch):
    """A store of a server that has archives and rules."""
    for name, value in moto_server.environment.items():
        monkeypatch.setenv(name, value)
    return S3Objects(moto_server.new_bucket(), "lake")


def events_of(objects):
    return objects._made().meta.events  # noqa: SLF001  # where the SDK lets a test look and put its foot in


class _Asked(list):
    """The requests of a store from now on, as operations with their headers."""

    def __init__(self, objects):
        super().__init__()
        events_of(objects).register("before-send.s3", self._note)

    def _note(self, request, event_name, **_):
        headers = {
            name.lower(): value.decode() if isinstance(value, bytes) else value
            for name, value in request.headers.items()
        }
        self.append((event_name.rpartition(".")[2], headers))

    @property
    def operations(self):
        """What was asked, in order."""
        return [operation for operation, _ in self]

    def headers_of(self, operation):
        """Of the first such request."""
        return next(headers for name, headers in self if name == operation)


def proven(objects):
    """The store after its first writes, before which it is tried whether objects may be overwritten there."""
    for path, size_bytes in (("proven", 0), ("proven in parts", s3.PART_BYTES + 1)):
        objects.put(path, io.BytesIO(bytes(size_bytes)))
        objects.delete(path)
    return objects


def answering(objects, operation, status, code, times=1, **fields):
    """Let a store answer for once what a server may."""
    told = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
    body = f"<Error><Code>{code}</Code><Message>Because.</Message>{told}</Error>".encode()
    left = [1] * times

    class Raw(io.BytesIO):
        def stream(self, **_):
            yield self.read()

    def answer(request, **_):
        return (
            AWSResponse(request.url, status, {"content-type": "text/xml"}, Raw(body)) if left and left.pop() else None
        )

    events_of(objects).register(f"before-send.s3.{operation}", answer)


def losing_the_answer(objects, operation):
    """Let the connection break once, when all is done."""
    left = [1]

    def break_off(**_):
        if left and left.pop():
            raise ConnectionClosedError(endpoint_url="http://there")

    events_of(objects).register(f"after-call.s3.{operation}", break_off)


def content_of(objects, path=PATH):
    with objects.open(path) as stream:
        return stream.read()


# ------------------------------------------------------------------------------------------------------------- writing


def test_a_small_object_is_one_request_that_may_not_overwrite(objects):
    asked = _Asked(proven(objects))
    objects.put(PATH, io.BytesIO(bytes(SMALL)), storage_class="STANDARD_IA", labels={"dataset": "news"})
    [(operation, headers)] = asked
    assert (operation, headers["if-none-match"], headers["x-amz-storage-class"]) == ("PutObject", "*", "STANDARD_IA")
    assert headers["x-amz-meta-dataset"] == "news"
    assert headers["x-amz-checksum-sha256"]
    assert objects.stat(PATH).storage_class == "STANDARD_IA"


def test_a_large_object_goes_up_in_parts_with_a_checksum_each_and_exists_at_once(objects):
    asked = _Asked(proven(objects))
    stored = objects.put(PATH, io.BytesIO(bytes(LARGE)), labels={"dataset": "news"})
    operations = ["CreateMultipartUpload", *["UploadPart"] * 3, "CompleteMultipartUpload"]
    assert asked.operations == operations
    assert all(headers["x-amz-checksum-sha256"] for name, headers in asked if name == "UploadPart")
    assert asked.headers_of("CompleteMultipartUpload")["if-none-match"] == "*"
    assert stored == objects.stat(PATH)
    assert stored.size_bytes == LARGE


@pytest.mark.parametrize(("operation", "size"), [("PutObject", SMALL), ("UploadPart", LARGE)])
def test_what_arrives_otherwise_than_it_was_sent_is_refused_and_sent_again(objects, operation, size):
    left = [1]

    def flip(request, **_):
        if left and left.pop():
            request.body = b"\x01" + bytes(request.body.read() if hasattr(request.body, "read") else request.body)[1:]

    events_of(proven(objects)).register(f"before-send.s3.{operation}", flip)
    with pytest.raises(TransientLakeError, match="othing that was stored before is lost"):
        objects.put(PATH, io.BytesIO(bytes(size)))
    assert list(objects.list("")) == []
    left.append(1)
    RetryingObjects(objects, sleep=lambda _: None).put(PATH, io.BytesIO(bytes(size)))
    assert content_of(objects) == bytes(size)


@pytest.mark.parametrize("operation", ["UploadPart", "CompleteMultipartUpload"])
def test_a_large_write_that_fails_leaves_nothing(objects, s3_server, operation):
    answering(proven(objects), operation, 403, "AccessDenied")
    with pytest.raises(LakeError, match="may not do that"):
        objects.put(PATH, io.BytesIO(bytes(LARGE)))
    assert list(objects.list("")) == []
    left = s3_server.client().list_multipart_uploads(Bucket="tests", Prefix=objects.url.removeprefix("s3://tests/"))
    assert "Uploads" not in left


def test_an_upload_that_was_left_in_the_middle_is_nothing(objects, s3_server):
    """As where its process is killed between the last part and the end."""
    client, key = s3_server.client(), objects.location(PATH).removeprefix("s3://tests/")
    upload = client.create_multipart_upload(Bucket="tests", Key=key)["UploadId"]
    client.upload_part(Bucket="tests", Key=key, UploadId=upload, PartNumber=1, Body=b"half")
    assert list(objects.list("")) == []
    with pytest.raises(FileNotFoundError):
        objects.open(PATH)
    objects.put(PATH, io.BytesIO(b"whole"))
    client.abort_multipart_upload(Bucket="tests", Key=key, UploadId=upload)
    assert content_of(objects) == b"whole"


def test_a_large_object_does_not_overwrite_one_that_came_while_it_was_sent(objects, opened):
    other = proven(opened())
    proven(objects).put(PATH + "2", io.BytesIO(b"there before"))
    with pytest.raises(ObjectExistsError):
        objects.put(PATH + "2", io.BytesIO(bytes(LARGE)))
    came = iter([lambda: other.put(PATH, io.BytesIO(b"meanwhile"))])
    events_of(objects).register("before-send.s3.CompleteMultipartUpload", lambda **_: next(came, list)() and None)
    with pytest.raises(ObjectExistsError):
        objects.put(PATH, io.BytesIO(bytes(LARGE)))
    assert (content_of(objects), content_of(objects, PATH + "2")) == (b"meanwhile", b"there before")


@pytest.mark.parametrize(("operation", "size"), [("PutObject", SMALL), ("CompleteMultipartUpload", LARGE)])
def test_a_write_whose_answer_was_lost_counts(objects, operation, size):
    losing_the_answer(proven(objects), operation)
    stored = RetryingObjects(objects, sleep=lambda _: None).put(PATH, io.BytesIO(bytes(size)))
    assert stored == objects.stat(PATH)
    with pytest.raises(ObjectExistsError):
        RetryingObjects(objects).put(PATH, io.BytesIO(b"other"))


def test_a_large_write_takes_little_memory(objects, tmp_path):
    size_bytes = 64 << 20
    (tmp_path / "large").touch()
    with (tmp_path / "large").open("r+b") as content:
        content.truncate(size_bytes)
        proven(objects)
        tracemalloc.start()
        objects.put(PATH, content)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert objects.stat(PATH).size_bytes == size_bytes
    assert most < 6 * s3.PART_BYTES


def test_a_stream_that_gives_what_it_has_is_written_whole(objects):
    class Dripping(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, 3_000_001))

    body = bytes(range(251)) * (LARGE // 251)
    objects.put(PATH, Dripping(body))
    assert content_of(objects) == body


def test_a_store_that_would_overwrite_is_found_out_before_anything_is_written(objects):
    def forget(request, **_):
        del request.headers["If-None-Match"]

    events_of(objects).register("before-sign.s3.PutObject", forget)
    with pytest.raises(LakeError, match=r"does not keep objects from being overwritten.*nothing was written"):
        objects.put(PATH, io.BytesIO(b"x"))
    assert list(objects.list("")) == []


def test_a_store_that_would_overwrite_with_what_comes_in_parts_is_found_out_as_well(objects):
    """As stores do that know the condition of one request and not that of the end of many."""

    def forget(request, **_):
        del request.headers["If-None-Match"]

    events_of(objects).register("before-sign.s3.CompleteMultipartUpload", forget)
    objects.put(PATH, io.BytesIO(b"there before"))
    with pytest.raises(LakeError, match=r"does not keep larger objects.*nothing was written"):
        objects.put(PATH, io.BytesIO(bytes(LARGE)))
    assert (list(objects.list("")), content_of(objects)) == ([PATH], b"there before")


def test_two_who_write_in_the_same_moment_are_told_to_come_again(objects):
    answering(proven(objects), "PutObject", 409, "ConditionalRequestConflict")
    with pytest.raises(TransientLakeError):
        objects.put(PATH, io.BytesIO(b"x"))


# ------------------------------------------------------------------------------------------------------------- reading


def test_reading_in_order_is_one_request_and_an_end_another(objects):
    body = bytes(range(256)) * 4096
    objects.put(PATH, io.BytesIO(body))
    asked = _Asked(objects)
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
    own = _Asked(objects)
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


# ------------------------------------------------------------------------------------------------------------- classes


def test_moving_what_was_surveyed_keeps_what_the_object_was_labelled_with(objects, s3_server):
    objects.put(PATH, io.BytesIO(b"0123456789"), labels={"dataset": "news", "day": "2024-01-15"})
    named = {"Bucket": "tests", "Key": objects.location(PATH).removeprefix("s3://tests/")}
    tags = {"TagSet": [{"Key": "cost centre", "Value": "research: bars + news"}]}
    s3_server.client().put_object_tagging(**named, Tagging=tags)
    [stored] = objects.survey("")
    moved = objects.transition(stored, "STANDARD_IA")
    assert [(each.storage_class, each.etag) for each in objects.survey("")] == [("STANDARD_IA", moved.etag)]
    assert s3_server.client().head_object(**named)["Metadata"] == {"dataset": "news", "day": "2024-01-15"}
    assert s3_server.client().get_object_tagging(**named)["TagSet"] == tags["TagSet"]
    assert content_of(objects) == b"0123456789"


def test_an_object_that_changed_since_the_survey_is_left_alone(objects):
    objects.put(PATH, io.BytesIO(b"0123456789"))
    [stored] = objects.survey("")
    objects.delete(PATH)
    objects.put(PATH, io.BytesIO(b"others"))
    with pytest.raises(PlanDriftError, match="changed since it was surveyed"):
        objects.transition(stored, "STANDARD_IA")
    assert next(objects.survey("")).storage_class == "STANDARD"


def test_a_move_whose_answer_was_lost_counts(objects):
    objects.put(PATH, io.BytesIO(b"0123456789"))
    [stored] = objects.survey("")
    losing_the_answer(objects, "CopyObject")
    moved = RetryingObjects(objects, sleep=lambda _: None).classes.transition(stored, "STANDARD_IA")
    assert moved.storage_class == "STANDARD_IA"


def test_an_object_too_large_for_one_copy_is_moved_in_parts_and_keeps_its_labels(objects, monkeypatch, s3_server):
    monkeypatch.setattr(s3, "_LARGEST_COPY_BYTES", 6 << 20)
    monkeypatch.setattr(s3, "_COPIED_PART_BYTES", 5 << 20)
    objects.put(PATH, io.BytesIO(bytes(LARGE)), labels={"dataset": "news"})
    named = {"Bucket": "tests", "Key": objects.location(PATH).removeprefix("s3://tests/")}
    tags = {"TagSet": [{"Key": "cost centre", "Value": "research: bars + news"}]}
    s3_server.client().put_object_tagging(**named, Tagging=tags)
    [stored] = objects.survey("")
    asked = _Asked(objects)
    objects.transition(stored, "STANDARD_IA")
    assert asked.operations.count("UploadPartCopy") == 4
    [moved] = objects.survey("")
    assert (moved.storage_class, moved.size_bytes) == ("STANDARD_IA", LARGE)
    assert s3_server.client().head_object(**named)["Metadata"] == {"dataset": "news"}
    assert s3_server.client().get_object_tagging(**named)["TagSet"] == tags["TagSet"]
    assert content_of(objects) == bytes(LARGE)


def test_a_survey_asks_once_for_a_thousand_objects(objects):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: objects.put(f"a/{number:04}", io.BytesIO(b"")), range(30)))
    asked = _Asked(objects)
    assert len(list(objects.survey("a/"))) == 30
    assert asked.operations == ["ListObjectsV2"]
    assert asked.headers_of("ListObjectsV2")["x-amz-optional-object-attributes"] == "RestoreStatus"


def test_rules_are_written_where_nobody_else_wrote_meanwhile(imitated):
    theirs = {"ID": "theirs", "Filter": {"Prefix": "other/"}, "Status": "Enabled", "Expiration": {"Days": 3}}
    ours = {
        "ID": "ours",
        "Filter": {"Prefix": "lake/"},
        "Status": "Enabled",
        "Transitions": [{"Days": 30, "StorageClass": "STANDARD_IA"}],
    }
    assert imitated.rules() == []
    imitated.replace_rules([theirs], expected=[])
    with pytest.raises(PlanDriftError, match="nothing was changed"):
        imitated.replace_rules([ours], expected=[])
    imitated.replace_rules([*imitated.rules(), ours], expected=imitated.rules())
    assert imitated.rules() == [theirs, ours]
    imitated.replace_rules([], expected=imitated.rules())
    assert imitated.rules() == []


def test_the_smallest_size_that_rules_move_stays_as_the_bucket_has_it(imitated):
    told = []

    def note(params, **_):
        told.append(dict(params))

    def say(parsed, **_):
        parsed["TransitionDefaultMinimumObjectSize"] = "varies_by_storage_class"

    rule = {"ID": "ours", "Filter": {"Prefix": ""}, "Status": "Enabled", "Expiration": {"Days": 3}}
    imitated.replace_rules([rule], expected=[])
    events_of(imitated).register("after-call.s3.GetBucketLifecycleConfiguration", say)
    events_of(imitated).register("provide-client-params.s3.PutBucketLifecycleConfiguration", note)
    imitated.replace_rules([rule, {**rule, "ID": "other"}], expected=[rule])
    assert told[0]["TransitionDefaultMinimumObjectSize"] == "varies_by_storage_class"


# ------------------------------------------------------------------------------------------------ settings and refusals


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_objects_are_encrypted_with_the_key_of_the_settings_also_where_they_are_moved(opened, size):
    objects = opened(kms_key_id=KMS_KEY)
    asked = _Asked(objects)
    for operation in ("PutObject", "CreateMultipartUpload", "CopyObject"):
        answering(objects, operation, 403, "KMS.NotFoundException")
    with pytest.raises(LakeError, match=r"correct storage\.s3\.kms_key_id"):
        objects.put(PATH, io.BytesIO(bytes(size)))
    with pytest.raises(LakeError, match=r"correct storage\.s3\.kms_key_id"):
        objects.transition(s3.StoredObject(PATH, size, "etag"), "STANDARD_IA")
    encrypted = [
        (headers["x-amz-server-side-encryption"], headers["x-amz-server-side-encryption-aws-kms-key-id"])
        for operation, headers in asked
        if operation != "DeleteObject"
    ]
    assert set(encrypted) == {("aws:kms", KMS_KEY)}


def test_whoever_asks_pays_where_the_bucket_demands_it(opened):
    objects = opened(requester_pays=True)
    asked = _Asked(objects)
    objects.put(PATH, io.BytesIO(b"0123456789"))
    assert content_of(objects) == b"0123456789"
    objects.stat(PATH)
    list(objects.survey(""))
    objects.delete(PATH)
    assert {headers.get("x-amz-request-payer") for _, headers in asked} == {"requester"}
    assert objects.filesystem.req_kw == {"RequestPayer": "requester"}


@pytest.mark.parametrize(
    ("status", "code", "kind", "remedy"),
    [
        (404, "NoSuchBucket", LakeError, "there is no such bucket"),
        (403, "AccessDenied", LakeError, r"docs/guide/lakes\.md"),
        (403, "InvalidAccessKeyId", LakeError, "check AWS_ACCESS_KEY_ID"),
        (403, "RequestTimeTooSkewed", LakeError, "the clock of this machine is wrong"),
        (400, "ExpiredToken", LakeError, "log in again"),
        (301, "PermanentRedirect", LakeError, r"set storage\.s3\.region"),
        (501, "NotImplemented", LakeError, "this store does not know that request"),
        (503, "SlowDown", TransientLakeError, "Because"),
        (500, "InternalError", TransientLakeError, "Because"),
    ],
)
def test_every_refusal_is_an_error_with_a_remedy(objects, status, code, kind, remedy):
    answering(objects, "ListObjectsV2", status, code, times=3)
    with pytest.raises(LakeError, match=remedy) as caught:
        list(objects.list(""))
    assert type(caught.value) is kind
    assert SECRET not in str(caught.value)


def test_without_credentials_it_is_said_where_they_are_looked_for(opened, monkeypatch):
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    objects = opened(session=None, region=REGION)
    for read in (objects.stat, lambda path: objects.filesystem.open(objects.location(path))):
        with pytest.raises(LakeError, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile"):
            read(PATH)


def test_a_name_that_no_bucket_can_have_is_wrong_usage():
    with pytest.raises(UsageError, match=r'Invalid bucket name "No_bucket at all".*correct the lake\'s URL'):
        S3Objects("No_bucket at all", "", S3Options(region=REGION)).stat(PATH)


def test_a_bucket_that_is_not_there_is_no_missing_object(s3_server):
    session = boto3.Session(ACCESS_KEY, SECRET, region_name=REGION)
    objects = S3Objects("nobody-made-it", "", S3Options(endpoint_url=s3_server.endpoint_url, session=session))
    with pytest.raises(LakeError, match="there is no such bucket"):
        objects.open(PATH)
