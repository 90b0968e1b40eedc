"""Fetch what a plan says is missing, and publish it."""

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from thermocline.model.dataset import Dataset
from thermocline.model.partition import DayRange
from thermocline.ports import FetchRequest
from thermocline.tasks.backfill import Backfill, Backfilled

if TYPE_CHECKING:
    from thermocline.model.coverage.missing import Fetch, MissingPlan

_BUCKETS = {"week": timedelta(days=6), "month": timedelta(days=30)}


def fetch_missing(backfill: Backfill, dataset: Dataset, plan: "MissingPlan") -> Backfilled:
    """Ask for all that the plan says and publish it. What could not be had is named, and holds nothing else up."""
    requests = [request_of(dataset, fetch) for fetch in plan.fetches]
    if not requests:
        return Backfilled(dataset.name, backfill.run_id)
    return replace(backfill, keep_going=True).run(*requests)


def request_of(dataset: Dataset, fetch: "Fetch") -> FetchRequest:
    """What is asked of a source. The bar of a week or month may carry any day of it."""
    longer = next((days for unit, days in _BUCKETS.items() if fetch.interval.endswith(unit)), timedelta())
    days = DayRange(fetch.days.start, fetch.days.end + longer)
    return FetchRequest(dataset, days, frozenset(fetch.symbols), frozenset([fetch.interval] if fetch.interval else []))
