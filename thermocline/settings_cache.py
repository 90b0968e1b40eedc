"""Which answers are kept, and where."""

from typing import Annotated

from pydantic import BeforeValidator, Field, InstanceOf

from thermocline.errors import UsageError
from thermocline.model.url import SecretUrl
from thermocline.settings_values import Count, Section, checked, shown

_SCHEMES = frozenset({"redis", "rediss", "unix"})


def _redis_url(text: str) -> SecretUrl:
    scheme, separator, rest = text.partition("://")
    if scheme.lower() not in _SCHEMES or not separator or not rest:
        # What it is instead is not quoted: it may hold a password where none is looked for.
        msg = "not the URL of a Redis; write redis://USER:PASSWORD@HOST:6379/0, rediss://… for TLS, or unix:///A/SOCKET"
        raise UsageError(msg)
    return SecretUrl(f"{scheme.lower()}://{rest}")


RedisUrl = Annotated[InstanceOf[SecretUrl], BeforeValidator(checked(_redis_url)), shown]


class CacheSettings(Section):
    """How much memory answers of the lake may take in each process, and in a Redis that processes share.

    With 0 nothing is kept there. An answer that is larger than `max_entry_mib` is kept nowhere.
    """

    memory_mib: Annotated[Count, Field(ge=0, le=1 << 20)] = 64
    max_entry_mib: Annotated[Count, Field(ge=1, le=256)] = 8
    redis_url: RedisUrl | None = None
    redis_mib: Annotated[Count, Field(ge=0, le=1 << 24)] = 512
    ttl_seconds: Annotated[Count, Field(ge=1, le=366 * 86_400)] = 86_400
