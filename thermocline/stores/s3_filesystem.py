"""How DuckDB reads a bucket: s3fs, with no path taken for a pattern and nothing asked for that is not needed."""

from typing import TYPE_CHECKING, Any, Self

import s3fs

if TYPE_CHECKING:
    from thermocline.stores.s3 import S3Options


class ExactS3FileSystem(s3fs.S3FileSystem):  # type: ignore[misc]  # s3fs has no types
    """An s3fs file system in which a location names one object, whatever characters it has."""

    cachable = False

    @classmethod
    def of(cls, options: "S3Options", *, is_aws: bool) -> Self:
        """The file system that asks as the store does which has these options."""
        given: dict[str, Any] = {}
        if options.session is not None and (credentials := options.session.get_credentials()):
            frozen = credentials.get_frozen_credentials()
            given = {"key": frozen.access_key, "secret": frozen.secret_key, "token": frozen.token}
        region = options.region or (options.session.region_name if options.session is not None else None)
        return cls(
            endpoint_url=options.endpoint_url,
            client_kwargs={"region_name": region} if region else {},
            config_kwargs={} if is_aws else {"s3": {"addressing_style": "path"}},
            requester_pays=options.requester_pays,
            default_cache_type="none",  # DuckDB reads ahead itself
            use_listings_cache=False,
            **given,
        )

    def glob(self, path: str, **_options: Any) -> list[str]:
        """The object itself: what DuckDB is given are exact locations."""
        return [path]
