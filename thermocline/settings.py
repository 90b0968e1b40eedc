"""Settings: thermocline.yaml and THERMOCLINE_* variables. Nothing else in the project reads the environment.

Stronger wins: an argument, then a variable, then thermocline.yaml, then the default. Every key of the file has a
variable, its path in capitals with `__` between the parts: `THERMOCLINE_STORAGE__LIFECYCLE__HOT_DAYS=10`.
"""

import os
from collections.abc import Mapping
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, PrivateAttr, SecretStr, ValidationError

from thermocline.errors import SettingsError
from thermocline.model.calendars import DEFAULT_CALENDARS, CalendarRules
from thermocline.model.dataset import Dataset
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.prices import PriceBook
from thermocline.model.restatement import RestatementRule
from thermocline.model.retention import RetentionPolicy
from thermocline.model.rules import Strictness, Validation
from thermocline.model.storage_classes import Provider
from thermocline.model.url import file_url
from thermocline.settings_cache import CacheSettings
from thermocline.settings_checks import CheckSettings
from thermocline.settings_datasets import Datasets, declared
from thermocline.settings_layers import (
    Layer,
    environment_layer,
    file_layer,
    merged,
    problem,
    unknown_keys,
    without_nulls,
)
from thermocline.settings_retention import RetentionSettings, load_prices
from thermocline.settings_values import (
    DECLARED,
    LONGEST_WINDOW_DAYS,
    CatalogUrl,
    Count,
    DatasetName,
    Day,
    FeedName,
    HotUrl,
    IntervalName,
    IntervalNames,
    Intervals,
    LakeUrl,
    Schedule,
    SchemaName,
    Section,
    Share,
    Sources,
    Text,
    TimeZone,
    WindowDays,
    default_intervals,
)

FILE_NAME = "thermocline.yaml"
HOME_NAME = ".thermocline"


# ----------------------------------------------------------------------------------------------------------- sections


class AutoRotation(Section):
    """When the nightly rotation runs by itself."""

    enabled: bool = True
    schedule: Schedule = "0 2 * * *"
    timezone: TimeZone = "UTC"


class Restatements(Section):
    """Which restatements of published days wait for a person; 0 as `hold_symbols` lets every one through."""

    hold_symbols: Annotated[Count, Field(ge=0)] = RestatementRule().hold_symbols
    hold_share: Share = RestatementRule().hold_share
    hold_after_days: Annotated[Count, Field(ge=0)] = RestatementRule().hold_after_days
    price_tolerance: Share = RestatementRule().price_tolerance
    volume_tolerance: Share = RestatementRule().volume_tolerance


class Drills(Section):
    """When copies in the lake are restored for a trial, and how many; in the time zone of the rotation."""

    enabled: bool = True
    schedule: Schedule = "0 4 * * 0"
    partitions: Annotated[Count, Field(ge=1, le=10_000)] = 5


class CompactionSettings(Section):
    """When Dagster compacts the lake by itself; None as `enabled`: where there is a retention."""

    enabled: bool | None = None
    schedule: Schedule = "0 3 2 * *"


class ExpirySettings(Section):
    """When Dagster deletes what is kept no longer; `enabled` as in `CompactionSettings`."""

    enabled: bool | None = None
    schedule: Schedule = "30 4 * * 0"


class LifecycleSettings(Section):
    """How long rows stay hot."""

    hot_days: WindowDays = 30
    hot_intervals: Intervals = Field(default_factory=default_intervals)
    archive_on_backfill: bool = True
    undo_days: Annotated[Count, Field(ge=0, le=LONGEST_WINDOW_DAYS)] = 7
    keep_vintages_days: Annotated[Count, Field(ge=0, le=LONGEST_WINDOW_DAYS)] | None = None
    object_grace_hours: Annotated[Count, Field(ge=1, le=24 * LONGEST_WINDOW_DAYS)] = 24
    compact_target_mib: Annotated[Count, Field(ge=1, le=1 << 20)] = 128
    rotation_memory_mib: Annotated[Count, Field(ge=128, le=1 << 20)] = 256
    auto_rotation: AutoRotation = AutoRotation()
    restatements: Restatements = Restatements()
    drills: Drills = Drills()
    compaction: CompactionSettings = CompactionSettings()
    expiry: ExpirySettings = ExpirySettings()


class HotSettings(Section):
    """How the tables lie in PostgreSQL."""

    schema_name: SchemaName = Field(default="public", alias="schema")


class DuckDBSettings(Section):
    """What a query over the lake may use of the machine. No threads means one per core, no time no limit."""

    memory_limit_mib: Annotated[Count, Field(ge=64)] = 1024
    threads: Annotated[Count, Field(ge=1, le=1024)] | None = None
    timeout_seconds: Annotated[float, Field(gt=0)] | None = None


