"""Databento: DBN files that were downloaded."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field

from thermocline.errors import SettingsError, SourceError
from thermocline.ports import Fetched, FetchRequest
from thermocline.sources.dbn_files import fetch_files, schemas_for
from thermocline.sources.options import Options, validated


class DatabentoOptions(Options):
    """Options of `databento`."""

    path: str | None = None
    publisher: Annotated[int, Field(ge=1)] | None = None


def open_source(name: str, options: Mapping[str, Any]) -> "DatabentoSource":
    """The source of that name; nothing is read yet.

    Raises:
        SettingsError: An option is unknown or wrong, or there is no path.
    """
    chosen = validated(DatabentoOptions, name, options)
    if not chosen.path:
        msg = f"source {name!r} needs a path: a DBN file or a folder of them (--path, or `path:` in thermocline.yaml)"
        raise SettingsError(msg)
    return DatabentoSource(name, chosen)


class DatabentoSource:
    """Reads DBN files."""

    def __init__(self, name: str, options: DatabentoOptions) -> None:
        """Keep the options."""
        self._name = name
        self._options = options

    @property
    def name(self) -> str:
        """What the `source` column of its rows says."""
        return self._name

    def fetch(self, request: FetchRequest) -> Iterator[Fetched]:
        """Yield the rows of each file that can have what is asked for.

        Raises:
            UsageError: Databento has no rows for that dataset.
            SourceError: The extra is not installed, nothing is there, or some files are damaged.
        """
        schemas_for(request.dataset.name, self._name)
        try:
            import databento  # noqa: F401, PLC0415  # an extra
        except ModuleNotFoundError:
            msg = "Databento's files are read by an extra; install it: pip install 'thermocline[databento]'"
            raise SourceError(msg) from None
        yield from fetch_files(str(self._options.path), request, self._name, self._options.publisher)
