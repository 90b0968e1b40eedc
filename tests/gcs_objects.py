"""What the server of `gcs_api` keeps: buckets, objects with their generations, and uploads that go on."""

import base64
import hashlib
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import google_crc32c

_CLASSES = ("STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE")


@dataclass
class StoredObject:
    """The bytes of a generation, and its description."""

    body: bytes
    resource: dict[str, Any]


@dataclass
class Bucket:
    """Objects by their names, and answers that are to go wrong."""

    resource: dict[str, Any]
    objects: dict[str, StoredObject] = field(default_factory=dict)
    refusals: list[Mapping[str, Any]] = field(default_factory=list)


@dataclass
class Session:
    """A resumable upload: nothing of it can be read before its last byte is there."""

    bucket: str
    resource: dict[str, Any]
    conditions: Mapping[str, str]
    received: bytearray = field(default_factory=bytearray)


class Refusal(Exception):  # noqa: N818  # it is an answer
    """An answer that says no."""

    def __init__(self, status: int, message: str, reason: str = "invalid") -> None:
        """Say why, in Google's words."""
        super().__init__(message)
        self.status, self.reason = status, reason


class State:
    """Everything there is, under one lock."""

    def __init__(self) -> None:
        """There is nothing yet."""
        self.lock = threading.Lock()
        self.buckets: dict[str, Bucket] = {}
        self.sessions: dict[str, Session] = {}
        self.log: list[str] = []
        self.generation = time.time_ns() // 1000

    def bucket(self, name: str) -> Bucket:
        """A bucket of that name, or a refusal."""
        try:
            return self.buckets[name]
        except KeyError:
            raise Refusal(404, "The specified bucket does not exist.", "notFound") from None

    def object(self, bucket: str, name: str) -> StoredObject:
        """The newest generation of an object, or a refusal."""
        try:
            return self.bucket(bucket).objects[name]
        except KeyError:
            raise Refusal(404, f"No such object: {bucket}/{name}", "notFound") from None

    def store(
        self, bucket: str, resource: Mapping[str, Any], body: bytes, conditions: Mapping[str, str]
    ) -> StoredObject:
        """Make a new generation of an object, if the conditions hold and the checksums are those of the bytes."""
        place, name = self.bucket(bucket), str(resource["name"])
        check(place.objects.get(name), conditions)
        crc32c = base64.b64encode(google_crc32c.Checksum(body).digest()).decode()
        md5 = base64.b64encode(hashlib.md5(body).digest()).decode()  # noqa: S324  # Google's own
        for kind, ours in (("crc32c", crc32c), ("md5Hash", md5)):
            if resource.get(kind) not in {None, ours}:
                raise Refusal(400, f'Provided {kind} "{resource[kind]}" doesn\'t match calculated "{ours}".')
        named = resource.get("storageClass") or "STANDARD"
        if place.resource.get("autoclass", {}).get("enabled"):
            named = "STANDARD"
        if named not in _CLASSES:
            raise Refusal(400, f"Invalid storage class {named}")
        self.generation += 1
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        kept = {key: resource[key] for key in ("metadata", "contentType", "customTime") if resource.get(key)}
        if key := resource.get("kmsKeyName") or place.resource.get("encryption", {}).get("defaultKmsKeyName"):
            kept["kmsKeyName"] = f"{key.partition('/cryptoKeyVersions/')[0]}/cryptoKeyVersions/1"
        made = StoredObject(
            body,
            {
                "kind": "storage#object",
                "name": name,
                "bucket": bucket,
                "generation": str(self.generation),
                "metageneration": "1",
                "size": str(len(body)),
                "storageClass": named,
                "crc32c": crc32c,
                "md5Hash": md5,
                "timeCreated": now,
                "updated": now,
                "timeStorageClassUpdated": now,
                **kept,
            },
        )
        place.objects[name] = made
        return made


def check(there: StoredObject | None, conditions: Mapping[str, str]) -> None:
    """Hold an object against preconditions; generation 0 stands for none."""
    for name, key in (("ifGenerationMatch", "generation"), ("ifMetagenerationMatch", "metageneration")):
        if name in conditions and conditions[name] != (there.resource[key] if there else "0"):
            raise Refusal(412, "At least one of the pre-conditions you specified did not hold.", "conditionNotMet")


def check_source(source: StoredObject, conditions: Mapping[str, str]) -> None:
    wanted = conditions.get("ifSourceGenerationMatch")
    if wanted not in {None, source.resource["generation"]}:
        raise Refusal(412, "At least one of the pre-conditions you specified did not hold.", "conditionNotMet")
