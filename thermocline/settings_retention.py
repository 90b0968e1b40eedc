"""What thermocline.yaml says of storage classes: when a day is due for which, for how long it is kept, and prices."""

from collections.abc import Mapping
from datetime import date
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, ValidationError

from thermocline.errors import SettingsError, UsageError
from thermocline.model.prices import ClassPrice, PriceBook, RestorePrice
from thermocline.model.retention import PRESETS, ClassStep, Retention
from thermocline.model.storage_classes import Provider, classes_of, is_colder, storage_class
from thermocline.settings_values import LONGEST_WINDOW_DAYS, Count, Section, Text

Preset = Literal["gcs_a", "gcs_b", "s3", "local"]
Age = Annotated[int, Field(ge=0, le=LONGEST_WINDOW_DAYS)]


def _steps(value: Any) -> Any:
    """Ages as YAML or JSON writes them, which has text for keys."""
    if not isinstance(value, Mapping):
        msg = "should be a mapping from ages in days to storage classes such as {30: NEARLINE}"
        raise ValueError(msg)  # noqa: TRY004  # pydantic collects ValueError only
    return {int(age) if str(age).isdigit() else age: name for age, name in value.items()}


class RetentionSettings(Section):
    """When days move to which storage class, and when they are deleted. `steps` stand in for those of the preset."""

    preset: Preset | None = None
    steps: Annotated[dict[Age, Text] | None, BeforeValidator(_steps)] = Field(default=None, validate_default=False)
    delete_after_days: Annotated[Count, Field(ge=1, le=LONGEST_WINDOW_DAYS)] | None = None
    reads_per_month: Annotated[float, Field(ge=0, le=100_000)] = Retention().reads_per_month

    def retention(self, provider: Provider, where: str, hot_days: int = 0) -> Retention:
        """The retention as the model takes it. `hot_days` is for how long days are in PostgreSQL, too.

        Raises:
            SettingsError: The provider has no such classes, they are not in the order of their ages, or one that can't
                be read at once comes while days are hot.
        """
        preset = PRESETS[self.preset] if self.preset else Retention()
        steps = preset.steps
        if self.steps is not None:
            steps = tuple(ClassStep(age, name) for age, name in sorted(self.steps.items()))
        ends = self.delete_after_days or preset.delete_after_days
        try:
            for step in steps:
                storage_class(provider, step.storage_class)
        except UsageError as error:
            msg = f"{where}: {error}"
            raise SettingsError(msg) from None
        for one, other in pairwise(steps):
            if not is_colder(provider, other.storage_class, one.storage_class):
                names = ", ".join(each.name for each in classes_of(provider))
                msg = (
                    f"{where}: {other.storage_class} from {other.age_days} days on is not colder than "
                    f"{one.storage_class} from {one.age_days} days on; from warm to cold they are {names}"
                )
                raise SettingsError(msg)
        for step in steps:
            if step.age_days <= hot_days and not storage_class(provider, step.storage_class).is_read_at_once:
                msg = (
                    f"{where}: {step.storage_class} from {step.age_days} days on archives days that are in PostgreSQL "
                    f"until {hot_days}; rotation and late rows read their objects. Let it begin later"
                )
                raise SettingsError(msg)
        if ends is not None and steps and ends <= steps[-1].age_days:
            msg = (
                f"{where}: a day would be deleted at {ends} days, before it comes to {steps[-1].storage_class} at "
                f"{steps[-1].age_days}; leave that step out, or keep the day for longer"
            )
            raise SettingsError(msg)
        return Retention(steps, ends, self.reads_per_month)


# ------------------------------------------------------------------------------------------------------------- prices


class _RestoreFigures(Section):
    usd_per_1000: Annotated[float, Field(ge=0)]
    usd_per_gib: Annotated[float, Field(ge=0)]
    hours: Annotated[float, Field(ge=0)]


class _ClassFigures(Section):
    storage_usd_per_gib_month: Annotated[float, Field(ge=0)]
    write_usd_per_1000: Annotated[float, Field(ge=0)] = 0.0
    read_usd_per_1000: Annotated[float, Field(ge=0)] = 0.0
    retrieval_usd_per_gib: Annotated[float, Field(ge=0)] = 0.0
    size_factor: Annotated[float, Field(gt=0, le=1)] = 1.0
    restores: dict[str, _RestoreFigures] = Field(default_factory=dict)


