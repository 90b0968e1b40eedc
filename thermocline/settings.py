"""Settings: thermocline.yaml and THERMOCLINE_* variables. Nothing else in the project reads the environment.

Stronger wins: an argument, then a variable, then thermocline.yaml, then the default. Every key of the file has a
variable, its path in capitals with `__` between the parts: `THERMOCLINE_STORAGE__LIFECYCLE__HOT_DAYS=10`.
"""

import os
import re
from collections.abc import Callable, Mapping
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, TypeVar
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    PlainSerializer,
    ValidationError,
)

from thermocline.errors import SettingsError, UsageError
from thermocline.model.cron import parse_cron
from thermocline.model.datasets import dataset_named
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.partition import parse_day, parse_interval
from thermocline.model.restatement import RestatementRule
from thermocline.model.url import HIDDEN, SecretUrl, file_url, is_secret_name, local_path, redacted
from thermocline.settings_layers import (
    Layer,
    environment_layer,
    file_layer,
    merged,
    problem,
    unknown_keys,
    without_nulls,
)

FILE_NAME = "thermocline.yaml"
HOME_NAME = ".thermocline"
LONGEST_WINDOW_DAYS = 36_500

T = TypeVar("T")


# ------------------------------------------------------------------------------------------------------------- values


def _checked(check: Callable[[str], T]) -> Callable[[Any], T]:
    """Let pydantic report what a function of the model refuses."""

    def validate(value: Any) -> T:
        if not isinstance(value, str):
            msg = "should be text"
            raise ValueError(msg)  # noqa: TRY004  # pydantic collects ValueError only
        try:
            return check(value)
        except UsageError as error:
            raise ValueError(str(error)) from None

    return validate


def _no_flag(value: Any) -> Any:
    if isinstance(value, bool):
        msg = "should be a number, not true or false"
        raise ValueError(msg)  # noqa: TRY004  # pydantic collects ValueError only
    return value


def _zone(name: str) -> str:
    try:
        return ZoneInfo(name).key
    except (KeyError, ValueError, OSError):
        msg = (
            f"{name!r} is not a time zone; write one of the IANA names, such as UTC, Europe/Berlin or America/New_York"
        )
        near = [zone for zone in available_timezones() if zone.casefold().endswith(name.casefold().replace(" ", "_"))]
        raise UsageError(msg + (f"; did you mean {min(near, key=len)}?" if name and near else "")) from None


def _schema_name(name: str) -> str:
    usable = name.isidentifier() and name.isascii() and name == name.lower() and len(name) <= 63  # noqa: PLR2004  # bytes
    if not usable or name.startswith(("pg_", "thermocline")):
        msg = (
            f"{name!r} can't be the schema; write lower-case letters, digits and underscores, at most 63, "
            "not beginning with pg_ or thermocline"
        )
        raise UsageError(msg)
    return name


def _day(value: Any) -> date:
    if not isinstance(value, str):
        msg = "should be a date such as 2024-01-15"
        raise ValueError(msg)  # noqa: TRY004  # pydantic collects ValueError only
    return _checked(parse_day)(value)


def _intervals(value: Any) -> Any:
    """Bring a list, or a mapping from interval to days, to the mapping."""
    if isinstance(value, list):
        value = dict.fromkeys(value) if all(isinstance(item, str) for item in value) else None
    if not isinstance(value, Mapping):
        msg = 'should be a list of intervals such as ["1day"], or a mapping from interval to days such as {"1min": 5}'
        raise ValueError(msg)  # noqa: TRY004  # pydantic collects ValueError only
    return {_checked(parse_interval)(interval): days for interval, days in value.items()}


def _default_intervals() -> dict[str, int | None]:
    return dict(Lifecycle().hot_intervals)


def _url(text: str) -> SecretUrl:
    scheme, separator, rest = text.partition("://")
    if not (scheme and separator and rest):
        msg = f"{redacted(text)!r} is not a URL; write one such as postgresql://USER:PASSWORD@HOST:5432/DATABASE"
        raise UsageError(msg)
    return SecretUrl(text)