class LakeSettings(Section):
    """How patient the lake is with a store that fails for a moment, and what one run may ask of it in all."""

    attempts: Annotated[Count, Field(ge=1, le=20)] = 5
    max_retries_per_run: Annotated[Count, Field(ge=0)] = 100
    max_requests_per_run: Annotated[Count, Field(ge=1)] = 1_000_000


class TieringSettings(Section):
    """When Dagster moves objects between storage classes, how many requests a run makes, how many objects at a time.

    None as `enabled`: where there is a retention.
    """

    enabled: bool | None = None
    schedule: Schedule = "0 5 2 * *"
    max_requests_per_run: Annotated[Count, Field(ge=1, le=10_000_000)] = 10_000
    threads: Annotated[Count, Field(ge=1, le=256)] = 16


class PrefixSettings(Section):
    """After how many days what lies beside the rows is deleted; what has no number is kept for ever.

    A fetch can be gone on from for seven days, so that none is abandoned earlier.
    """

    raw_days: Annotated[Count, Field(ge=1, le=LONGEST_WINDOW_DAYS)] | None = None
    processed_days: Annotated[Count, Field(ge=1, le=LONGEST_WINDOW_DAYS)] | None = None
    cache_days: Annotated[Count, Field(ge=1, le=LONGEST_WINDOW_DAYS)] | None = None
    abandoned_fetch_days: Annotated[Count, Field(ge=8, le=LONGEST_WINDOW_DAYS)] | None = None


class S3Settings(Section):
    """How a bucket of S3, or of another store that speaks its protocol, is reached; credentials are never set here."""

    endpoint_url: Text | None = None
    region: Text | None = None
    kms_key_id: Text | None = None
    requester_pays: bool = False


class GcsSettings(Section):
    """How a bucket of Google Cloud Storage is reached; credentials are never set here."""

    project: Text | None = None
    endpoint_url: Text | None = None
    kms_key_name: Text | None = None
    user_project: Text | None = None


class StorageSettings(Section):
    """Both tiers and what moves between them."""

    lifecycle: LifecycleSettings = LifecycleSettings()
    hot: HotSettings = HotSettings()
    lake: LakeSettings = LakeSettings()
    tiering: TieringSettings = TieringSettings()
    prefixes: PrefixSettings = PrefixSettings()
    s3: S3Settings = S3Settings()
    gcs: GcsSettings = GcsSettings()
    retention: RetentionSettings = RetentionSettings()
    prices: Text | None = None
    price_region: Text | None = None
    duckdb: DuckDBSettings = DuckDBSettings()
    cache: CacheSettings = CacheSettings()


class ValidationSettings(Section):
    """How strictly rules are taken, and how many bad rows stop a batch: more than that share, and so many at least."""

    strictness: Strictness = Validation().strictness
    max_bad_share: Share = Validation().max_bad_share
    min_bad_rows: Annotated[Count, Field(ge=1)] = Validation().min_bad_rows


class FeatureSettings(Section):
    """What derived indicators are measured against, and whether Dagster derives them when bars come."""

    benchmark: Text = "SPY"
    benchmark_asset_class: Text = "equity"
    automatic: bool = False


class Feed(Section):
    """What Dagster fetches of one source for one dataset, and when; of no symbols and no list: all that it has.

    `symbols_file` has a symbol on each line; `symbols_of` names a dataset whose symbols are meant. Without a schedule a
    feed runs when a person runs it. A run by schedule fetches the last `days`, or what is `missing` of them.
    """

    symbols: tuple[Text, ...] = ()
    symbols_file: Text | None = None
    symbols_of: DatasetName | None = None
    intervals: IntervalNames = ()
    schedule: Schedule | None = None
    days: WindowDays = 5
    missing: bool = False


class Drop(Section):
    """A folder into which others put files of one dataset, and the source that reads them."""

    folder: Text
    dataset: DatasetName
    source: Text = "files"
    pattern: Text = "**/*"
    settle_seconds: Annotated[Count, Field(ge=0, le=86_400)] = 10
    keep: bool = False


class Freshness(Section):
    """Until when the bars of a session are to be there: so many hours after its close."""

    calendar: Text = "XNYS"
    interval: IntervalName | None = None
    hours: Annotated[Count, Field(ge=0, le=24 * 30)] = 12


class CoverageSettings(Section):
    """What is asked of a source that had nothing when it was asked before."""

    ask_again_days: Annotated[Count, Field(ge=0, le=LONGEST_WINDOW_DAYS)] = 30


class PartitionSettings(Section):
    """Which days exist for Dagster."""

    start: Day = date(1990, 1, 1)


