"""A lake in a bucket of Amazon S3, or of a store that speaks its protocol.

https://docs.aws.amazon.com/AmazonS3/latest/API/, read 2026-11.
"""

import io
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, BinaryIO, cast
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

from thermocline.errors import (
    LakeError,
    ObjectExistsError,
    PlanDriftError,
)
from thermocline.faults import Step, reached, step
from thermocline.model.receipt import StoredObject
from thermocline.model.storage_classes import Provider
from thermocline.ports import Rule
from thermocline.stores.s3.errors import OnItsWayError, PreconditionFailedError, code_of, explained
from thermocline.stores.s3.parts import (
    PART_BYTES,
    PARTS_AT_ONCE,
    checksum_of,
    compare,
    in_parallel,
    parts_of,
    read_whole,
)
from thermocline.stores.s3.reader import ObjectReader

_LARGEST_COPY_BYTES = 5 << 30  # https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
_COPIED_PART_BYTES = 512 << 20

_BUFFER_BYTES = 64 << 10
_CONNECT_SECONDS, _READ_SECONDS = 10, 60
_MOST_CONNECTIONS = 64

_DESCRIBED = (
    "Metadata", "ContentType", "ContentEncoding", "ContentLanguage", "ContentDisposition", "CacheControl",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class S3Options:
    """How a bucket is reached. What is None comes from where the AWS SDK looks: variables, profiles, the role.

    Attributes:
        endpoint_url: Another store's address, such as `http://localhost:8333`.
        region: The bucket's region.
        kms_key_id: The key, its ARN or its alias with which objects are encrypted.
        requester_pays: Whether whoever asks pays for requests and traffic, as such buckets demand.
        session: A `boto3.Session` to ask with.
    """

    endpoint_url: str | None = None
    region: str | None = None
    kms_key_id: str | None = None
    requester_pays: bool = False
    session: Any = field(default=None, repr=False, compare=False)


class S3Objects:
    """Objects below a prefix of a bucket, written by conditional requests and checked by SHA-256 on their way.

    Small ones are one request; larger ones go up in parts, a few at a time, and exist once all are there. The etag is
    the store's. Labels become the object's metadata, which costs nothing; tags would be billed by the month.
    """

    def __init__(self, bucket: str, prefix: str = "", options: S3Options | None = None) -> None:
        """Name the bucket and the prefix; nothing connects yet."""
        self._bucket, self._prefix = bucket, f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._options = options or S3Options()
        self._lock = threading.Lock()
        self._client: tuple[int, Any] | None = None
        self._filesystem: tuple[int, Any] | None = None
        self._must_replace = False
        self._proven: set[bool] = set()

    def __repr__(self) -> str:
        """The class and the URL."""
        return f"S3Objects({self.url!r})"

    @property
    def url(self) -> str:
        """The bucket and the prefix as an `s3://` URL."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    @property
    def classes(self) -> "S3Objects":
        """See `Objects.classes`."""
        return self

    @property
    def provider(self) -> Provider:
        """See `Classes.provider`."""
        return Provider.S3

    @property
    def filesystem(self) -> Any:
        """An s3fs file system that opens `location`s."""
        with self._lock:
            if self._filesystem is None or self._filesystem[0] != os.getpid():
                from thermocline.stores.s3.filesystem import ExactS3FileSystem  # noqa: PLC0415  # for readers alone

                self._filesystem = os.getpid(), ExactS3FileSystem.of(self._options, is_aws=self._is_aws(self._made()))
            return self._filesystem[1]

    def location(self, path: str) -> str:
        """The object's `s3://` URL."""
        return f"s3://{self._bucket}/{self._key(path)}"

    # ------------------------------------------------------------------------------------------------ objects

    @step(Step.PUT)
    def put(
        self, path: str, content: BinaryIO, *, storage_class: str = "", labels: Mapping[str, str] | None = None
    ) -> StoredObject:
        """See `Objects.put`."""
        placed: dict[str, Any] = {"Metadata": dict(labels or {}), **self._encryption()}
        if storage_class:
            placed["StorageClass"] = storage_class
        self._prove(in_parts=False)
        read = [read_whole(content, PART_BYTES)]
        if len(read[0]) == PART_BYTES and (following := read_whole(content, PART_BYTES)):
            read.append(following)
            del following  # or it would stay in memory to the end
            self._prove(in_parts=True)
        with self._explained("write", path):
            if len(read) > 1:
                etag, size_bytes = self._put_parts(path, parts_of(read, content), placed, "put:written")
            else:
                etag, size_bytes = self._put_whole(path, read[0], {**placed, "IfNoneMatch": "*"}), len(read[0])
        reached("put:named")
        return StoredObject(path, size_bytes, etag, storage_class or "STANDARD")

    @step(Step.REPLACE)
    def replace(self, path: str, content: bytes) -> StoredObject:
        """See `Objects.replace`."""
        reached("replace:written")
        with self._explained("write", path):
            return StoredObject(path, len(content), self._put_whole(path, content, self._encryption()), "STANDARD")

    def open(self, path: str) -> BinaryIO:
        """See `Objects.open`. What is read in order comes in one answer."""
        return cast(
            "BinaryIO", io.BufferedReader(ObjectReader(self.location(path), partial(self.ask_range, path)), 1 << 16)
        )

    def stat(self, path: str) -> StoredObject:
        """See `Objects.stat`."""
        with self._explained("read", path):
            return _described(path, self._ask("head_object", Key=self._key(path)))

    def delete(self, path: str) -> None:
        """See `Objects.delete`."""
        with self._explained("delete", path), suppress(FileNotFoundError):
            self._ask("delete_object", Key=self._key(path))

    def list(self, prefix: str) -> Iterator[str]:
        """See `Objects.list`."""
        return (stored.path for stored in self.survey(prefix))

    # ------------------------------------------------------------------------------------------------ classes

    def survey(self, prefix: str) -> Iterator[StoredObject]:
        """See `Classes.survey`. A thousand objects an answer."""
        found = (stored for page in self._pages(prefix) for stored in page)
        # Amazon lists keys in the order of their bytes; stores that keep folders list folder by folder.
        return found if self._is_aws(self._made()) else iter(sorted(found, key=lambda stored: stored.path))

    def transition(self, stored: StoredObject, storage_class: str) -> StoredObject:
        """See `Classes.transition`."""
        key, path = self._key(stored.path), stored.path
        placed: dict[str, Any] = {"StorageClass": storage_class, **self._encryption()}
        try:
            with self._explained("move", path):
                if stored.size_bytes > _LARGEST_COPY_BYTES:
                    etag = self._copy_parts(key, stored, placed)
                else:
                    etag = self._copied(key, stored, placed)
        except PreconditionFailedError:
            msg = f"{self.location(path)} changed since it was surveyed; nothing was changed. Make the plan again"
            raise PlanDriftError(msg) from None
        return StoredObject(path, stored.size_bytes, etag, storage_class, datetime.now(UTC))

    def restore(self, path: str, *, days: int, speed: str) -> None:
        """See `Classes.restore`."""
        wanted = {"Days": days, "GlacierJobParameters": {"Tier": speed}}
        with suppress(OnItsWayError), self._explained("restore", path):
            self._ask("restore_object", Key=self._key(path), RestoreRequest=wanted)

    def rules(self) -> Sequence[Rule]:
        """See `Classes.rules`."""
        with self._explained("read the rules of", ""):
            return self._rules()[0]

    def replace_rules(self, rules: Sequence[Rule], *, expected: Sequence[Rule]) -> None:
        """See `Classes.replace_rules`. S3 has no condition for it: two who do it in the same moment are not told."""
        with self._explained("change the rules of", ""):
            now, further = self._rules()
            if list(now) != list(expected):
                msg = f"the lifecycle rules of {self._bucket} changed since they were read; nothing was changed"
                raise PlanDriftError(msg)
            if rules:
                configuration = {"Rules": [dict(rule) for rule in rules]}
                self._ask("put_bucket_lifecycle_configuration", LifecycleConfiguration=configuration, **further)
            elif now:
                self._ask("delete_bucket_lifecycle")

    # ----------------------------------------------------------------------------------------------- requests

    def ask_range(self, path: str, start: int) -> tuple[Any, int]:
        """The bytes of an object from a position on, as a stream, and the size of the whole object."""
        within = {"Range": f"bytes={start}-"} if start else {}
        with self._explained("read", path):
            answer = self._ask("get_object", Key=self._key(path), **within)
            total = str(answer.get("ContentRange", "")).rpartition("/")[2]
            return answer["Body"], int(total) if total else int(answer["ContentLength"])

    def _ask(self, operation: str, **parameters: Any) -> dict[str, Any]:
        client = self._made()
        about_bucket = operation.endswith(("lifecycle", "lifecycle_configuration"))
        if self._options.requester_pays and not about_bucket:
            parameters["RequestPayer"] = "requester"
        return cast("dict[str, Any]", getattr(client, operation)(Bucket=self._bucket, **parameters))

    def _made(self) -> Any:
        """The client of this process; threads may share one, processes may not."""
        client = self._client
        if client is None or client[0] != os.getpid():
            with self._lock_of_client:
                client = self._client = os.getpid(), self._make()
        return client[1]

    _lock_of_client = threading.Lock()
    """Making clients of one session at once is not safe, and several stores may share a session."""

    def _make(self) -> Any:
        import boto3  # noqa: PLC0415  # takes a tenth of a second, which only those pay who have such a lake
        from botocore.config import Config  # noqa: PLC0415
        from botocore.session import get_session  # noqa: PLC0415

        from thermocline.stores.s3.sessions import informed  # noqa: PLC0415

        options = self._options
        session = options.session or boto3.Session(botocore_session=informed(get_session()))

        def made(**further: Any) -> Any:
            config = Config(
                connect_timeout=_CONNECT_SECONDS,
                read_timeout=_READ_SECONDS,
                max_pool_connections=_MOST_CONNECTIONS,
                retries={"total_max_attempts": 1},  # requests are made again by `RetryingObjects`, which counts them
                **further,
            )
            return session.client("s3", endpoint_url=options.endpoint_url, region_name=options.region, config=config)

        with self._explained("reach", ""):
            client = made()
            # Other stores seldom have a name in the DNS for each bucket.
            return client if self._is_aws(client) else made(s3={"addressing_style": "path"})

    @staticmethod
    def _is_aws(client: Any) -> bool:
        host = urlsplit(str(client.meta.endpoint_url)).hostname or ""
        return host.endswith((".amazonaws.com", ".amazonaws.com.cn"))

    def _key(self, path: str) -> str:
        if not path or path.startswith("/") or any(part in {"", ".", ".."} for part in path.split("/")):
            msg = f"{path!r} is no path of an object; it must be relative, without `..` or empty parts"
            raise LakeError(msg)
        return self._prefix + path

    def _encryption(self) -> dict[str, str]:
        key = self._options.kms_key_id
        return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key} if key else {}

    def _prove(self, *, in_parts: bool) -> None:
        """See once, at other stores than Amazon's, that one which knows no conditions does not overwrite silently.

        Some know them where an object is one request, and not where it comes in parts.

        Raises:
            LakeError: It does; nothing was written but a small object below `cache/`, which is gone again.
        """
        if in_parts in self._proven or self._is_aws(self._made()):
            return
        path = f"cache/written-once-{uuid4().hex}"
        try:
            with self._explained("write", path):
                self._ask("put_object", Key=self._key(path), Body=b"", **self._encryption())
                if in_parts:
                    self._put_parts(path, iter([b"again"]), self._encryption())
                else:
                    self._ask("put_object", Key=self._key(path), Body=b"", IfNoneMatch="*", **self._encryption())
        except ObjectExistsError:
            self._proven.add(in_parts)
        finally:
            with suppress(Exception):
                self.delete(path)
        if in_parts not in self._proven:
            which = "larger objects, which come in parts," if in_parts else "objects"
            msg = (
                f"the store at {self._made().meta.endpoint_url} does not keep {which} from being overwritten "
                "(If-None-Match is ignored), which a lake relies on; nothing was written. Take a newer release of it, "
                "or another store"
            )
            raise LakeError(msg)

    def _put_whole(self, path: str, body: bytes, placed: Mapping[str, Any]) -> str:
        checksum = checksum_of(body)
        reached("put:written")
        answer = self._ask("put_object", Key=self._key(path), Body=body, ChecksumSHA256=checksum, **placed)
        compare(answer, checksum, self.location(path))
        return _etag(answer)

    def _put_parts(
        self, path: str, parts: Iterator[bytes], placed: Mapping[str, Any], point: str = ""
    ) -> tuple[str, int]:
        """Store parts as one object; at the point, where one is named, all were sent and nothing is there yet."""
        key = self._key(path)
        upload = self._ask("create_multipart_upload", Key=key, ChecksumAlgorithm="SHA256", **placed)["UploadId"]

        def send(number: int, body: bytes) -> dict[str, Any]:
            checksum = checksum_of(body)
            answer = self._ask(
                "upload_part", Key=key, UploadId=upload, PartNumber=number, Body=body, ChecksumSHA256=checksum
            )
            compare(answer, checksum, self.location(path))
            return {"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": checksum}

        try:
            sent, size_bytes = in_parallel(send, parts)
            if point:
                reached(point)
            answer = self._ask(
                "complete_multipart_upload", Key=key, UploadId=upload, MultipartUpload={"Parts": sent}, IfNoneMatch="*"
            )
        except BaseException:
            with suppress(Exception):  # what is left of it costs storage until a rule of the bucket ends it
                self._ask("abort_multipart_upload", Key=key, UploadId=upload)
            raise
        return _etag(answer), size_bytes

    def _copied(self, key: str, stored: StoredObject, placed: Mapping[str, Any]) -> str:
        request: dict[str, Any] = {
            "Key": key,
            "CopySource": {"Bucket": self._bucket, "Key": key},
            "CopySourceIfMatch": f'"{stored.etag}"',
            **placed,
        }
        if not self._must_replace:
            from botocore.exceptions import ClientError  # noqa: PLC0415

            try:
                answer = self._ask("copy_object", MetadataDirective="COPY", TaggingDirective="COPY", **request)
                return _etag(answer["CopyObjectResult"])
            except ClientError as error:
                # Some stores don't take another class for a change.
                if code_of(error) != "InvalidRequest":
                    raise
                self._must_replace = True
        kept = self._kept(key)
        answer = self._ask("copy_object", MetadataDirective="REPLACE", TaggingDirective="COPY", **kept, **request)
        return _etag(answer["CopyObjectResult"])

    def _kept(self, key: str) -> dict[str, Any]:
        """What an object is described with, which a request that replaces that must say again."""
        described = self._ask("head_object", Key=key)
        return {name: described[name] for name in _DESCRIBED if described.get(name)}

    def _tags(self, key: str) -> dict[str, str]:
        tags = {tag["Key"]: tag["Value"] for tag in self._ask("get_object_tagging", Key=key)["TagSet"]}
        return {"Tagging": urlencode(tags)} if tags else {}

    def _copy_parts(self, key: str, stored: StoredObject, placed: Mapping[str, Any]) -> str:
        """Copy an object that is too large for one request onto itself."""
        upload = self._ask("create_multipart_upload", Key=key, **self._kept(key), **self._tags(key), **placed)[
            "UploadId"
        ]
        ranges = [
            (start, min(start + _COPIED_PART_BYTES, stored.size_bytes) - 1)
            for start in range(0, stored.size_bytes, _COPIED_PART_BYTES)
        ]

        def send(number: int, of: tuple[int, int]) -> dict[str, Any]:
            answer = self._ask(
                "upload_part_copy",
                Key=key,
                UploadId=upload,
                PartNumber=number,
                CopySource={"Bucket": self._bucket, "Key": key},
                CopySourceIfMatch=f'"{stored.etag}"',
                CopySourceRange=f"bytes={of[0]}-{of[1]}",
            )
            return {"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]}

        try:
            with ThreadPoolExecutor(PARTS_AT_ONCE) as threads:
                sent = list(threads.map(send, range(1, len(ranges) + 1), ranges))
            answer = self._ask(
                "complete_multipart_upload",
                Key=key,
                UploadId=upload,
                MultipartUpload={"Parts": sent},
                IfMatch=f'"{stored.etag}"',
            )
        except BaseException:
            with suppress(Exception):
                self._ask("abort_multipart_upload", Key=key, UploadId=upload)
            raise
        return _etag(answer)

    def _pages(self, prefix: str) -> Iterator[Sequence[StoredObject]]:
        following: dict[str, str] = {}
        while True:
            with self._explained("list", ""):
                answer = self._ask(
                    "list_objects_v2",
                    Prefix=self._prefix + prefix,
                    OptionalObjectAttributes=["RestoreStatus"],
                    **following,
                )
            yield [self._listed(each) for each in answer.get("Contents", ())]
            if not answer.get("IsTruncated"):
                return
            following = {"ContinuationToken": answer["NextContinuationToken"]}

    def _listed(self, each: Mapping[str, Any]) -> StoredObject:
        restore = each.get("RestoreStatus", {})
        return StoredObject(
            str(each["Key"]).removeprefix(self._prefix),
            int(each["Size"]),
            _etag(each),
            each.get("StorageClass", "STANDARD"),
            each["LastModified"].astimezone(UTC),
            until.astimezone(UTC) if (until := restore.get("RestoreExpiryDate")) else None,
            bool(restore.get("IsRestoreInProgress")),
        )

    def _rules(self) -> tuple[Sequence[Rule], dict[str, Any]]:
        from botocore.exceptions import ClientError  # noqa: PLC0415

        try:
            answer = self._ask("get_bucket_lifecycle_configuration")
        except ClientError as error:
            if code_of(error) == "NoSuchLifecycleConfiguration":
                return [], {}
            raise
        name = "TransitionDefaultMinimumObjectSize"
        return list(answer.get("Rules", ())), {name: answer[name]} if name in answer else {}

    # ------------------------------------------------------------------------------------------------- errors

    @contextmanager
    def _explained(self, act: str, path: str) -> Iterator[None]:
        with explained(act, self.location(path) if path else self.url):
            yield


def _etag(answer: Mapping[str, Any]) -> str:
    return str(answer["ETag"]).strip('"')


def _described(path: str, answer: Mapping[str, Any]) -> StoredObject:
    """A HEAD's answer; `x-amz-restore` says `ongoing-request="false", expiry-date="…"`."""
    restore = str(answer.get("Restore", ""))
    until = re.search(r'expiry-date="([^"]+)"', restore)
    return StoredObject(
        path,
        int(answer["ContentLength"]),
        _etag(answer),
        answer.get("StorageClass", "STANDARD"),
        answer["LastModified"].astimezone(UTC),
        parsedate_to_datetime(until[1]).astimezone(UTC) if until else None,
        'ongoing-request="true"' in restore,
    )
