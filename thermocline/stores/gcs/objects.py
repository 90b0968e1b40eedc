"""A lake in a bucket of Google Cloud Storage.

https://cloud.google.com/storage/docs/json_api, read 2026-11.
"""

import io
import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import urlsplit

from thermocline.errors import LakeError, PlanDriftError, TransientLakeError, UsageError
from thermocline.faults import Step, reached, step
from thermocline.model.receipt import StoredObject
from thermocline.model.storage_classes import Provider
from thermocline.ports import Rule
from thermocline.stores.gcs.errors import PreconditionFailedError, explained, warnings_of

if TYPE_CHECKING:
    from typing_extensions import Buffer

_log = logging.getLogger(__name__)

CHUNK_BYTES = 8 << 20
"""What is sent at a time; a multiple of 256 KiB, as Google demands. Smaller objects are one request."""

_FIRST_READ_BYTES, _LARGEST_READ_BYTES = 256 << 10, 16 << 20
_CONNECT_SECONDS, _READ_SECONDS = 10, 60
_MOST_CONNECTIONS = 64
_KEPT_LABELS = 100_000
_DESCRIBED = (
    "name,size,generation,storageClass,timeCreated,timeStorageClassUpdated,metadata,contentType,customTime,kmsKeyName"
)
_FIELDS, _NAMES = f"items({_DESCRIBED}),nextPageToken", "items(name),nextPageToken"

_GOOGLE = ".googleapis.com"


@dataclass(frozen=True, slots=True)
class GcsOptions:
    """How a bucket is reached. What is None comes from where Google's SDK looks.

    Attributes:
        project: The project that the client belongs to.
        endpoint_url: Another address, such as `http://localhost:4443`.
        kms_key_name: The Cloud KMS key with which objects are encrypted.
        user_project: The project that pays for requests where the bucket demands that whoever asks pays.
        client: A `google.cloud.storage.Client` to ask with.
    """

    project: str | None = None
    endpoint_url: str | None = None
    kms_key_name: str | None = None
    user_project: str | None = None
    client: Any = field(default=None, repr=False, compare=False)


