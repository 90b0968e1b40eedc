"""A picture of what should be there and what is, beside what a run did."""

from collections.abc import Collection
from datetime import timedelta
from typing import Any

import dagster as dg

from assets.report import picture
from thermocline.errors import ThermoclineError
from thermocline.model.dataset import Dataset
from thermocline.model.partition import DayRange
from thermocline.tasks.coverage import CoverageKeeper
from thermocline.tasks.expected import EACH_SESSION

MOST_SERIES = 30
"""Those that lack most bars are drawn; a picture lies in Dagster's database for every run."""
MOST_BYTES = 256 << 10
LEAST_DAYS = timedelta(days=90)
"""What is drawn at least, up to the last day of the run: the picture of one day says nothing."""


def coverage_plot(
    keeper: CoverageKeeper,
    dataset: Dataset,
    span: DayRange,
    *,
    symbols: Collection[str] = (),
    intervals: Collection[str] = (),
) -> dg.MetadataValue[Any] | None:
    """The heat map of the series that lack most; None where nothing is expected of the dataset, or nothing is known.

    The run's rows are there already, so that what goes wrong here is said and fails nothing.
    """
    from thermocline.model.coverage.report import CoverageReport  # noqa: PLC0415  # numpy, for a run alone

    if not (dataset.has_intervals or dataset.name in EACH_SESSION):
        return None
    start = min(span.start, span.end - LEAST_DAYS)
    try:
        series = keeper.look(dataset, symbols=symbols, intervals=intervals, start=start, end=span.end)
    except ThermoclineError as error:
        return dg.MetadataValue.text(f"coverage can't be told: {error}")
    if not series:
        return None
    worst = sorted(series, key=lambda each: (-each.bars_missing, each.series))[:MOST_SERIES]
    drawn = CoverageReport(dataset.name, tuple(sorted(worst, key=lambda each: each.series))).svg()
    if len(drawn) > MOST_BYTES:
        return dg.MetadataValue.text(f"too large to be kept here; see `thermocline coverage {dataset.name}`")
    return picture(f"coverage of the {len(worst)} of {len(series)} series that lack most", drawn)