_HOT_SCHEMES = frozenset({"postgresql", "postgres", "postgresql+psycopg"})
_CATALOG_SCHEMES = frozenset({"postgresql", "postgresql+psycopg", "sqlite"})


def _hot_url(text: str) -> SecretUrl:
    scheme, _, rest = text.partition("://")
    if scheme.lower() not in _HOT_SCHEMES or not rest:
        # What it is instead is not quoted: it may hold a password where none is looked for.
        msg = "not the URL of a PostgreSQL; write one such as postgresql://USER:PASSWORD@HOST:5432/DATABASE"
        raise UsageError(msg)
    _check_parts(rest)
    return SecretUrl(f"{'postgres' if scheme.lower() == 'postgres' else 'postgresql'}://{rest}")


def _catalog_url(text: str) -> SecretUrl:
    scheme, separator, rest = text.partition("://")
    if scheme.lower() not in _CATALOG_SCHEMES or not separator:
        msg = (
            "no catalog that this release can use; write postgresql://USER:PASSWORD@HOST:5432/DATABASE or "
            "sqlite:////a/file.db. REST, Glue and other catalogs come with a later release"
        )
        raise UsageError(msg)
    if scheme.lower() == "sqlite":
        return SecretUrl(text)
    _check_parts(rest)
    return SecretUrl(f"postgresql+psycopg://{rest}")


def _check_parts(rest: str) -> None:
    """Refuse what libpq would misread, because it quotes such parts in its errors."""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    hosts = authority.rpartition("@")[2].split(",")
    stray = "@" in rest[len(authority) :].partition("?")[0]
    if stray or re.search(r"\s|%(?![0-9A-Fa-f]{2})", rest) or not all(map(_HOST.fullmatch, hosts)):
        msg = (
            "a URL that can't be read: HOST:PORT is not where it belongs, or a character is not escaped; write "
            "%20 for a space, %25 for %, %2F for / and %40 for @ in a name or password"
        )
        raise UsageError(msg)


_HOST = re.compile(r"(?:\[[^\[\]]*\]|[^:\[\]]*)(?::\d*)?")


def _lake_url(text: str) -> SecretUrl:
    if text.startswith("file:") and local_path(text) is None:
        msg = f"{redacted(text)!r} is not an absolute file URL; write file:///a/folder, or only the folder"
        raise UsageError(msg)
    return _url(text)


def _dataset_name(name: str) -> str:
    return dataset_named(name).name


_shown = PlainSerializer(str, return_type=str)
HotUrl = Annotated[InstanceOf[SecretUrl], BeforeValidator(_checked(_hot_url)), _shown]
CatalogUrl = Annotated[InstanceOf[SecretUrl], BeforeValidator(_checked(_catalog_url)), _shown]
LakeUrl = Annotated[InstanceOf[SecretUrl], BeforeValidator(_checked(_lake_url)), _shown]
WindowDays = Annotated[int, BeforeValidator(_no_flag), Field(ge=1, le=LONGEST_WINDOW_DAYS)]
Schedule = Annotated[str, BeforeValidator(_checked(parse_cron))]
TimeZone = Annotated[str, BeforeValidator(_checked(_zone))]
Intervals = Annotated[dict[str, WindowDays | None], BeforeValidator(_intervals)]
DatasetName = Annotated[str, BeforeValidator(_checked(_dataset_name))]


