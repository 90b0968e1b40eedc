"""Days as Dagster names them: the partition key is the day, in ISO spelling."""

from collections.abc import Collection
from datetime import date, datetime
from uuid import uuid4
from zoneinfo import ZoneInfo

import dagster as dg
from dagster._core.events import DagsterEvent, DagsterEventBatchMetadata

from assets.records import kept_open
from assets.report import Metadata
from thermocline.model.partition import ONE_DAY, DayRange, Partition, parse_day
from thermocline.model.report import Moved, total_bytes, total_rows
from thermocline.settings import Settings

# Dagster gives an asset that logs its own events, day by day, no way to say so: the result it returns makes one more
# for every day of the run. This key, by which Dagster marks its own such assets, keeps it from doing that. If it ever
# ceases to, each day has its event twice, and a test says so.
_EVENTS_ARE_LOGGED = "__source_asset_observation__"


Context = dg.AssetExecutionContext | dg.AssetCheckExecutionContext


def days_of(context: Context, days: dg.DailyPartitionsDefinition) -> DayRange:
    """The days that a run is for: one, or all of a range.

    Raises:
        Failure: Dagster let a key pass that is none of these days, or a range that ends before it starts.
    """
    asked = context.partition_key_range
    first, last = days.get_first_partition_key(), days.get_last_partition_key()
    wrong = [key for key in (asked.start, asked.end) if not days.has_partition_key(key)]
    if wrong or asked.start > asked.end:
        what = f"there is no partition {wrong[0]}" if wrong else f"{asked.start} is not before {asked.end}"
        msg = f"{what}; nothing was done. The days go from {first} to {last}"
        raise dg.Failure(msg, allow_retries=False)
    return DayRange(parse_day(asked.start), parse_day(asked.end) + ONE_DAY)


def as_of(context: Context, days: dg.DailyPartitionsDefinition) -> date:
    """The day that a run looks from: its key, or the last day of a range, since rotation and load are cumulative."""
    return days_of(context, days).end - ONE_DAY


def today(settings: Settings) -> date:
    """Today where the nightly schedule runs."""
    return datetime.now(ZoneInfo(settings.storage.lifecycle.auto_rotation.timezone)).date()


def day_or_today(text: str, settings: Settings) -> date:
    """The day that a config names, or today where it names none."""
    return parse_day(text) if text else today(settings)


class _Burst:
    """Materialisations that are logged at once, which costs Dagster's records in PostgreSQL one commit, not three each.

    `log_event` logs one; how Dagster itself logs the days of an asset that returns a result for a range has no public
    name. Without `DAGSTER_EVENT_BATCH_SIZE` each is stored by itself all the same, and so it is in SQLite, whose files
    are open meanwhile.
    """

    def __init__(self, context: dg.AssetExecutionContext) -> None:
        """Log in the context's run."""
        self._step = context.get_step_execution_context()
        self._waiting: dict[dg.AssetKey, list[dg.AssetMaterialization]] = {}

    def add(self, event: dg.AssetMaterialization) -> None:
        """Log it with the next `flush`."""
        self._waiting.setdefault(event.asset_key, []).append(event)

    def flush(self) -> None:
        """Log all that wait, an asset's after another's."""
        with kept_open(self._step.instance, self._step.run_id):
            for events in self._waiting.values():
                burst = str(uuid4())
                for number, event in enumerate(events, 1):
                    is_end = number == len(events)
                    DagsterEvent.asset_materialization(self._step, event, DagsterEventBatchMetadata(burst, is_end))
        self._waiting.clear()


class DayLog:
    """Logs a materialisation for each day of a range as soon as the commit that the day was in is over.

    A run that dies has told Dagster of every day that was done with an earlier commit. Days for which the source has
    nothing are done, too: Dagster takes a day without an event for a failed one.
    """

    def __init__(self, context: dg.AssetExecutionContext, days: DayRange, lands: dg.AssetKey | None = None) -> None:
        """Log for these days of the context's asset; days with rows also for the asset where these land."""
        self._context, self._days, self._lands = context, days, lands
        self._waiting: dict[date, set[Partition]] = {}
        self._moved: dict[date, list[Moved]] = {}
        self._held: date | None = None
        self._burst = _Burst(context)

    def gathered(self, partitions: Collection[Partition]) -> None:
        """Learn which partitions have rows; all other days are done."""
        self.expect(partitions)
        self.rest()

    def expect(self, partitions: Collection[Partition]) -> None:
        """Learn which partitions have rows, and nothing of other days."""
        for partition in partitions:
            self._waiting.setdefault(partition.day, set()).add(partition)

    def rest(self, failed: Collection[DayRange] = ()) -> None:
        """Learn that all other days are done, but for those of which something could not be had."""
        for day in self._days:
            if day not in self._waiting and not any(day in span for span in failed):
                self._done(day)
        self.committed()

    def published(self, moved: Moved) -> None:
        """Learn of a partition that is committed; the last one of its day ends the day."""
        day = moved.partition.day
        self._moved.setdefault(day, []).append(moved)
        self._waiting[day].discard(moved.partition)
        if not self._waiting[day]:
            self._done(day)

    def committed(self) -> None:
        """Learn that all partitions of a commit were told of."""
        self._burst.flush()

    def result(self, metadata: Metadata) -> dg.MaterializeResult[None]:
        """End the run; the event of the day that was done last shows what was done in all."""
        if self._held:
            self._log(self._held, metadata)
            self._burst.flush()
        return dg.MaterializeResult(metadata={_EVENTS_ARE_LOGGED: True})

    def _done(self, day: date) -> None:
        if self._held:
            self._log(self._held, {})
        self._held = day

    def _log(self, day: date, metadata: Metadata) -> None:
        moved = self._moved.pop(day, [])
        own: Metadata = {
            "action": dg.MetadataValue.text(", ".join(sorted({each.action for each in moved})) or "nothing to do"),
            "rows": dg.MetadataValue.int(total_rows(moved)),
            "dagster/row_count": dg.MetadataValue.int(total_rows(moved)),
            "bytes": dg.MetadataValue.int(total_bytes(moved)),
            "path": dg.MetadataValue.text(", ".join(each.path for each in moved if each.path)),
        }
        of_run = {f"run {name}" if name in own else name: value for name, value in metadata.items()}
        key = self._context.asset_key
        self._burst.add(dg.AssetMaterialization(key, partition=day.isoformat(), metadata=own | of_run))
        if moved and self._lands:
            self._burst.add(dg.AssetMaterialization(self._lands, partition=day.isoformat(), metadata=own))


class LandingLog:
    """Logs a materialisation of the lake's asset for each day that a run of another asset wrote, as it is committed."""

    def __init__(
        self, context: dg.AssetExecutionContext, lands: dg.AssetKey, days: dg.DailyPartitionsDefinition
    ) -> None:
        """Log for days of `lands`; a day that Dagster does not know, as one before the first, is passed over."""
        self._context, self._lands, self._days = context, lands, days

    def published(self, moved: Moved) -> None:
        """Learn of a partition that is committed, or that said nothing new."""
        day = moved.partition.day.isoformat()
        if moved.action == "unchanged" or not self._days.has_partition_key(day):
            return
        metadata: Metadata = {
            "action": dg.MetadataValue.text(moved.action),
            "dagster/row_count": dg.MetadataValue.int(moved.rows),
            "bytes": dg.MetadataValue.int(moved.size_bytes),
            "path": dg.MetadataValue.text(moved.path),
        }
        self._context.log_event(dg.AssetMaterialization(self._lands, partition=day, metadata=metadata))
