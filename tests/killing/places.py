"""Where the lake of a world lies: how a state of it is kept, and how it is brought back to the same place.

It stands at one place for ever, since Iceberg's metadata names its objects by their absolute paths. No object but those
that are replaced whole is ever written to once it has its name, so what is there already can stay.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import pytest
from gcs_server import gcs
from s3_server import seaweed

from thermocline.stores.gcs import GcsObjects, GcsOptions
from thermocline.stores.s3 import S3Objects, S3Options


class Place(Protocol):
    """Where a lake lies."""

    @property
    def settings(self) -> str:
        """What thermocline.yaml says of it."""
        ...

    def clear(self, state: str = "") -> None:
        """Hold what was kept under that name and nothing else; nothing at all where there is none."""
        ...

    def keep(self, state: str) -> None:
        """Keep what is there now under a name."""
        ...


@dataclass(frozen=True)
class Folder:
    """A lake on disk, in its home. A state is a folder of links."""

    lake: Path
    kept: Path
    settings: str = ""

    def clear(self, state: str = "") -> None:
        """See `Place.clear`."""
        shutil.rmtree(self.lake, ignore_errors=True)
        if state:
            shutil.copytree(self.kept / state, self.lake, copy_function=os.link)
        else:
            self.lake.mkdir()

    def keep(self, state: str) -> None:
        """See `Place.keep`."""
        shutil.copytree(self.lake, self.kept / state, copy_function=os.link)


@dataclass(frozen=True)
class Kept:
    """An object of a state: what tells that it is still the same, its bytes, and how it was put."""

    etag: str
    body: bytes
    put: Mapping[str, Any]


@dataclass
class S3Bucket:
    """A lake in a bucket of a real S3 server."""

    client: Any
    bucket: str
    endpoint_url: str
    states: dict[str, dict[str, Kept]] = field(default_factory=dict)

    @property
    def settings(self) -> str:
        """See `Place.settings`."""
        return f"lake_url: s3://{self.bucket}/the/lake\n"

    def objects(self, prefix: str, endpoint_url: str = "") -> S3Objects:
        """A store of objects below another prefix, perhaps on another way to the server."""
        return S3Objects(self.bucket, prefix, S3Options(endpoint_url=endpoint_url or self.endpoint_url))

    def unfinished(self, prefix: str) -> list[str]:
        """The keys of uploads that were begun and neither finished nor given up."""
        answer = self.client.list_multipart_uploads(Bucket=self.bucket, Prefix=prefix)
        return [each["Key"] for each in answer.get("Uploads", ())]

    def clear(self, state: str = "") -> None:
        """See `Place.clear`."""
        wanted, there = self.states.get(state, {}), self._there()
        for key, etag in there.items():
            if key not in wanted or etag != wanted[key].etag:
                self.client.delete_object(Bucket=self.bucket, Key=key)
        again = [key for key, kept in wanted.items() if there.get(key) != kept.etag]
        for key in again:
            self.client.put_object(Bucket=self.bucket, Key=key, Body=wanted[key].body, **wanted[key].put)
        there = self._there() if again else {}
        wanted |= {key: replace(wanted[key], etag=there[key]) for key in again}

    def keep(self, state: str) -> None:
        """See `Place.keep`."""
        self.states[state] = {key: self._kept(key, etag) for key, etag in self._there().items()}

    def _there(self) -> dict[str, str]:
        """What tells that an object is the same: a move to another class changes it, and leaves the etag."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        found = [each for page in pages for each in page.get("Contents", ())]
        return {each["Key"]: f"{each['ETag']} {each['LastModified']} {each.get('StorageClass')}" for each in found}

    def _kept(self, key: str, etag: str) -> Kept:
        answer = self.client.get_object(Bucket=self.bucket, Key=key)
        placed = {"Metadata": answer["Metadata"], "StorageClass": answer.get("StorageClass", "STANDARD")}
        return Kept(etag, answer["Body"].read(), placed)


@dataclass
class GcsBucket:
    """A lake in a bucket of a server that speaks the JSON API of Google Cloud Storage."""

    client: Any
    bucket: str
    endpoint_url: str
    states: dict[str, dict[str, Kept]] = field(default_factory=dict)

    @property
    def settings(self) -> str:
        """See `Place.settings`."""
        return f"lake_url: gs://{self.bucket}/the/lake\n"

    def objects(self, prefix: str, endpoint_url: str = "") -> GcsObjects:
        """A store of objects below another prefix, perhaps on another way to the server."""
        return GcsObjects(self.bucket, prefix, GcsOptions(endpoint_url=endpoint_url or self.endpoint_url))

    def clear(self, state: str = "") -> None:
        """See `Place.clear`."""
        wanted, bucket = self.states.get(state, {}), self.client.bucket(self.bucket)
        there = {blob.name: f"{blob.generation} {blob.storage_class}" for blob in bucket.list_blobs()}
        for name, etag in there.items():
            if name not in wanted or etag != wanted[name].etag:
                bucket.blob(name).delete()
        for name, kept in wanted.items():
            if there.get(name) != kept.etag:
                blob = bucket.blob(name)
                for attribute, value in kept.put.items():
                    setattr(blob, attribute, value)
                blob.upload_from_string(kept.body)
                wanted[name] = replace(kept, etag=f"{blob.generation} {blob.storage_class}")

    def keep(self, state: str) -> None:
        """See `Place.keep`."""
        carried = ("metadata", "storage_class", "custom_time")
        self.states[state] = {
            blob.name: Kept(
                f"{blob.generation} {blob.storage_class}",
                blob.download_as_bytes(),
                {name: value for name in carried if (value := getattr(blob, name)) is not None},
            )
            for blob in self.client.bucket(self.bucket).list_blobs()
        }


@contextmanager
def in_s3() -> Iterator[S3Bucket]:
    """A bucket of SeaweedFS; this process and those that it starts have the key to it."""
    with seaweed() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield S3Bucket(server.client(), server.new_bucket(), server.endpoint_url)


@contextmanager
def in_gcs() -> Iterator[GcsBucket]:
    """A bucket of Google's, as far as the server of tests is Google."""
    with gcs() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield GcsBucket(server.client(), server.new_bucket(), server.endpoint_url)