class GcsObjects:
    """Objects below a prefix of a bucket, written where no generation is and checked by CRC32C on their way.

    The etag is the object's generation. Labels become its metadata.
    """

    def __init__(self, bucket: str, prefix: str = "", options: GcsOptions | None = None) -> None:
        """Name the bucket and the prefix; nothing connects yet."""
        self._bucket, self._prefix = bucket, f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._options = options or GcsOptions()
        self._lock = threading.Lock()
        self._client: tuple[int, Any] | None = None
        self._filesystem: tuple[int, Any] | None = None
        self._has_warned = False
        self._labels: dict[str, tuple[str, Mapping[str, Any]]] = {}

    def __repr__(self) -> str:
        """The class and the URL."""
        return f"GcsObjects({self.url!r})"

    @property
    def url(self) -> str:
        """The bucket and the prefix as a `gs://` URL."""
        return f"gs://{self._bucket}/{self._prefix}".rstrip("/")

    @property
    def classes(self) -> "GcsObjects":
        """See `Objects.classes`."""
        return self

    @property
    def provider(self) -> Provider:
        """See `Classes.provider`."""
        return Provider.GCS

    @property
    def filesystem(self) -> Any:
        """A gcsfs file system that opens `location`s."""
        client = self._made()
        with self._lock:
            if self._filesystem is None or self._filesystem[0] != os.getpid():
                from thermocline.stores.gcs.filesystem import ExactGcsFileSystem  # noqa: PLC0415  # for readers alone

                self._filesystem = os.getpid(), ExactGcsFileSystem.of(client, self._options)
            return self._filesystem[1]

    def location(self, path: str) -> str:
        """The object's `gs://` URL."""
        return f"gs://{self._bucket}/{self._key(path)}"

    # ------------------------------------------------------------------------------------------------ objects

    @step(Step.PUT)
    def put(
        self, path: str, content: BinaryIO, *, storage_class: str = "", labels: Mapping[str, str] | None = None
    ) -> StoredObject:
        """See `Objects.put`."""
        size_bytes = _size_left(content)
        blob = self._blob(path)
        if storage_class:
            blob.storage_class = storage_class
        if labels:
            blob.metadata = dict(labels)
            if "day" in labels:  # the rules of the bucket count the days since
                blob.custom_time = datetime.fromisoformat(labels["day"]).replace(tzinfo=UTC)
        reached("put:written")
        with self._explained("write", path):
            self._upload(blob, content, size_bytes, if_generation_match=0)
        reached("put:named")
        return _described(path, blob)

    @step(Step.REPLACE)
    def replace(self, path: str, content: bytes) -> StoredObject:
        """See `Objects.replace`."""
        blob = self._blob(path)
        reached("replace:written")
        with self._explained("write", path):
            self._upload(blob, io.BytesIO(content), len(content))
        return _described(path, blob)

    def open(self, path: str) -> BinaryIO:
        """See `Objects.open`. No generation is pinned: a move to another class makes a new one of the same bytes."""
        return cast("BinaryIO", io.BufferedReader(_Reader(self, path), 1 << 16))

    def stat(self, path: str) -> StoredObject:
        """See `Objects.stat`."""
        blob = self._blob(path)
        with self._explained("read", path):
            blob.reload(**_TRIES)
        return _described(path, blob)

    def delete(self, path: str) -> None:
        """See `Objects.delete`."""
        with suppress(FileNotFoundError), self._explained("delete", path):
            self._blob(path).delete(**_TRIES)

    def list(self, prefix: str) -> Iterator[str]:
        """See `Objects.list`."""
        return (str(blob.name).removeprefix(self._prefix) for blob in self._listed(prefix, _NAMES))

    # ------------------------------------------------------------------------------------------------ classes

    def survey(self, prefix: str) -> Iterator[StoredObject]:
        """See `Classes.survey`. A thousand objects an answer."""
        for blob in self._listed(prefix, _FIELDS):
            stored = _described(str(blob.name).removeprefix(self._prefix), blob)
            self._note_labels(stored, blob)
            yield stored

    def transition(self, stored: StoredObject, storage_class: str) -> StoredObject:
        """See `Classes.transition`. Objects too large for one answer are gone on with until they are done."""
        try:
            with self._explained("move", stored.path):
                blob = self._blob(stored.path)
                etag, labels = self._labels.pop(stored.path, ("", {}))
                if etag != stored.etag:
                    blob.reload(**_TRIES)
                    labels = _carried(blob)
                moved = self._blob(stored.path)
                # A rewrite that names a class takes nothing else over from the old object.
                moved.storage_class = storage_class
                for name, value in labels.items():
                    setattr(moved, name, value)
                if self._options.kms_key_name:
                    moved.kms_key_name = self._options.kms_key_name
                generation = _generation(stored)
                token = None
                while True:
                    token, _, _ = moved.rewrite(
                        self._blob(stored.path),
                        token=token,
                        if_generation_match=generation,
                        if_source_generation_match=generation,
                        **_TRIES,
                    )
                    if token is None:
                        break
            if moved.storage_class != storage_class:
                msg = (
                    f"{self.location(stored.path)} was rewritten and is in {moved.storage_class}, not {storage_class}: "
                    "the bucket chooses classes by itself (Autoclass). Nothing is lost; turn that off there, or have "
                    "no retention policy here"
                )
                raise LakeError(msg)
            return _described(stored.path, moved)
        except PreconditionFailedError:
            msg = (
                f"{self.location(stored.path)} changed since it was surveyed; nothing was changed. Make the plan again"
            )
            raise PlanDriftError(msg) from None

    def restore(self, path: str, *, days: int, speed: str) -> None:  # noqa: ARG002  # nothing is asked of Google
        """See `Classes.restore`: no class of Google's must be restored.

        Raises:
            UsageError: Always.
        """
        msg = f"{self.location(path)} can be read at once in every class of Google's; reading it is billed by the GiB"
        raise UsageError(msg)

    def rules(self) -> Sequence[Rule]:
        """See `Classes.rules`. What the bucket does besides, and costs money or stands in the way, is logged once."""
        bucket = self._made_bucket()
        with self._explained("read the rules of", ""):
            rules = self._rules(bucket)
        if not self._has_warned:
            self._has_warned = True
            for warning in warnings_of(bucket):
                _log.warning("gs://%s %s", self._bucket, warning)
        return rules

    def replace_rules(self, rules: Sequence[Rule], *, expected: Sequence[Rule]) -> None:
        """See `Classes.replace_rules`."""
        drifted = f"the lifecycle rules of {self._bucket} changed since they were read; nothing was changed"
        bucket = self._made_bucket()
        try:
            with self._explained("change the rules of", ""):
                if list(self._rules(bucket)) != list(expected):
                    raise PlanDriftError(drifted)
                bucket.lifecycle_rules = [dict(rule) for rule in rules]
                bucket.patch(if_metageneration_match=bucket.metageneration, **_TRIES)
        except PreconditionFailedError:
            raise PlanDriftError(drifted) from None

    # ----------------------------------------------------------------------------------------------- requests

    def read_range(self, path: str, start: int, most_bytes: int) -> bytes:
        """At most so many bytes of an object from a position on; none where it ends there."""
        from google.api_core.exceptions import RequestRangeNotSatisfiable  # noqa: PLC0415

        with self._explained("read", path):
            try:
                body = self._blob(path).download_as_bytes(
                    start=start, end=start + most_bytes - 1, raw_download=True, checksum=None, **_TRIES
                )
            except RequestRangeNotSatisfiable:
                return b""
        return cast("bytes", body)

    def _listed(self, prefix: str, fields: str) -> Iterator[Any]:
        bucket = self._made_bucket()
        with self._explained("list", ""):
            yield from bucket.client.list_blobs(bucket, prefix=self._prefix + prefix, fields=fields, **_TRIES)

    def _upload(self, blob: Any, content: BinaryIO, size_bytes: int, **conditions: Any) -> None:
        blob.upload_from_file(content, size=size_bytes, checksum="crc32c", **conditions, **_TRIES)
        if blob.size != size_bytes:
            msg = f"{size_bytes} bytes were sent to {blob.name} and the store has {blob.size}"
            raise TransientLakeError(msg)

    def _note_labels(self, stored: StoredObject, blob: Any) -> None:
        """Keep what a rewrite must carry over, so that moving an object is one request."""
        if stored.path in self._labels or len(self._labels) < _KEPT_LABELS:
            self._labels[stored.path] = stored.etag, _carried(blob)

    @staticmethod
    def _rules(bucket: Any) -> Sequence[Rule]:
        bucket.reload(**_TRIES)
        return [dict(rule) for rule in bucket.lifecycle_rules]

    def _blob(self, path: str) -> Any:
        options = self._options
        return self._made_bucket().blob(self._key(path), chunk_size=CHUNK_BYTES, kms_key_name=options.kms_key_name)

    def _made_bucket(self) -> Any:
        return self._made().bucket(self._bucket, user_project=self._options.user_project)

    def _made(self) -> Any:
        """The client of this process; threads may share one, processes may not."""
        client = self._client
        if client is None or client[0] != os.getpid():
            with self._lock:
                client = self._client
                if client is None or client[0] != os.getpid():
                    client = self._client = os.getpid(), self._make()
        return client[1]

    def _make(self) -> Any:
        from google.cloud import storage  # noqa: PLC0415  # only those pay for it who have such a lake
        from requests.adapters import HTTPAdapter  # noqa: PLC0415

        options = self._options
        if options.client is not None:
            return _untraced(options.client)
        with self._explained("reach", ""):
            endpoint = {"api_endpoint": options.endpoint_url} if options.endpoint_url else None
            is_google = endpoint is None or (urlsplit(str(options.endpoint_url)).hostname or "").endswith(_GOOGLE)
            client = storage.Client(
                project=options.project, client_options=endpoint, use_auth_w_custom_endpoint=is_google
            )
        adapter = HTTPAdapter(pool_connections=_MOST_CONNECTIONS, pool_maxsize=_MOST_CONNECTIONS)
        for scheme in ("https://", "http://"):
            client._http.mount(scheme, adapter)  # noqa: SLF001  # the only way to more than ten connections
        return _untraced(client)

    def _key(self, path: str) -> str:
        if not path or path.startswith("/") or any(part in {"", ".", ".."} for part in path.split("/")):
            msg = f"{path!r} is no path of an object; it must be relative, without `..` or empty parts"
            raise LakeError(msg)
        return self._prefix + path

    def _explained(self, act: str, path: str) -> AbstractContextManager[None]:
        return explained(act, self.location(path) if path else self.url, of_object=bool(path))


