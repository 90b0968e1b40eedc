"""How DuckDB reads a bucket of Google's: gcsfs, with no path taken for a pattern."""

from typing import TYPE_CHECKING, Any, Self

from gcsfs.core import GCSFileSystem  # not the one that asks first, by gRPC, what kind of bucket it is
from google.auth.credentials import AnonymousCredentials

if TYPE_CHECKING:
    from thermocline.stores.gcs import GcsOptions


class ExactGcsFileSystem(GCSFileSystem):  # type: ignore[misc]  # gcsfs has no types
    """A gcsfs file system in which a location names one object, whatever characters it has."""

    cachable = False

    @classmethod
    def of(cls, client: Any, options: "GcsOptions") -> Self:
        """The file system that asks as a client of Google's SDK does."""
        credentials = client._credentials  # noqa: SLF001  # the SDK has no name for them
        return cls(
            project=client.project or "none",  # it is for making buckets
            token="anon" if isinstance(credentials, AnonymousCredentials) else credentials,
            endpoint_url=client._connection.API_BASE_URL,  # noqa: SLF001  # nor for its address
            requester_pays=options.user_project or False,
            default_cache_type="none",  # DuckDB reads ahead itself
            use_listings_cache=False,
        )

    def glob(self, path: str, **_options: Any) -> list[str]:
        """The object itself: what DuckDB is given are exact locations."""
        return [path]
