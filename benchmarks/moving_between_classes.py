"""How fast `tiers apply` moves objects between storage classes, beside the bare SDK with the same number of threads.

    python benchmarks/moving_between_classes.py [--objects 1000] [--rounds 3] [--only s3]

Both work in one bucket of one server on this machine, one after the other in each round, on objects alike. What is
measured of Thermocline is all of `apply`: the listing, the ledger, the plan, the digest, every move and its line in the
audit log. Of the SDK it is the listing and the requests that move: `copy_object` of boto3, `rewrite` of
google-cloud-storage. Every object is back in the first class before the next round.

S3 is SeaweedFS, and moto, which takes a move without its metadata as Amazon does; Google Cloud Storage is the server of
this project's tests, in Python, which is slower than Google's and makes both look more alike than they are.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import boto3
from botocore.config import Config
from gcs_server import gcs
from quick_server import quick_server
from requests.adapters import HTTPAdapter
from s3_server import moto, seaweed
from tiering_world import free

from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import Partition, midnight
from thermocline.model.paths import object_path
from thermocline.model.receipt import Contents, Receipt
from thermocline.model.retention import ClassStep, Retention, RetentionPolicy
from thermocline.model.storage_classes import Provider
from thermocline.ports import Publication
from thermocline.stores.open import open_lake
from thermocline.stores.postgres import PostgresHot
from thermocline.tasks.tiers import THREADS, Tiering

AS_OF = date(2026, 11, 1)
BODY = bytes(64 << 10)


@dataclass(frozen=True)
class Place:
    """A bucket, and what the bare SDK does in it."""

    name: str
    provider: Provider
    url: str
    colder: str
    warmest: str
    put: Callable[[str], object]
    keys: Callable[[str], list[str]]
    move: Callable[[str, str], object]


@contextmanager
def in_s3(kind: str) -> Iterator[Place]:
    """A bucket of an S3 server. SeaweedFS moves an object only when its metadata, asked for before, is said again."""
    with {"SeaweedFS": seaweed, "moto": moto}[kind]() as server:
        os.environ.update(server.environment)
        bucket = server.new_bucket()
        config = Config(s3={"addressing_style": "path"}, max_pool_connections=64)
        client = boto3.client("s3", endpoint_url=server.endpoint_url, config=config)

        def keys(prefix: str) -> list[str]:
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            return [each["Key"] for page in pages for each in page.get("Contents", ())]

        def move(key: str, storage_class: str) -> None:
            kept: dict[str, Any] = {}
            if kind == "SeaweedFS":
                kept = {
                    "MetadataDirective": "REPLACE",
                    "Metadata": client.head_object(Bucket=bucket, Key=key)["Metadata"],
                }
            source = {"Bucket": bucket, "Key": key}
            client.copy_object(Bucket=bucket, Key=key, CopySource=source, StorageClass=storage_class, **kept)

        yield Place(
            kind,
            Provider.S3,
            f"s3://{bucket}/ours",
            "STANDARD_IA",
            "STANDARD",
            put=lambda key: client.put_object(Bucket=bucket, Key=key, Body=BODY, Metadata={"dataset": "market_data"}),
            keys=keys,
            move=move,
        )


@contextmanager
def in_gcs() -> Iterator[Place]:
    """A bucket of the server that stands in for Google Cloud Storage."""
    with gcs() as server:
        os.environ.update(server.environment)
        name = server.new_bucket()
        client: Any = server.client()
        client._http.mount("http://", HTTPAdapter(pool_connections=64, pool_maxsize=64))  # noqa: SLF001  # no other way
        bucket = client.bucket(name)

        def move(key: str, storage_class: str) -> None:
            moved = bucket.blob(key)
            moved.storage_class = storage_class
            moved.rewrite(bucket.blob(key))

        yield Place(
            "GCS",
            Provider.GCS,
            f"gs://{name}/ours",
            "NEARLINE",
            "STANDARD",
            put=lambda key: bucket.blob(key).upload_from_string(BODY),
            keys=lambda prefix: [blob.name for blob in bucket.list_blobs(prefix=prefix)],
            move=move,
        )


def compare(place: Place, objects: int, rounds: int) -> None:
    """Move all objects so many times, both ways in turn, and print how long it took."""
    days = [AS_OF - timedelta(days=60 + number) for number in range(objects)]
    partitions = [Partition("market_data", "1day", day) for day in days]
    paths = [object_path(partition, 1) for partition in partitions]
    policy = RetentionPolicy(Retention((ClassStep(30, place.colder),)))
    with (
        quick_server() as url,
        TemporaryDirectory() as folder,
        ThreadPoolExecutor(THREADS) as threads,
        open_lake(place.url, catalog_url=f"sqlite:///{folder}/catalog.db") as lake,
    ):
        list(threads.map(place.put, [f"{side}/{path}" for side in ("ours", "theirs") for path in paths]))
        hot = PostgresHot(url)
        contents = Contents(1_000, midnight(AS_OF), midnight(AS_OF), {}, "0" * 32, "0" * 32)
        receipts = [
            Receipt(partition, 1, path, len(BODY), "0" * 64, "1", 1, "run", contents)
            for partition, path in zip(partitions, paths, strict=True)
        ]
        with hot.writer(MARKET_DATA) as writer:
            writer.publish(Publication(MARKET_DATA, None, "run", receipts))

        def ours() -> None:
            tiering = Tiering(hot, lake, policy, free(place.provider), AS_OF)
            begun = time.perf_counter()
            digest = tiering.plan([MARKET_DATA]).digest
            seconds["planned"].append(time.perf_counter() - begun)
            begun = time.perf_counter()
            done = tiering.apply([MARKET_DATA], digest, run_id="moved")
            seconds["ours"].append(time.perf_counter() - begun)
            if len(done.moved) != objects:
                sys.exit(f"only {len(done.moved)} were moved: {done.failed[:1]}")

        def theirs() -> None:
            begun = time.perf_counter()
            keys = place.keys("theirs/")
            list(threads.map(lambda key: place.move(key, place.colder), keys))
            seconds["theirs"].append(time.perf_counter() - begun)

        seconds: dict[str, list[float]] = {"ours": [], "theirs": [], "planned": []}
        for number in range(rounds):
            for act in (ours, theirs) if number % 2 == 0 else (theirs, ours):
                act()
            back = [*place.keys("ours/cold_storage/market_data/year="), *place.keys("theirs/")]
            list(threads.map(lambda key: place.move(key, place.warmest), back))
    mine, bare, planned = (statistics.median(each) for each in seconds.values())
    print(
        f"{place.name}: {objects:,d} objects, {THREADS} threads, {rounds} rounds: thermocline {mine:.2f} s "
        f"({objects / mine:,.0f} a second), bare SDK {bare:.2f} s ({objects / bare:,.0f} a second), "
        f"{bare / mine:.2f} times its rate; planning, which is part of it, takes {planned:.2f} s"
    )


def main() -> None:
    """Compare at each place."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("s3", "gcs"))
    asked = parser.parse_args()
    places = [lambda: in_s3("SeaweedFS"), lambda: in_s3("moto")] if asked.only != "gcs" else []
    for place in [*places, *([in_gcs] if asked.only != "s3" else [])]:
        with place() as made:
            compare(made, asked.objects, asked.rounds)


if __name__ == "__main__":
    main()
