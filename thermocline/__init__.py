"""Market data that moves itself between PostgreSQL and a Parquet lake."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thermocline.api import Answer, Thermocline, open  # noqa: A004
    from thermocline.errors import ThermoclineError

__all__ = ["Answer", "Thermocline", "ThermoclineError", "open"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import thermocline` costs nothing."""
    if name in __all__:
        from importlib import import_module  # noqa: PLC0415

        return getattr(import_module("thermocline.errors" if name == "ThermoclineError" else "thermocline.api"), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