_TRIES: Mapping[str, Any] = {"retry": None, "timeout": (_CONNECT_SECONDS, _READ_SECONDS)}
"""Requests are made again by `RetryingObjects`, which counts them."""


def _untraced(client: Any) -> Any:
    """The client, which does not ask for the bucket, in the background, to tell tracing where that is.

    Where whoever asks pays it would ask without saying who does, in vain and beside each request.
    """
    client._bucket_metadata_cache = None  # noqa: SLF001  # it has no switch
    return client


def _carried(blob: Any) -> dict[str, Any]:
    """What an object's description says that a rewrite must say again."""
    described = {name: getattr(blob, name) for name in ("metadata", "content_type", "custom_time", "kms_key_name")}
    if key := described["kms_key_name"]:  # an object names the version; a request must not
        described["kms_key_name"] = key.partition("/cryptoKeyVersions/")[0]
    return {name: value for name, value in described.items() if value is not None}


def _generation(stored: StoredObject) -> int:
    """The generation that was surveyed; an etag of another store is that of another object."""
    try:
        return int(stored.etag)
    except ValueError:
        raise PreconditionFailedError from None


def _size_left(content: BinaryIO) -> int:
    position = content.tell()
    size_bytes = content.seek(0, io.SEEK_END) - position
    content.seek(position)
    return size_bytes


