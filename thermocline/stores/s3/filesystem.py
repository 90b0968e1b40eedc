"""How DuckDB reads a bucket: s3fs, with no path taken for a pattern and nothing asked for that is not needed."""

from typing import TYPE_CHECKING, Any, Self

import s3fs
from aiobotocore.credentials import AioCredentials
from aiobotocore.session import AioSession
from botocore.exceptions import ClientError
from fsspec.asyn import sync
from s3fs.core import _error_wrapper

from thermocline.stores.kept_ends import KeptEnds
from thermocline.stores.range_reader import ExactPaths
from thermocline.stores.s3.errors import explained
from thermocline.stores.s3.sessions import informed

if TYPE_CHECKING:
    from thermocline.stores.s3.objects import S3Options

_NOTHING_THERE = "InvalidRange"


class ExactS3FileSystem(ExactPaths, s3fs.S3FileSystem):  # type: ignore[misc]  # s3fs has no types
    """An s3fs file system for reading, in which a location names one object, whatever characters it has.

    What fails for a moment is asked for again by s3fs.
    """

    cachable = False

    def __init__(self, **options: Any) -> None:
        """Take s3fs's options."""
        super().__init__(**options)
        self._ends = KeptEnds()

    @classmethod
    def of(cls, options: "S3Options", *, is_aws: bool) -> Self:
        """The file system that asks as the store does which has these options."""
        region = options.region or (options.session.region_name if options.session is not None else None)
        return cls(
            endpoint_url=options.endpoint_url,
            client_kwargs={"region_name": region} if region else {},
            config_kwargs={} if is_aws else {"s3": {"addressing_style": "path"}},
            requester_pays=options.requester_pays,
            use_listings_cache=False,
            session=informed(AioSession() if options.session is None else _LentSession(options.session)),
        )

    def ask(self, path: str, within: str) -> tuple[int, bytes]:
        """See `ExactPaths.ask`."""
        location = path if "://" in path else f"s3://{path}"
        bucket, _, key = location.partition("://")[2].partition("/")

        async def ask() -> tuple[int, bytes]:
            answer = await self._call_s3("get_object", Bucket=bucket, Key=key, Range=within, **self.req_kw)
            async with answer["Body"] as body:
                content = await body.read()
            return int(str(answer.get("ContentRange", f"/{len(content)}")).rpartition("/")[2]), content

        async def asked() -> tuple[int, bytes]:
            found: tuple[int, bytes] = await _error_wrapper(ask, retries=self.retries)
            return found

        try:
            with explained("read", location):
                answered: tuple[int, bytes] = sync(self.loop, asked)
        except OSError as error:  # which is what s3fs makes of the SDK's
            said = error.__cause__
            if not isinstance(said, ClientError):
                raise
            if said.response["Error"].get("Code") == _NOTHING_THERE:
                return 0, b""
            with explained("read", location):
                raise said from None
            raise
        return answered


class _LentSession(AioSession):  # type: ignore[misc]  # aiobotocore has no types
    """A session that signs with the credentials of another one, which renews them."""

    def __init__(self, lender: Any) -> None:
        super().__init__()
        self._lender = lender

    async def get_credentials(self) -> "_LentCredentials | None":
        credentials = self._lender.get_credentials()
        return _LentCredentials(credentials) if credentials else None


class _LentCredentials(AioCredentials):  # type: ignore[misc]
    def __init__(self, lender: Any) -> None:
        now = lender.get_frozen_credentials()
        super().__init__(now.access_key, now.secret_key, now.token)
        self._lender = lender

    async def get_frozen_credentials(self) -> Any:
        return self._lender.get_frozen_credentials()
