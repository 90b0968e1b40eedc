"""From a name and options to a source. A source's module, with all it imports, is loaded when it is asked for."""

import difflib
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol, cast

from thermocline.errors import SettingsError, UsageError
from thermocline.ports import Source

KINDS: Mapping[str, str] = {
    "databento": "thermocline.sources.databento",
    "files": "thermocline.sources.files",
    "lean": "thermocline.sources.lean",
    "sample": "thermocline.sources.sample",
    "synthetic": "thermocline.sources.synthetic",
}
"""Each kind's module; its `open_source` takes the name and the options."""


class _Module(Protocol):
    def open_source(self, name: str, options: Mapping[str, Any]) -> Source: ...


def open_source(name: str, *, path: str | None = None, options: Mapping[str, Any] | None = None) -> Source:
    """The source of that name.

    `options` are what thermocline.yaml says under `sources: {NAME: ...}`; `kind` among them names the kind of source
    where the name is not one itself. A `path` given here goes before the one in the options. Nothing is read yet.

    Raises:
        UsageError: No source is called so; the text names the nearest one.
        SettingsError: An option is unknown, missing or wrong.
    """
    chosen = dict(options or {})
    kind = chosen.pop("kind", name)
    if path is not None:
        chosen["path"] = path
    if kind not in KINDS:
        near = difflib.get_close_matches(str(kind), KINDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(KINDS)}."
        msg = f"no source is called {kind!r}; {hint} Others are declared under `sources:` in thermocline.yaml"
        raise SettingsError(msg) if "kind" in (options or {}) else UsageError(msg)
    return cast("_Module", import_module(KINDS[kind])).open_source(name, chosen)
