"""What tests of catalogs do: put a day's object into a store, and publish it."""

from made_rows import DAY, bars

from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import ONE_DAY, Partition
from thermocline.model.paths import object_path
from thermocline.stores.parquet import encode


def day(number):
    """A day of daily bars."""
    return Partition("market_data", "1day", DAY + number * ONE_DAY)


def put(objects, number, version=1, **cells):
    """Store its object, and give the path."""
    with encode(day(number), [bars(day(number), **cells)]) as file:
        return objects.put(object_path(day(number), version), file.stream).path


def publish(catalog, added=(), removed=(), head="", run_id="run-1"):
    """Commit, and give the new head."""
    return catalog.publish(MARKET_DATA, added=added, removed=removed, expected_head=head, run_id=run_id)
