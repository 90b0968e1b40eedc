"""Market data that moves itself between PostgreSQL and a Parquet lake."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thermocline.answer import Answer
    from thermocline.api import Thermocline, open  # noqa: A004
    from thermocline.api.fetching import HistoricalDataFetcher
    from thermocline.errors import ThermoclineError

__all__ = ["Answer", "HistoricalDataFetcher", "Thermocline", "ThermoclineError", "open"]

_MODULES = {
    "Answer": "thermocline.answer",
    "HistoricalDataFetcher": "thermocline.api.fetching",
    "Thermocline": "thermocline.api",
    "ThermoclineError": "thermocline.errors",
    "open": "thermocline.api",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import thermocline` costs nothing."""
    if name in _MODULES:
        from importlib import import_module  # noqa: PLC0415  # only then

        return getattr(import_module(_MODULES[name]), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
