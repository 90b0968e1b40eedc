"""The days and months that Dagster knows."""

import dagster as dg

from thermocline.settings import Settings

MONTH = "%Y-%m"
"""How a month's key is written."""


def days_from(settings: Settings) -> dg.DailyPartitionsDefinition:
    """Every day from `partitions.start` on, today included; a key is the day's date.

    A key is a date and nothing else: the UTC day of rows, or the day that a rotation looks from. The time zone only
    decides when the next key appears: at midnight where the schedule runs, so that 2 AM of a day finds that day's key
    east of Greenwich, too.
    """
    return dg.DailyPartitionsDefinition(
        start_date=settings.partitions.start.isoformat(),
        end_offset=1,
        timezone=settings.storage.lifecycle.auto_rotation.timezone,
    )


def months_from(settings: Settings) -> dg.MonthlyPartitionsDefinition:
    """Every month from that of `partitions.start` on, the current one included; a key is `2024-01`."""
    return dg.MonthlyPartitionsDefinition(
        start_date=f"{settings.partitions.start:%Y-%m}",
        end_offset=1,
        timezone=settings.storage.lifecycle.auto_rotation.timezone,
        fmt=MONTH,
    )
