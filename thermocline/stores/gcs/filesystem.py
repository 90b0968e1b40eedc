"""How DuckDB reads a bucket of Google's: gcsfs, with no path taken for a pattern and nothing asked for in vain."""

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self

from gcsfs.core import GCSFileSystem  # not the one that asks first, by gRPC, what kind of bucket it is
from gcsfs.retry import HttpError
from google.auth.credentials import AnonymousCredentials

from thermocline.stores.kept_ends import KeptEnds
from thermocline.stores.range_reader import ExactPaths

if TYPE_CHECKING:
    from thermocline.stores.gcs.objects import GcsOptions


class ExactGcsFileSystem(ExactPaths, GCSFileSystem):  # type: ignore[misc]  # gcsfs has no types
    """A gcsfs file system for reading, in which a location names one object, whatever characters it has.

    No generation is pinned: a move to another storage class makes a new one of the same bytes.
    """

    cachable = False

    def __init__(self, **options: Any) -> None:
        """Take gcsfs's options."""
        super().__init__(**options)
        self._ends = KeptEnds()

    @classmethod
    def of(cls, client: Any, options: "GcsOptions") -> Self:
        """The file system that asks as a client of Google's SDK does."""
        credentials = client._credentials  # noqa: SLF001  # the SDK has no name for them
        return cls(
            project=client.project or "none",  # it is for making buckets
            token="anon" if isinstance(credentials, AnonymousCredentials) else credentials,
            endpoint_url=client._connection.API_BASE_URL,  # noqa: SLF001  # nor for its address
            requester_pays=options.user_project or False,
            use_listings_cache=False,
        )

    def ask(self, path: str, within: str) -> tuple[int, bytes]:
        """See `ExactPaths.ask`."""
        try:
            headers, body = self.call("GET", self.url(path), headers={"Range": within})
        except HttpError as error:
            if error.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise
            return 0, b""  # there is nothing in it
        return int(headers.get("Content-Range", f"/{len(body)}").rpartition("/")[2]), body
