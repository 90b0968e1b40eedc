"""A server of Google Cloud Storage's JSON API, as tests start it, fill it, and let it go wrong."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen
from uuid import uuid4

import gcs_api
from shared_servers import free_ports, shared_server, wait_for_port


@dataclass(frozen=True)
class GcsServer:
    """Where the server is found."""

    endpoint_url: str

    def client(self) -> Any:
        """A client of the SDK, beside everything that is tested."""
        from google.cloud import storage  # noqa: PLC0415

        return storage.Client(
            project="tests", client_options={"api_endpoint": self.endpoint_url}, use_auth_w_custom_endpoint=False
        )

    def new_bucket(self) -> str:
        """The name of a fresh bucket."""
        name = f"test-{uuid4().hex[:20]}"
        self.client().create_bucket(name)
        return name

    def log(self, bucket: str) -> list[str]:
        """What was asked of a bucket so far: method, path, and parameters."""
        with urlopen(f"{self.endpoint_url}/_tests/log") as answer:  # noqa: S310  # a server of ours
            return [line for line in json.load(answer) if f"/b/{bucket}" in line]

    def refuse(
        self, bucket: str, status: int, message: str = "Not now.", *, times: int = 1, late: bool = False
    ) -> None:
        """Let the next requests of a bucket fail; where `late`, after they did what they ask for."""
        self._tell("refuse", bucket=bucket, status=status, message=message, times=times, late=late)

    def fill(self, bucket: str, names: Sequence[str]) -> None:
        """Make many objects at once."""
        self._tell("fill", bucket=bucket, names=names)

    def _tell(self, what: str, **document: Any) -> None:
        with urlopen(f"{self.endpoint_url}/_tests/{what}", data=json.dumps(document).encode()):  # noqa: S310
            pass

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which the SDKs find the server."""
        return {"STORAGE_EMULATOR_HOST": self.endpoint_url, "GOOGLE_CLOUD_PROJECT": "tests"}


@contextmanager
def gcs() -> Iterator[GcsServer]:
    """The server, shared by all workers of a run."""
    with shared_server("gcs", _begin, lambda address: wait_for_port(address["port"])) as address:
        yield GcsServer(f"http://127.0.0.1:{address['port']}")


def _begin(_folder: Path) -> tuple[list[str], dict[str, Any]]:
    (port,) = free_ports(1)
    return [sys.executable, gcs_api.__file__, str(port)], {"port": port}
