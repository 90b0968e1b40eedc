"""From a name and options to a source. A source's module, with all it imports, is loaded when it is asked for."""

import difflib
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol, cast

from thermocline.errors import SettingsError, UsageError
from thermocline.ports import Source
from thermocline.sources.transport.network import Network

KINDS: Mapping[str, str] = {
    "files": "thermocline.sources.files",
    "lean": "thermocline.sources.lean",
    "sample": "thermocline.sources.sample",
    "synthetic": "thermocline.sources.synthetic",
}
"""Each kind's module; its `open_source` takes the name and the options."""

NETWORK_KINDS: Mapping[str, str] = {
    "alpaca": "thermocline.sources.alpaca",
    "binance": "thermocline.sources.binance",
    "ccxt": "thermocline.sources.ccxt",
    "coinbase": "thermocline.sources.ccxt",
    "databento": "thermocline.sources.databento",
    "kraken": "thermocline.sources.ccxt",
    "sec": "thermocline.sources.sec",
    "massive": "thermocline.sources.massive",
    "yfinance": "thermocline.sources.yfinance",
}
"""Those that ask a vendor: their `open_source` takes a `Network` too, and `VARIABLES` names, for options that hold a
key, the variables of the environment that do."""


class _Module(Protocol):
    def open_source(self, name: str, options: Mapping[str, Any]) -> Source: ...


class _NetworkModule(Protocol):
    VARIABLES: Mapping[str, tuple[str, ...]]

    def open_source(self, name: str, options: Mapping[str, Any], network: Network) -> Source: ...


def open_source(
    name: str,
    *,
    path: str | None = None,
    options: Mapping[str, Any] | None = None,
    network: Network | None = None,
) -> Source:
    """The source of that name.

    `options` are what thermocline.yaml says under `sources: {NAME: ...}`; `kind` among them names the kind of source
    where the name is not one itself. A `path` given here goes before the one in the options. `network` is what sources
    of vendors share and where they find their keys: `Network.of(settings)`. Nothing is read yet.

    Raises:
        UsageError: No source is called so; the text names the nearest one.
        SettingsError: An option is unknown, missing or wrong.
    """
    chosen = dict(options or {})
    kind = chosen.pop("kind", name)
    if path is not None:
        chosen["path"] = path
    if kind in NETWORK_KINDS:
        if NETWORK_KINDS[kind].endswith(".ccxt") and kind != "ccxt":
            chosen.setdefault("exchange", kind)
        return _of_vendor(
            cast("_NetworkModule", import_module(NETWORK_KINDS[kind])), name, chosen, network or Network()
        )
    if kind not in KINDS:
        kinds = [*KINDS, *NETWORK_KINDS]
        near = difflib.get_close_matches(str(kind), kinds, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(kinds)}."
        msg = f"no source is called {kind!r}; {hint} Others are declared under `sources:` in thermocline.yaml"
        raise SettingsError(msg) if "kind" in (options or {}) else UsageError(msg)
    return cast("_Module", import_module(KINDS[kind])).open_source(name, chosen)


def _of_vendor(module: _NetworkModule, name: str, options: dict[str, Any], network: Network) -> Source:
    for option, variables in module.VARIABLES.items():
        if options.get(option) is None and (key := network.variable(*variables)):
            options[option] = key
    return module.open_source(name, options, network)
