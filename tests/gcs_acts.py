"""What tests of Google Cloud Storage write, and what they look at."""

from urllib.parse import parse_qs

from gcs_server import GcsServer

from thermocline.stores.gcs import objects as store

PATH = "cold_storage/news/year=2024/month=01/day=15/news_20240115.parquet"
KEY = "projects/p/locations/l/keyRings/r/cryptoKeys/k"
LARGE = store.CHUNK_BYTES * 2 + 3


class Request:
    """A line of the server's log."""

    def __init__(self, line: str) -> None:
        """Take it apart."""
        self.method, _, rest = line.partition(" ")
        self.path, _, query = rest.partition("?")
        self.parameters = {name: values[0] for name, values in parse_qs(query).items()}

    def __repr__(self) -> str:
        """As a failed test shows it."""
        return f"{self.method} {self.path} {self.parameters}"


def resource(server: GcsServer, bucket, path=PATH):
    blob = server.client().bucket(bucket).blob(f"lake/{path}")
    blob.reload()
    return blob._properties  # noqa: SLF001  # the SDK has no names for all of it
