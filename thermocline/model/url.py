"""URLs that may hold a secret: shown without it, handed out whole only when asked."""

import re
from dataclasses import dataclass
from pathlib import PurePath, PurePosixPath
from urllib.parse import unquote, urlsplit

HIDDEN = "***"

_TELLING = r"password|passwd|passphrase|secret|token|credential|signature|(?:access|account|api)[_-]?key"
_TELLING_NAME = rf"[\w.-]*(?:{_TELLING})[\w.-]*"
_USERINFO = re.compile(r"^([a-z][a-z0-9+.-]*://[^/?#@:]*):[^/?#]*@", re.IGNORECASE)
# A password with an unescaped slash or question mark: better hide too much than show a part of it.
_BROKEN_USERINFO = re.compile(r"^([a-z][a-z0-9+.-]*://[^/?#@:]*):.*@", re.IGNORECASE | re.DOTALL)
_ANY_USERINFO = re.compile(r"(://[^/\s:@]*):\S*@")
_PARAMETER = re.compile(rf"(?<![\w.-])({_TELLING_NAME})(\s*=\s*)('(?:\\.|[^'\\])*'|[^&;\s]*)", re.IGNORECASE)
_TELLING_OPTION = re.compile(rf"{_TELLING_NAME}|key|pass|auth", re.IGNORECASE)


def redacted(url: str) -> str:
    """The URL, or libpq's `key=value` text, with every password in it replaced by `***`.

    Hides the password before the host, and parameters whose name speaks of a secret (`password`, `sslpassword`,
    `secret_access_key`, `token` …). Text that holds no secret comes back as it is.
    """
    strict = _USERINFO.sub(rf"\1:{HIDDEN}@", url, count=1)
    shown = _BROKEN_USERINFO.sub(rf"\1:{HIDDEN}@", url, count=1) if strict == url else strict
    return _PARAMETER.sub(rf"\1\2{HIDDEN}", shown)


def without_secrets(text: str) -> str:
    """A text with the passwords of every URL and of every `key=value` in it replaced by `***`."""
    return _PARAMETER.sub(rf"\1\2{HIDDEN}", _ANY_USERINFO.sub(rf"\1:{HIDDEN}@", text))


def is_secret_name(name: str) -> bool:
    """Whether an option of that name holds something that must not be shown."""
    return _TELLING_OPTION.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class SecretUrl:
    """A URL that shows itself without its password, in `str`, `repr` and formatted text alike."""

    _whole: str

    def reveal(self) -> str:
        """The URL with its password, for whoever connects."""
        return self._whole

    def __str__(self) -> str:
        """The URL without its password."""
        return redacted(self._whole)

    def __repr__(self) -> str:
        """The URL without its password, as a constructor call."""
        return f"SecretUrl({redacted(self._whole)!r})"


def file_url(path: PurePath) -> str:
    """The `file://` URL of an absolute path; `local_path` gives the path back."""
    return path.as_uri()


def local_path(url: str) -> PurePath | None:
    """The path that a `file://` URL names, percent-decoded, or None when it is another kind of URL."""
    parts = urlsplit(url)
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"}:
        return None
    # A path may hold `?` and `#` unescaped when a person wrote it.
    return PurePosixPath(unquote(url.split("://", 1)[1].removeprefix("localhost")))
