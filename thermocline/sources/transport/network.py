"""What a source needs that asks a vendor over the network: keys, a rate limit that processes share, a clock."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from thermocline.errors import SettingsError
from thermocline.settings import Settings
from thermocline.sources.transport.calls import Calls, Patience
from thermocline.sources.transport.limits import Limit


def _no_variable(*_: str) -> SecretStr | None:
    return None


@dataclass(frozen=True)
class Network:
    """What `open_source` hands to sources of vendors. The default shares no limit and knows no key, for trials."""

    folder: Path | None = None
    variable: Callable[..., SecretStr | None] = field(default=_no_variable, repr=False)
    patience: Patience = field(default=Patience())
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    dice: Callable[[float, float], float] = random.uniform

    @classmethod
    def of(cls, settings: Settings) -> "Network":
        """The limits of a home, and the keys of its environment."""
        return cls(settings.home / "limits", settings.variable)

    def calls(self, source: str, vendor: str, per_minute: float, *, burst: int = 1) -> Calls:
        """What makes the requests of a source: within the limit of its vendor, and again where they failed."""
        limit = Limit(self.folder, vendor, per_minute, burst=burst, clock=self.clock, sleep=self.sleep)
        return Calls(source, limit, self.patience, clock=self.clock, sleep=self.sleep, dice=self.dice)


def required_key(key: SecretStr | None, source: str, option: str, *variables: str) -> str:
    """The key as the vendor needs it.

    Raises:
        SettingsError: There is none; the text names the variable to set.
    """
    if key is None or not key.get_secret_value():
        others = f" (or {', '.join(variables[1:])})" if variables[1:] else ""
        msg = (
            f"source {source!r} needs a key: set {variables[0]}{others} in the environment, or "
            f"sources.{source}.{option} in thermocline.yaml; nothing was asked"
        )
        raise SettingsError(msg)
    return key.get_secret_value()


def key_hint(source: str, *variables: str) -> str:
    """What to do where a vendor refuses a key."""
    return f"check {' and '.join(variables)}, or the key under sources.{source}, and what the account is allowed to see"