class _Source(Section):
    source: Text
    read: date
    note: str = ""


class _PostgresFigures(_Source):
    storage_usd_per_gib_month: Annotated[float, Field(ge=0)]


_Kind = Literal[
    "storage_usd_per_gib_month", "write_usd_per_1000", "read_usd_per_1000", "retrieval_usd_per_gib", "restores"
]


class _RegionFigures(_Source):
    """Figures of one region: `sources` says where those of a kind come from, the region itself where all others do."""

    sources: dict[_Kind, _Source] = Field(default_factory=dict)
    classes: dict[str, _ClassFigures]
    postgres: _PostgresFigures


class _Book(Section):
    provider: Provider
    soft_delete_days: Annotated[float, Field(ge=0, le=90)] = 0.0
    regions: dict[str, _RegionFigures]


def load_prices(provider: Provider, region: str | None = None, path: Path | None = None) -> PriceBook:
    """The prices of a provider in a region, the first of its book where none is named.

    Args:
        provider: Whose prices.
        region: As the book names it.
        path: A file whose figures stand in for those of the book that comes with Thermocline, one by one; a region of
            it says where its figures come from and when they were read.

    Raises:
        SettingsError: The file can't be read or is no price book, or has no such region.
    """
    built_in = _document(str(files("thermocline") / "prices" / f"{provider.value}.yaml"))
    own = _document(str(path)) if path is not None else {}
    book = _checked({**built_in, **own, "regions": _merged(built_in["regions"], _regions(own, path))}, provider, path)
    regions = book.regions
    named = region or next(iter(_regions(own, path) or regions))
    if named not in regions:
        msg = (
            f"storage.price_region: there are no prices of {provider} in {named!r}, only in {', '.join(regions)}; "
            "write them into a file and name it as storage.prices"
        )
        raise SettingsError(msg)
    figures = regions[named]
    classes = {
        name: ClassPrice(
            **each.model_dump(exclude={"restores"}),
            restores={speed: RestorePrice(**price.model_dump()) for speed, price in each.restores.items()},
        )
        for name, each in figures.classes.items()
    }
    postgres = figures.postgres.storage_usd_per_gib_month
    source = figures.source
    if path is not None and named in built_in["regions"] and named in _regions(own, path):
        source = f"{source}; where that has none {built_in['regions'][named]['source']}"
    return PriceBook(provider, named, classes, postgres, source, figures.read, book.soft_delete_days)


def _document(path: str) -> dict[str, Any]:
    try:
        document = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        msg = f"storage.prices: {path} can't be read: {str(error).partition(chr(10))[0]}"
        raise SettingsError(msg) from error
    if not isinstance(document, dict):
        msg = f"storage.prices: {path} is no price book: it should be a mapping with `provider` and `regions`"
        raise SettingsError(msg)
    return document


def _regions(own: Mapping[str, Any], path: Path | None) -> dict[str, Any]:
    """The regions of a file of the user's, each of which says where its figures come from."""
    regions = own.get("regions", {})
    if not isinstance(regions, dict):
        msg = f"storage.prices: {path} is no price book: regions: should be a mapping from regions to their figures"
        raise SettingsError(msg)
    for name, figures in regions.items():
        missing = {"source", "read"} - (figures.keys() if isinstance(figures, dict) else set())
        if missing:
            what = " and ".join(sorted(missing, reverse=True))
            msg = (
                f"storage.prices: {path}: regions.{name} has no {what}: say where its figures come from, and since when"
            )
            raise SettingsError(msg)
    return regions


def _merged(built_in: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Both, figure by figure; one's own wins."""
    merged = dict(built_in)
    for key, value in own.items():
        known = merged.get(key)
        merged[key] = _merged(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return merged


def _checked(document: Mapping[str, Any], provider: Provider, path: Path | None) -> _Book:
    try:
        book = _Book.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        msg = f"storage.prices: {path} is no price book: {where}: {first['msg']}"
        raise SettingsError(msg) from None
    if book.provider is not provider:
        msg = f"storage.prices: {path} has the prices of {book.provider}, and the lake is one of {provider}"
        raise SettingsError(msg)
    for name, region in book.regions.items():
        known = {each.name for each in classes_of(provider)}
        if unknown := region.classes.keys() - known:
            msg = f"storage.prices: {path}: regions.{name}: {provider} has no storage class {min(unknown)!r}"
            raise SettingsError(msg)
    return book
