"""What values thermocline.yaml takes, as types that pydantic checks: URLs, windows, schedules, intervals, sources."""

import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import Annotated, Any, TypeVar
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, InstanceOf, PlainSerializer, ValidationInfo

from thermocline.errors import UsageError
from thermocline.model.cron import parse_cron
from thermocline.model.datasets import dataset_named
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.partition import parse_day, parse_interval
from thermocline.model.url import HIDDEN, SecretUrl, is_secret_name, local_path, redacted

LONGEST_WINDOW_DAYS = 36_500
DECLARED = "datasets"
"""What the names of the datasets that a document declares are called in the context of its validation."""

T = TypeVar("T")


class Section(BaseModel):
    """A mapping of thermocline.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=False)


def checked(check: Callable[[str], T]) -> Callable[[Any], T]:
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
    return checked(parse_day)(value)


def _intervals(value: Any) -> Any:
    """Bring a list, or a mapping from interval to days, to the mapping."""
    if isinstance(value, list):
        value = dict.fromkeys(value) if all(isinstance(item, str) for item in value) else None
    if not isinstance(value, Mapping):
        msg = 'should be a list of intervals such as ["1day"], or a mapping from interval to days such as {"1min": 5}'
        raise ValueError(msg)  # noqa: TRY004  # pydantic collects ValueError only
    return {checked(parse_interval)(interval): days for interval, days in value.items()}


def default_intervals() -> dict[str, int | None]:
    """The bar sizes that come to hot where nothing is said."""
    return dict(Lifecycle().hot_intervals)


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
    scheme, separator, rest = text.partition("://")
    if not (scheme and separator and (rest or scheme == "memory")):
        msg = f"{redacted(text)!r} is not the URL of a lake; write s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or a folder"
        raise UsageError(msg)
    return SecretUrl(text)


def _dataset_name(value: Any, info: ValidationInfo) -> str:
    """A dataset that is built in, or one that the same document declares."""
    return checked(lambda name: name if name in (info.context or {}).get(DECLARED, ()) else dataset_named(name).name)(
        value
    )


def _feed_name(value: Any, info: ValidationInfo) -> str:
    source, _, dataset = str(value).rpartition("/")
    if not source:
        msg = f"{value!r} is not a feed; write SOURCE/DATASET, such as alpaca/market_data"
        raise ValueError(msg)
    return f"{source}/{_dataset_name(dataset, info)}"


shown = PlainSerializer(str, return_type=str)
"""A value as it shows itself, which is without a secret."""
HotUrl = Annotated[InstanceOf[SecretUrl], BeforeValidator(checked(_hot_url)), shown]
CatalogUrl = Annotated[InstanceOf[SecretUrl], BeforeValidator(checked(_catalog_url)), shown]
LakeUrl = Annotated[InstanceOf[SecretUrl], BeforeValidator(checked(_lake_url)), shown]
WindowDays = Annotated[int, BeforeValidator(_no_flag), Field(ge=1, le=LONGEST_WINDOW_DAYS)]
Schedule = Annotated[str, BeforeValidator(checked(parse_cron))]
TimeZone = Annotated[str, BeforeValidator(checked(_zone))]
Intervals = Annotated[dict[str, WindowDays | None], BeforeValidator(_intervals)]
DatasetName = Annotated[str, BeforeValidator(_dataset_name)]
FeedName = Annotated[str, BeforeValidator(_feed_name)]
IntervalName = Annotated[str, BeforeValidator(checked(parse_interval))]
IntervalNames = tuple[IntervalName, ...]


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
SchemaName = Annotated[str, BeforeValidator(checked(_schema_name))]
Day = Annotated[date, BeforeValidator(_day)]
Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, BeforeValidator(_no_flag)]
Share = Annotated[float, BeforeValidator(_no_flag), Field(ge=0, le=1)]
Move = Annotated[float, BeforeValidator(_no_flag), Field(gt=0)]
"""A move of a price, as a share of it: 0.35 is 35 %."""
