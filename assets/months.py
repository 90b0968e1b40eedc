"""Months as Dagster names them: the partition key is the month of the rows, `2024-01`."""

from collections.abc import Collection
from datetime import date

import dagster as dg

from assets.days import Context
from assets.report import Metadata
from thermocline.model.partition import ALL_DAYS, DayRange


def months_of(context: Context, months: dg.MonthlyPartitionsDefinition, *, earlier: bool = False) -> DayRange:
    """The days of the months that a run is for; with `earlier` those of every month before them as well.

    Raises:
        Failure: Dagster let a key pass that is none of these months, or a range that ends before it starts.
    """
    asked = context.partition_key_range
    wrong = [key for key in (asked.start, asked.end) if not months.has_partition_key(key)]
    if wrong or asked.start > asked.end:
        first, last = months.get_first_partition_key(), months.get_last_partition_key()
        what = f"there is no partition {wrong[0]}" if wrong else f"{asked.start} is not before {asked.end}"
        msg = f"{what}; nothing was done. The months go from {first} to {last}, each written as 2024-01"
        raise dg.Failure(msg, allow_retries=False)
    start = months.time_window_for_partition_key(asked.start).start.date()
    end = months.time_window_for_partition_key(asked.end).end.date()
    return DayRange(ALL_DAYS.start if earlier else start, end)


def log_months(
    context: dg.AssetExecutionContext,
    months: dg.MonthlyPartitionsDefinition,
    changed: Collection[date],
    metadata: Metadata,
) -> None:
    """Log a materialisation for each month that has a changed day and is not one of those that the run is named for.

    Months that Dagster does not know, as those before the first, are passed over.
    """
    asked = context.partition_key_range
    for key in sorted({f"{day:%Y-%m}" for day in changed}):
        if not asked.start <= key <= asked.end and months.has_partition_key(key):
            context.log_event(dg.AssetMaterialization(context.asset_key, partition=key, metadata=metadata))