def _described(path: str, blob: Any) -> StoredObject:
    moved = blob._properties.get("timeStorageClassUpdated")  # noqa: SLF001  # the SDK has no name for it
    at = datetime.fromisoformat(moved) if moved else blob.time_created
    return StoredObject(
        path, int(blob.size), str(blob.generation), blob.storage_class or "STANDARD", at and at.astimezone(UTC)
    )


class _Reader(io.RawIOBase):
    """Reads one object in ranges, each larger than the last while it is read in order."""

    def __init__(self, objects: GcsObjects, path: str) -> None:
        super().__init__()
        self._objects, self._path = objects, path
        self._position, self._start = 0, 0
        self._most_bytes = _FIRST_READ_BYTES
        self._kept = objects.read_range(path, 0, self._most_bytes)
        self._size = len(self._kept) if len(self._kept) < self._most_bytes else None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_END and self._size is None:
            self._size = self._objects.stat(self._path).size_bytes
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size or 0}[whence]
        self._position = max(origin + offset, 0)
        return self._position

    def readinto(self, buffer: "Buffer") -> int:
        view = memoryview(buffer)
        if not self._start <= self._position < self._start + len(self._kept):
            if self._size is not None and self._position >= self._size:
                return 0
            self._go_on(len(view))
        at = self._position - self._start
        chunk = self._kept[at : at + len(view)]
        view[: len(chunk)] = chunk
        self._position += len(chunk)
        return len(chunk)

    def _go_on(self, wanted_bytes: int) -> None:
        in_order = self._position == self._start + len(self._kept)
        self._most_bytes = min(self._most_bytes * 4, _LARGEST_READ_BYTES) if in_order else _FIRST_READ_BYTES
        asked = max(self._most_bytes, min(wanted_bytes, _LARGEST_READ_BYTES))
        self._start, self._kept = self._position, self._objects.read_range(self._path, self._position, asked)
        if len(self._kept) < asked:
            self._size = self._start + len(self._kept)