class Document(Section):
    """Everything that may stand in thermocline.yaml."""

    hot_url: HotUrl | None = None
    lake_url: LakeUrl | None = None
    catalog_url: CatalogUrl | None = None
    storage: StorageSettings = StorageSettings()
    sources: Sources = Field(default_factory=dict, repr=False)
    datasets: Datasets = Field(default_factory=dict)
    features: FeatureSettings = FeatureSettings()
    calendars: dict[str, str] = Field(default_factory=lambda: dict(DEFAULT_CALENDARS))
    coverage: CoverageSettings = CoverageSettings()
    fetch_from: dict[str, str] = Field(default_factory=dict)
    validation: ValidationSettings = ValidationSettings()
    feeds: dict[FeedName, Feed] = Field(default_factory=dict)
    drops: dict[Text, Drop] = Field(default_factory=dict)
    freshness: dict[DatasetName, Freshness] = Field(default_factory=dict)
    partitions: PartitionSettings = PartitionSettings()
    checks: CheckSettings = CheckSettings()


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
    _environ: Mapping[str, str] | None = PrivateAttr(default=None)

    def variable(self, *names: str) -> SecretStr | None:
        """The first of these variables of the environment that is set, such as a vendor's key; hidden when shown."""
        environ = os.environ if self._environ is None else self._environ
        return next((SecretStr(environ[name]) for name in names if environ.get(name)), None)

    @cached_property
    def calendar_rules(self) -> CalendarRules:
        """Which calendar an instrument has."""
        return CalendarRules({**DEFAULT_CALENDARS, **self.calendars})

    @cached_property
    def validation_rules(self) -> Validation:
        """How rows are judged, as the model takes it."""
        own = self.datasets.items()
        return Validation(
            strictness=self.validation.strictness,
            max_bad_share=self.validation.max_bad_share,
            min_bad_rows=self.validation.min_bad_rows,
            strictness_of={name: dataset.strictness for name, dataset in own if dataset.strictness is not None},
            max_bad_share_of={
                name: dataset.max_bad_share for name, dataset in own if dataset.max_bad_share is not None
            },
            rules={name: dataset.rules for name, dataset in own if dataset.rules},
        )

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
            rotation_memory_mib=own.rotation_memory_mib,
            restatements=RestatementRule(**own.restatements.model_dump()),
        )

    @property
    def provider(self) -> Provider:
        """Whose storage classes the lake has."""
        return {"s3": Provider.S3, "gs": Provider.GCS}.get(urlsplit(self.lake_url.reveal()).scheme, Provider.LOCAL)

    @property
    def retention(self) -> RetentionPolicy:
        """See `retention_at`, for the lake of `lake_url`."""
        return self.retention_at(self.provider)

    def retention_at(self, provider: Provider) -> RetentionPolicy:
        """When days of which dataset move to which storage class of a provider, and when they are deleted.

        Raises:
            SettingsError: The provider has no such classes, or days would be archived that are in PostgreSQL still.
        """
        longest = self.lifecycle.longest_days
        own = {
            name: dataset.retention.retention(provider, f"datasets.{name}.retention", longest(name))
            for name, dataset in self.datasets.items()
            if dataset.retention
        }
        hot_days = max(map(longest, {"", *self.datasets.keys() - own.keys()}))
        return RetentionPolicy(self.storage.retention.retention(provider, "storage.retention", hot_days), own)

    @property
    def has_retention(self) -> bool:
        """Whether any day ever moves to another storage class, or is deleted from the lake."""
        sections = [self.storage.retention, *(each.retention for each in self.datasets.values())]
        return any(each and (each.preset or each.steps or each.delete_after_days) for each in sections)

    @property
    def prices(self) -> PriceBook:
        """See `prices_at`, for the lake of `lake_url`."""
        return self.prices_at(self.provider)

    def prices_at(self, provider: Provider) -> PriceBook:
        """What a provider's storage classes cost.

        Raises:
            SettingsError: The price book can't be read, or has no such region.
        """
        named = self.storage.prices
        return load_prices(provider, self.storage.price_region, Path(named) if named else None)

    @cached_property
    def declared(self) -> tuple[Dataset, ...]:
        """The datasets that are declared here, and the built-in ones that get columns here."""
        found = (declared(name, section) for name, section in self.datasets.items())
        return tuple(dataset for dataset in found if dataset)


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
    settings = _validated(document | {"home": home, "config": path}, layers)
    settings._environ = environ  # noqa: SLF001  # nobody else may set it
    return settings


def _validated(document: Mapping[str, Any], layers: list[Layer]) -> Settings:
    try:
        return Settings.model_validate(document, context={DECLARED: tuple(document.get("datasets") or ())})
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
        anchored["sources"] = {name: _anchored_path(options, folder) for name, options in anchored["sources"].items()}
    if isinstance(storage := anchored.get("storage"), Mapping):
        anchored["storage"] = _anchored_path(storage, folder, "prices")
    for section, key in (("feeds", "symbols_file"), ("drops", "folder")):
        if isinstance(named := anchored.get(section), Mapping):
            anchored[section] = {name: _anchored_path(options, folder, key) for name, options in named.items()}
    return anchored


def _anchored_path(options: Any, folder: Path, key: str = "path") -> Any:
    if isinstance(options, Mapping) and isinstance(path := options.get(key), str) and "://" not in path:
        return {**options, key: str(_absolute(path, folder))}
    return options
