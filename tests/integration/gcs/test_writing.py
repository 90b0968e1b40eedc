"""What is asked of Google Cloud Storage to write, and what becomes of answers that go wrong."""

import base64
import io
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import google_crc32c
import pytest
from gcs_acts import LARGE, PATH, resource

from thermocline.errors import ObjectExistsError, TransientLakeError
from thermocline.stores.gcs import objects as store
from thermocline.stores.retrying import RetryingObjects


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
