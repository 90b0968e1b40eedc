"""What is asked of S3 to write, and what becomes of answers that go wrong."""

import io
import tracemalloc

import pytest
from s3_acts import LARGE, PATH, SMALL, Asked, answering, content_of, events_of, losing_the_answer, proven

from thermocline.errors import LakeError, ObjectExistsError, TransientLakeError
from thermocline.stores.retrying import RetryingObjects
from thermocline.stores.s3 import objects as s3


def test_a_small_object_is_one_request_that_may_not_overwrite(objects):
    asked = Asked(proven(objects))
    objects.put(PATH, io.BytesIO(bytes(SMALL)), storage_class="STANDARD_IA", labels={"dataset": "news"})
    [(operation, headers)] = asked
    assert (operation, headers["if-none-match"], headers["x-amz-storage-class"]) == ("PutObject", "*", "STANDARD_IA")
    assert headers["x-amz-meta-dataset"] == "news"
    assert headers["x-amz-checksum-sha256"]
    assert objects.stat(PATH).storage_class == "STANDARD_IA"


def test_a_large_object_goes_up_in_parts_with_a_checksum_each_and_exists_at_once(objects):
    asked = Asked(proven(objects))
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
