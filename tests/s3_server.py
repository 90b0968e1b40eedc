"""A real S3 server for tests, SeaweedFS, and moto's imitation for what SeaweedFS has not: archives and bucket rules."""

import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import botocore.config
from shared_servers import free_ports, shared_server, wait_for_port

KEY, SECRET, REGION = "tester", "a-secret-of-tests", "us-east-1"


@dataclass(frozen=True)
class S3Server:
    """Where a server is found."""

    endpoint_url: str

    def client(self) -> Any:
        """A client of the SDK, beside everything that is tested."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name=REGION,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            config=botocore.config.Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 3}),
        )

    def new_bucket(self) -> str:
        """The name of a fresh bucket."""
        name = f"test-{uuid4().hex[:20]}"
        self.client().create_bucket(Bucket=name)
        return name

    def new_prefix(self) -> str:
        """A bucket and a prefix of nobody else. SeaweedFS has room for a few buckets, since each takes volumes."""
        with suppress(self.client().exceptions.BucketAlreadyOwnedByYou):
            self.client().create_bucket(Bucket="tests")
        return f"tests/{uuid4().hex[:20]}"

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which the SDKs find the server, and nothing of this machine."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/nonexistent",
            "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
        }


@contextmanager
def seaweed() -> Iterator[S3Server]:
    """SeaweedFS: signatures, checksums, conditional writes, versions, tags."""
    with shared_server("seaweed", _begin_seaweed, _seaweed_ready) as address:
        yield S3Server(address["endpoint_url"])


@contextmanager
def moto() -> Iterator[S3Server]:
    """moto: archives that must be restored, and the rules of buckets. It takes wrong checksums and illegal rules."""
    with shared_server("moto", _begin_moto, _moto_ready) as address:
        yield S3Server(address["endpoint_url"])


def _begin_seaweed(folder: Path) -> tuple[list[str], dict[str, Any]]:
    identity = {
        "name": "tester",
        "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
        "actions": ["Admin", "Read", "List", "Tagging", "Write"],
    }
    config = folder / "s3.json"
    config.write_text(json.dumps({"identities": [identity]}))
    kinds = ("master", "volume", "filer", "s3", "admin")
    ports = free_ports(2 * len(kinds))
    options = [
        f"-{kind}.port{protocol}={port}"
        for (kind, protocol), port in zip(((k, p) for k in kinds for p in ("", ".grpc")), ports, strict=True)
    ]
    port = ports[2 * kinds.index("s3")]
    command = [
        _program("weed"), "-logtostderr", "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        f"-s3.config={config}", "-master.telemetry=false", "-admin.ui=false", "-webdav=false", "-s3.port.iceberg=0",
        "-s3.port.lance=0", *options,
    ]  # fmt: skip
    return command, {"endpoint_url": f"http://127.0.0.1:{port}"}


def _seaweed_ready(address: Mapping[str, Any]) -> None:
    """Return once an object can be written."""
    import time  # noqa: PLC0415

    wait_for_port(int(address["endpoint_url"].rpartition(":")[2]))
    client = S3Server(address["endpoint_url"]).client()
    until = time.monotonic() + 60
    while True:
        try:
            client.create_bucket(Bucket="ready")
            client.put_object(Bucket="ready", Key="ready", Body=b"1")
        except Exception:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            return


def _begin_moto(_folder: Path) -> tuple[list[str], dict[str, Any]]:
    (port,) = free_ports(1)
    return [_program("moto_server"), "-H", "127.0.0.1", "-p", str(port)], {"endpoint_url": f"http://127.0.0.1:{port}"}


def _moto_ready(address: Mapping[str, Any]) -> None:
    wait_for_port(int(address["endpoint_url"].rpartition(":")[2]))


def _program(name: str) -> str:
    """A program of the environment that runs the tests."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else str(shutil.which(name))