def _without_secrets(sources: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    def shown(name: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {inner: shown(inner, option) for inner, option in value.items()}
        if isinstance(value, list):
            return [shown(name, item) for item in value]
        if is_secret_name(name):
            return HIDDEN
        return redacted(value) if isinstance(value, str) else value

    return {
        name: {option: shown(option, value) for option, value in options.items()} for name, options in sources.items()
    }


Sources = Annotated[dict[str, dict[str, Any]], PlainSerializer(_without_secrets)]


# ----------------------------------------------------------------------------------------------------------- sections


class Section(BaseModel):
    """A mapping of thermocline.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=False)


class AutoRotation(Section):
    """When the nightly rotation runs by itself."""

    enabled: bool = True
    schedule: Schedule = "0 2 * * *"
    timezone: TimeZone = "UTC"


class Restatements(Section):
    """Which restatements of published days wait for a person; 0 as `hold_symbols` lets every one through."""

    hold_symbols: Annotated[int, BeforeValidator(_no_flag), Field(ge=0)] = RestatementRule().hold_symbols
    hold_share: Annotated[float, BeforeValidator(_no_flag), Field(ge=0, le=1)] = RestatementRule().hold_share
    hold_after_days: Annotated[int, BeforeValidator(_no_flag), Field(ge=0)] = RestatementRule().hold_after_days


class Drills(Section):
    """When copies in the lake are restored for a trial, and how many; in the time zone of the rotation."""

    enabled: bool = True
    schedule: Schedule = "0 4 * * 0"
    partitions: Annotated[int, BeforeValidator(_no_flag), Field(ge=1, le=10_000)] = 5


class LifecycleSettings(Section):
    """How long rows stay hot."""

    hot_days: WindowDays = 30
    hot_intervals: Intervals = Field(default_factory=_default_intervals)
    archive_on_backfill: bool = True
    undo_days: Annotated[int, BeforeValidator(_no_flag), Field(ge=0, le=LONGEST_WINDOW_DAYS)] = 7
    keep_vintages_days: Annotated[int, BeforeValidator(_no_flag), Field(ge=0, le=LONGEST_WINDOW_DAYS)] | None = None
    object_grace_hours: Annotated[int, BeforeValidator(_no_flag), Field(ge=1, le=24 * LONGEST_WINDOW_DAYS)] = 24
    compact_target_mib: Annotated[int, BeforeValidator(_no_flag), Field(ge=1, le=1 << 20)] = 128
    auto_rotation: AutoRotation = AutoRotation()
    restatements: Restatements = Restatements()
    drills: Drills = Drills()


class HotSettings(Section):
    """How the tables lie in PostgreSQL."""

    schema_name: Annotated[str, BeforeValidator(_checked(_schema_name))] = Field(default="public", alias="schema")


class DuckDBSettings(Section):
    """What a query over the lake may use of the machine. No number of threads means one per core."""

    memory_limit_mib: Annotated[int, BeforeValidator(_no_flag), Field(ge=64)] = 1024
    threads: Annotated[int, BeforeValidator(_no_flag), Field(ge=1, le=1024)] | None = None


class LakeSettings(Section):
    """How patient the lake is with a store that fails for a moment, and what one run may ask of it in all."""

    attempts: Annotated[int, BeforeValidator(_no_flag), Field(ge=1, le=20)] = 5
    max_retries_per_run: Annotated[int, BeforeValidator(_no_flag), Field(ge=0)] = 100
    max_requests_per_run: Annotated[int, BeforeValidator(_no_flag), Field(ge=1)] = 1_000_000


class StorageSettings(Section):
    """Both tiers and what moves between them."""

    lifecycle: LifecycleSettings = LifecycleSettings()
    hot: HotSettings = HotSettings()
    lake: LakeSettings = LakeSettings()
    duckdb: DuckDBSettings = DuckDBSettings()


class DatasetSettings(Section):
    """What one dataset does differently."""

    hot_days: WindowDays | None = None


class PartitionSettings(Section):
    """Which days exist for Dagster."""

    start: Annotated[date, BeforeValidator(_day)] = date(1990, 1, 1)


class Document(Section):
    """Everything that may stand in thermocline.yaml."""

    hot_url: HotUrl | None = None
    lake_url: LakeUrl | None = None
    catalog_url: CatalogUrl | None = None
    storage: StorageSettings = StorageSettings()
    sources: Sources = Field(default_factory=dict, repr=False)
    datasets: dict[DatasetName, DatasetSettings] = Field(default_factory=dict)
    partitions: PartitionSettings = PartitionSettings()


class Settings(Document):
    """The settings in force. URLs show themselves without passwords; `reveal()` gives them whole.

    Attributes:
        home: The folder for everything that has no other place, absolute.
        config: The thermocline.yaml that was read, if any.
        hot_url: The PostgreSQL of the hot tier; None means the embedded one of the home.
        lake_url: The lake; `file://<home>/lake` where none was set.
        catalog_url: The Iceberg catalog; None means that it lives in the hot database.
    """

    home: Path
    config: Path | None = None
    lake_url: LakeUrl

    @cached_property
    def lifecycle(self) -> Lifecycle:
        """The windows as the model's arithmetic takes them."""
        own = self.storage.lifecycle
        return Lifecycle(
            hot_days=own.hot_days,
            hot_intervals=own.hot_intervals,
            windows={name: dataset.hot_days for name, dataset in self.datasets.items() if dataset.hot_days is not None},
            archive_on_backfill=own.archive_on_backfill,
            undo_days=own.undo_days,
            restatements=RestatementRule(**own.restatements.model_dump()),
        )


# ------------------------------------------------------------------------------------------------------------ loading


def load_settings(
    home: Path | None = None, config: Path | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """Read the settings of a home.

    Args:
        home: The home; else `THERMOCLINE_HOME`, else `.thermocline` in the current folder.
        config: The file; else `THERMOCLINE_CONFIG`, else `thermocline.yaml` in the home, else in the current folder,
            else none.
        environ: The environment; else that of the process.

    Raises:
        SettingsError: A key or a variable is unknown, or a value is wrong; the text lists all of them.
    """
    variables = os.environ if environ is None else environ
    folder = Path.cwd()
    home = _absolute(home or variables.get("THERMOCLINE_HOME") or HOME_NAME, folder)
    named = config or variables.get("THERMOCLINE_CONFIG")
    path = _absolute(named, folder) if named else _first_file(home / FILE_NAME, folder / FILE_NAME)
    layers = [environment_layer(variables, Document)]
    if path:
        layers.append(file_layer(path))
    problems = [text for layer in layers for text in unknown_keys(layer, Document)]
    if problems:
        raise SettingsError("\n".join(problems))
    anchors = [folder, *([path.parent] if path else [])]
    document: dict[str, Any] = {"lake_url": file_url(home / "lake")}
    for layer, anchor in reversed(list(zip(layers, anchors, strict=True))):
        document = merged(document, _anchored(without_nulls(layer.document, Document), anchor))
    return _validated(document | {"home": home, "config": path}, layers)


def _validated(document: Mapping[str, Any], layers: list[Layer]) -> Settings:
    try:
        return Settings.model_validate(document)
    except ValidationError as error:
        problems = [problem(each, layers) for each in error.errors(include_url=False)]
        raise SettingsError("\n".join(dict.fromkeys(problems))) from None


def _absolute(path: Path | str, folder: Path) -> Path:
    return Path(os.path.abspath(folder / Path(path).expanduser()))  # noqa: PTH100  # links stay as the user wrote them


def _first_file(*paths: Path) -> Path | None:
    return next((path for path in paths if path.is_file()), None)


def _anchored(document: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Make relative paths start at the folder of the file that names them, so that they mean the same from anywhere."""
    anchored = dict(document)
    lake = anchored.get("lake_url")
    if isinstance(lake, str) and "://" not in lake and not lake.startswith("file:"):
        anchored["lake_url"] = file_url(_absolute(lake, folder))
    if isinstance(anchored.get("sources"), Mapping):
        anchored["sources"] = {name: _anchored_source(options, folder) for name, options in anchored["sources"].items()}
    return anchored


def _anchored_source(options: Any, folder: Path) -> Any:
    if isinstance(options, Mapping) and isinstance(path := options.get("path"), str) and "://" not in path:
        return {**options, "path": str(_absolute(path, folder))}
    return options
