"""Databento: DBN files that were downloaded, or its historical API, which is asked for the price first."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr

from thermocline.errors import SettingsError, SourceError
from thermocline.ports import Fetched, FetchRequest
from thermocline.sources.databento_api import Api, Part, cost_within, paging_of, parts_of
from thermocline.sources.dbn_files import fetch_files, schemas_for
from thermocline.sources.options import Options, validated
from thermocline.sources.transport.candles import chosen_symbols
from thermocline.sources.transport.network import Network, key_hint, required_key
from thermocline.sources.transport.paging import pages_of
from thermocline.sources.transport.vendor import Vendor

VARIABLES: Mapping[str, tuple[str, ...]] = {"key": ("DATABENTO_API_KEY",)}

_MONTH_ROWS = 30_000  # minutes of one instrument that trades round the clock
_SYMBOLS = 2_000


class DatabentoOptions(Options):
    """Options of `databento`; docs/guide/sources.md says more of each."""

    path: str | None = None
    publisher: Annotated[int, Field(ge=1)] | None = None
    key: SecretStr | None = None
    dataset: str | None = None
    symbols: tuple[str, ...] = ()
    intervals: tuple[str, ...] = ("1day",)
    quotes: Literal["cbbo-1m", "cbbo-1s"] = "cbbo-1m"
    stype: Literal["raw_symbol", "continuous"] = "raw_symbol"
    max_cost_usd: Annotated[float, Field(ge=0)] = 0.0
    requests_per_minute: Annotated[float, Field(gt=0, le=100_000)] = 100.0
    url: str = "https://hist.databento.com"


def open_source(name: str, options: Mapping[str, Any], network: Network) -> "DatabentoSource":
    """The source of that name; nothing is read or asked yet.

    Raises:
        SettingsError: An option is unknown or wrong, or there is neither a path nor a dataset.
    """
    chosen = validated(DatabentoOptions, name, options)
    if not chosen.path and not chosen.dataset:
        msg = (
            f"source {name!r} needs a path of DBN files (--path, or `path:` in thermocline.yaml), or a dataset to ask "
            "Databento for (--option dataset=XNAS.ITCH)"
        )
        raise SettingsError(msg)
    return DatabentoSource(name, chosen, network)


class DatabentoSource(Vendor[DatabentoOptions]):
    """Reads DBN files, or asks Databento's historical API."""

    rows_per_page = _MONTH_ROWS
    """How many bars one request brings: those of a month, however many there are."""

    symbols_per_request = _SYMBOLS
    """How many symbols one request can ask for."""

    def fetch(self, request: FetchRequest) -> Iterator[Fetched]:
        """Yield the rows of each file that can have what is asked for, or what the API has, month by month.

        Raises:
            UsageError: Databento has no rows for that dataset, or no symbols are named.
            SettingsError: There is no key.
            SourceError: The extra is not installed, files are missing or damaged, the API refuses or does not answer,
                or what is asked for costs more than `max_cost_usd`.
        """
        schemas = schemas_for(request.dataset.name, self._name)
        if self._options.path:
            _check_extra()
            yield from fetch_files(self._options.path, request, self._name, self._options.publisher)
        else:
            yield from self._asked(request, schemas)

    def _asked(self, request: FetchRequest, schemas: Sequence[str]) -> Iterator[Fetched]:
        options = self._options
        symbols = chosen_symbols(request, options.symbols, self._name)
        key = required_key(options.key, self._name, "key", *VARIABLES["key"])
        _check_extra()
        now = request.now or datetime.fromtimestamp(self._network.clock(), UTC)
        calls = self._network.calls(self._name, "databento", options.requests_per_minute)
        api = Api(calls, options.url, key, key_hint(self._name, *VARIABLES["key"]))
        intervals = sorted(request.intervals) or options.intervals
        parts: list[Part] = parts_of(
            request,
            now,
            dataset=str(options.dataset),
            schemas=schemas if request.dataset.has_intervals else (options.quotes,),
            intervals=intervals if request.dataset.has_intervals else (),
            symbols=symbols,
            stype=options.stype,
        )
        is_allowed = False
        for number, part in enumerate(parts):

            def allow(rest: Sequence[Part] = parts[number:]) -> None:
                # Only what no earlier run has kept comes here, so only that is paid for.
                nonlocal is_allowed
                if not is_allowed:
                    cost_within(api, self._name, rest, options.max_cost_usd)
                    is_allowed = True

            yield from pages_of(paging_of(api, part, self._name, allow, options.publisher), self._name, request)


def _check_extra() -> None:
    try:
        import databento  # noqa: F401, PLC0415  # an extra
    except ModuleNotFoundError:
        msg = "Databento's format is read by an extra; install it: pip install 'thermocline[databento]'"
        raise SourceError(msg) from None
