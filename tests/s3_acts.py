"""What tests of S3 write, what they look at, and how answers go wrong."""

import io

from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectionClosedError

from thermocline.stores.s3 import objects as s3

PATH = "cold_storage/news/year=2024/month=01/day=15/news_20240115.parquet"
SMALL, LARGE = 1000, s3.PART_BYTES * 2 + 3
KMS_KEY = "arn:aws:kms:us-east-1:123456789012:key/0000"


def events_of(objects):
    return objects._made().meta.events  # noqa: SLF001  # where the SDK lets a test look and put its foot in


class Asked(list):
    """The requests of a store from now on, as operations with their headers."""

    def __init__(self, objects):
        """Begin to listen."""
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
