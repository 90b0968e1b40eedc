"""`sources/<source>/<dataset>`: what a vendor delivered; a partition is a UTC day, and rows land in lake/<dataset>.

There is one for each dataset of each vendor that Thermocline knows, and for each of `feeds` in thermocline.yaml.
Symbols are config, never partitions: a list, a file, or those of a dataset.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import dagster as dg
from pydantic import Field

from assets.fetching import FetchConfig, fetch_days
from assets.lake import lake_key
from assets.report import definition_metadata
from thermocline.errors import SettingsError
from thermocline.model.dataset import Dataset
from thermocline.model.datasets import dataset_named
from thermocline.model.partition import parse_interval
from thermocline.ports import Analytics, Calendars, Hot, Lake, SourceFactory, SpoolFactory
from thermocline.settings import Feed, Settings
from thermocline.tasks.symbols import chosen_symbols

GROUP = "sources"


class FeedConfig(FetchConfig):
    """What is fetched of a source. What is left empty is as `feeds` in thermocline.yaml says."""

    symbols: list[str] = Field(default=[], description="Only these symbols.")
    symbols_file: str | None = Field(default=None, description="A file with a symbol on each line, instead of a list.")
    symbols_of: str | None = Field(
        default=None, description="A dataset whose symbols are meant, such as `instruments`, instead of a list."
    )
    intervals: list[str] = Field(default=[], description="Only these bar sizes, such as `1min` or `1day`.")


@dataclass(frozen=True)
class NamedFeed:
    """A source and a dataset of it, with what thermocline.yaml says of the pair."""

    source: str
    dataset: Dataset
    kind: str
    feed: Feed
    is_declared: bool

    @property
    def word(self) -> str:
        """The source's name in letters, digits and underscores; Dagster allows no others in names."""
        return re.sub(r"[^A-Za-z0-9_]", "_", self.source)

    @property
    def key(self) -> dg.AssetKey:
        """The key of its asset."""
        return dg.AssetKey(["sources", self.word, self.dataset.name])


def named_feeds(settings: Settings, delivered: Mapping[str, Iterable[str]]) -> list[NamedFeed]:
    """Every pair of a source and a dataset: `delivered` by known kinds of sources, and those that the settings name.

    Raises:
        SettingsError: The names of two sources differ in nothing that Dagster allows in a name.
    """
    kinds = {kind: kind for kind in delivered} | {
        name: str(options.get("kind", name)) for name, options in settings.sources.items()
    }
    pairs = {(name, dataset) for name, kind in kinds.items() for dataset in delivered.get(kind, ())}
    pairs |= {(source, dataset) for source, _, dataset in (name.rpartition("/") for name in settings.feeds)}
    feeds = [
        NamedFeed(
            source,
            dataset_named(dataset),
            kinds.get(source, source),
            settings.feeds.get(f"{source}/{dataset}", Feed()),
            f"{source}/{dataset}" in settings.feeds,
        )
        for source, dataset in sorted(pairs)
    ]
    by_key: dict[dg.AssetKey, NamedFeed] = {}
    for feed in feeds:
        other = by_key.setdefault(feed.key, feed)
        if other is not feed:
            msg = f"the sources {other.source!r} and {feed.source!r} have one name in Dagster; rename one in `sources`"
            raise SettingsError(msg)
    return feeds


def feed_assets(feeds: Iterable[NamedFeed], days: dg.DailyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """An asset for each feed."""
    return [_feed_asset(feed, days) for feed in feeds]


def _feed_asset(named: NamedFeed, days: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    dataset, source = named.dataset, named.source

    @dg.asset(
        key=named.key,
        description=f"{dataset.description}, as {source} delivers it. Rows land in lake/{dataset.name}; days that say "
        "nothing new are not written again.",
        group_name=GROUP,
        kinds={named.kind},
        metadata=definition_metadata(dataset),
        partitions_def=days,
        # A range is one run of one backfill; events tell Dagster of each day.
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool="hot",
    )
    def feed_asset(
        context: dg.AssetExecutionContext,
        *,
        config: FeedConfig,
        sources: dg.ResourceParam[SourceFactory],
        hot: dg.ResourceParam[Hot],
        lake: dg.ResourceParam[Lake],
        spools: dg.ResourceParam[SpoolFactory],
        analytics: dg.ResourceParam[Analytics],
        calendars: dg.ResourceParam[Calendars],
        settings: dg.ResourceParam[Settings],
    ) -> dg.MaterializeResult[None]:
        own = named.feed
        is_said = config.symbols or config.symbols_file or config.symbols_of
        said = config if is_said else own
        return fetch_days(
            context,
            days,
            dataset,
            config,
            source=sources(source, path=config.path),
            symbols=chosen_symbols(hot, lake, said.symbols, said.symbols_file, said.symbols_of),
            intervals=frozenset(map(parse_interval, config.intervals or own.intervals)),
            hot=hot,
            lake=lake,
            spools=spools,
            analytics=analytics,
            calendars=calendars,
            settings=settings,
            lands=lake_key(dataset),
            missing=config.missing or own.missing,
        )

    return feed_asset
