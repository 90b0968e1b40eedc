"""HTTP with a vendor: what may be asked again is, what may not is an error that says what to do."""

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Self, TypeVar

from thermocline.errors import SourceError, SourceRefusedError
from thermocline.model.url import without_secrets
from thermocline.sources.transport.calls import Calls, PassingError, retry_after

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

_PASSING = frozenset({408, 418, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529})
"""Statuses after which the same request may succeed; 418 is Binance's for whoever went on after 429."""

_NOT_ALLOWED = frozenset({401, 402, 403, 407, 451})
_NOT_FOUND = frozenset({404, 410})
_SHOWN_CHARACTERS = 200


class NotThereError(SourceError):
    """The vendor has nothing at that address (404)."""


class NotAllowedError(SourceError):
    """The vendor does not let us in: the key, the account, or the country that we ask from (401, 402, 403, 451)."""


class Http:
    """A vendor's HTTP interface. Use it as a context manager; nothing connects before the first request."""

    def __init__(
        self,
        calls: Calls,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        key_hint: str = "",
        timeout_seconds: float = 30.0,
    ) -> None:
        """Name the vendor's base address. `headers` go with each request and are never shown.

        `key_hint` says in an error what to do about a key that is refused: the names of its variables, not its value.
        """
        self._calls, self._url, self._headers = calls, url.rstrip("/"), dict(headers or {})
        self._key_hint, self._timeout_seconds = key_hint, timeout_seconds
        self._client: httpx.Client | None = None

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        if self._client:
            self._client.close()
            self._client = None

    def json(self, path: str, parameters: Mapping[str, Any] | None = None) -> Any:
        """The JSON document at a path. Decimal numbers come as text-exact `Decimal`.

        Raises:
            SourceError: See `get`.
        """
        return self.get(path, parameters, _document)

    def get(self, path: str, parameters: Mapping[str, Any] | None, read: Callable[["httpx.Response"], T]) -> T:
        """Ask for a path, whole, and read the answer. `read` raises a PassingError where it can't be what was sent.

        Raises:
            NotThereError: There is no such thing (404, 410).
            NotAllowedError: The vendor refuses the key, or does not answer in this country.
            SourceRefusedError: The vendor refuses the question; asking again would not help.
            SourceError: The vendor could not be reached, or did not answer, for as long as one request may take.
        """

        def attempt() -> T:
            import httpx  # noqa: PLC0415  # a tenth of a second, for those who ask a vendor

            try:
                response = self._opened().get(f"{self._url}{path}", params=_given(parameters))
                response.read()
            except httpx.TransportError as error:
                msg = f"{self._url} can't be reached: {str(error) or type(error).__name__}"
                raise PassingError(msg) from error
            except httpx.HTTPError as error:  # such as a body that can't be unpacked
                msg = f"{self._url} sent what can't be read: {error}"
                raise PassingError(msg) from error
            self._check(response, path)
            return read(response)

        return self._calls.make(path or self._url, attempt)

    def _opened(self) -> "httpx.Client":
        import httpx  # noqa: PLC0415  # as above

        if self._client is None:
            self._client = httpx.Client(headers=self._headers, timeout=self._timeout_seconds)
        return self._client

    def _check(self, response: "httpx.Response", path: str) -> None:
        if response.is_redirect:  # not followed, since the key would go along to whoever it names
            where = response.next_request.url.host if response.next_request else "nowhere"
            msg = f"{self._calls.source}: {self._url}{path} has moved ({response.status_code}) to {where}; set the url"
            raise SourceRefusedError(msg)
        if not response.is_success:
            wait_seconds = retry_after(response.headers.get("Retry-After"), self._calls.clock())
            source, said = self._calls.source, self._said(response)
            address = f"{self._url}{path}"
            raise refusal(
                source, address, response.status_code, said, key_hint=self._key_hint, wait_seconds=wait_seconds
            )

    def _said(self, response: "httpx.Response") -> str:
        """What the vendor says of its refusal, without any key of ours that it may repeat."""
        text = " ".join(response.text.split())
        for header in self._headers.values():
            text = text.replace(header, "***").replace(header.removeprefix("Bearer "), "***")
        return f": {without_secrets(text)[:_SHOWN_CHARACTERS]}" if text else ""


def refusal(
    source: str, address: str, status: int, said: str, *, key_hint: str = "", wait_seconds: float | None = None
) -> Exception:
    """What a status other than a success means: a PassingError where asking again may help, else the SourceError.

    `said` is what the vendor says of it, without any secret, and with `: ` before it.
    """
    if status in _PASSING:
        return PassingError(f"it answers {status}{said}", wait_seconds)
    if status in _NOT_FOUND:
        return NotThereError(f"{source}: {address} is not there ({status}){said}; check the symbol and the dates")
    if status in _NOT_ALLOWED:
        hint = key_hint or "what was asked for is not open to you"
        return NotAllowedError(f"{source}: {address} refuses the request ({status}){said}; {hint}")
    return SourceRefusedError(
        f"{source}: {address} refuses the question ({status}){said}; check symbols, interval and dates"
    )


def _given(parameters: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (parameters or {}).items() if value is not None}


def _document(response: "httpx.Response") -> Any:
    try:
        return json.loads(response.content, parse_float=Decimal)
    except ValueError as error:
        msg = f"it answers what is no JSON: {error}"
        raise PassingError(msg) from error
