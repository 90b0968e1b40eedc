"""What moving an object of S3 costs and saves, against arithmetic by hand.

Prices are Northern Virginia's: for a GiB and month STANDARD 0.023, STANDARD_IA 0.0125, GLACIER_IR 0.004, GLACIER 0.0036
and DEEP_ARCHIVE 0.00099 USD; a thousand requests into them 0.005, 0.01, 0.02, 0.03 and 0.05; retrieval from STANDARD_IA
0.01, from GLACIER_IR 0.03 for a GiB. A month has 365 / 12 = 30.41667 days. Where nothing else is said an object has 100
GiB and nobody reads it. 1 GiB is 1,048,576 KiB.
"""

from datetime import date, timedelta

import pytest
from tiering_world import AS_OF, in_class, planned

from thermocline.model.partition import midnight
from thermocline.model.prices import ClassPrice, PriceBook, RestorePrice
from thermocline.model.retention import PRESETS, ClassStep, Retention
from thermocline.model.storage_classes import Provider
from thermocline.model.tiering import LeftReason

FLEXIBLE = {"Bulk": RestorePrice(0, 0, 12), "Standard": RestorePrice(0.05, 0.01, 5)}
DEEP = {"Bulk": RestorePrice(0.025, 0.0025, 48), "Standard": RestorePrice(0.1, 0.02, 12)}
PRICES = PriceBook(
    Provider.S3,
    "us-east-1",
    {
        "STANDARD": ClassPrice(0.023, 0.005, 0.0004),
        "STANDARD_IA": ClassPrice(0.0125, 0.01, 0.001, 0.01),
        "GLACIER_IR": ClassPrice(0.004, 0.02, 0.01, 0.03),
        "GLACIER": ClassPrice(0.0036, 0.03, 0.0004, restores=FLEXIBLE),
        "DEEP_ARCHIVE": ClassPrice(0.00099, 0.05, 0.0004, restores=DEEP),
    },
    0.115,
    "by hand",
    date(2026, 11, 27),
)
UNREAD = Retention(PRESETS["s3"].steps, None, reads_per_month=0)


def usd(amount: float):
    """That amount, far beyond the cent."""
    return pytest.approx(amount, rel=1e-5)


def decided(retention: Retention, age_days: int, storage_class: str = "STANDARD", **options):
    """What becomes of one object, and the plan."""
    return planned(PRICES, retention, in_class(storage_class, age_days, **options))


def to(storage_class: str, reads_per_month: float = 0) -> Retention:
    """A policy of one step, at 30 days."""
    return Retention((ClassStep(30, storage_class),), None, reads_per_month)


def test_a_month_old_object_goes_to_infrequent_access_for_one_copy():
    move, plan = decided(UNREAD, 40)
    assert move.to == "STANDARD_IA"
    assert move.fee_usd == usd(0.00001)  # 0.01 / 1,000
    assert move.penalty_usd == 0  # it stays for 90 - 40 = 50 days, and 30 are billed at least
    assert move.saving_usd_per_month == usd(1.05)  # 100 x (0.023 - 0.0125)
    assert (plan.usd_per_month_before, plan.usd_per_month_after) == (usd(2.30), usd(1.25))


def test_the_minimum_duration_of_infrequent_access_can_be_worth_paying_when_the_next_step_is_near():
    move, _ = decided(UNREAD, 70)
    # 20 days of STANDARD are 20 / 30.41667 x 2.30 = 1.512 USD; 30 of STANDARD_IA are 1.233.
    assert move.penalty_usd == usd(0.410959)  # (30 - 20) / 30.41667 x 1.25
    assert move.break_even_days == usd(11.90505)  # (0.00001 + 0.410959) / 1.05 x 30.41667


def test_a_copy_reads_what_it_copies_and_pays_for_it():
    move, _ = decided(UNREAD, 100, "STANDARD_IA")
    assert move.to == "GLACIER_IR"
    assert move.fee_usd == usd(1.00002)  # 0.02 / 1,000 + 100 x 0.01
    assert move.saving_usd_per_month == usd(0.85)  # 100 x (0.0125 - 0.004)
    assert move.break_even_days == usd(35.78503)  # 1.00002 / 0.85 x 30.41667


def test_an_object_under_128_kib_is_billed_as_if_it_had_them():
    left, _ = decided(to("STANDARD_IA"), 40, size_bytes=64 << 10)
    assert left.reason is LeftReason.TOO_SMALL
    # 64 / 1,048,576 x 0.023 = 1.403809e-6 against 128 / 1,048,576 x 0.0125 = 1.525879e-6
    assert left.move.saving_usd_per_month == usd(-1.220703e-7)
    assert left.detail == "65536 bytes are billed as 131072 there"


def test_an_object_of_100_kib_would_save_something_and_not_the_fee():
    left, _ = decided(UNREAD, 40, size_bytes=100 << 10)
    assert left.reason is LeftReason.NEVER_PAYS
    assert left.move.saving_usd_per_month == usd(6.675720e-7)  # (100 x 0.023 - 128 x 0.0125) / 1,048,576
    assert left.move.break_even_days == usd(455.6310)  # 0.00001 / 6.675720e-7 x 30.41667, and it stays for 50


def test_an_archive_bills_an_index_beside_the_object():
    move, plan = decided(to("GLACIER"), 40, size_bytes=1 << 20)
    # (1,024 + 32) / 1,048,576 x 0.0036 + 8 / 1,048,576 x 0.023
    assert plan.usd_per_month_after == usd(3.800964e-6)
    assert move.saving_usd_per_month == usd(1.865997e-5)  # 1,024 / 1,048,576 x 0.023 - 3.800964e-6
    assert move.fee_usd == usd(0.00003)  # 0.03 / 1,000
    assert move.break_even_days == usd(48.90148)  # 0.00003 / 1.865997e-5 x 30.41667


def test_an_index_can_weigh_more_than_the_object():
    left, _ = decided(to("GLACIER"), 40, size_bytes=8 << 10)
    assert left.reason is LeftReason.TOO_SMALL
    # (8 x 0.023 - (8 + 32) x 0.0036 - 8 x 0.023) / 1,048,576
    assert left.move.saving_usd_per_month == usd(-1.373291e-7)


def test_old_data_goes_straight_to_the_deepest_archive():
    move, _ = decided(UNREAD, 2_000)
    assert move.to == "DEEP_ARCHIVE"
    assert move.fee_usd == usd(0.00005)  # 0.05 / 1,000
    # 2.30 - 100 x 0.00099 - (32 x 0.00099 + 8 x 0.023) / 1,048,576
    assert move.saving_usd_per_month == usd(2.2009998)


def test_what_comes_to_an_archive_from_instant_retrieval_pays_three_cents_a_gib():
    move, _ = decided(UNREAD, 2_000, "GLACIER_IR")
    assert move.fee_usd == usd(3.00005)  # 0.05 / 1,000 + 100 x 0.03
    assert move.saving_usd_per_month == usd(0.3009998)  # 0.40 - 0.099 - 0.0000002
    assert move.break_even_days == usd(303.1611)  # 3.00005 / 0.3009998 x 30.41667


def test_flexible_retrieval_takes_six_years_to_earn_what_leaving_instant_retrieval_costs():
    steps = (ClassStep(90, "GLACIER_IR"), ClassStep(1_095, "GLACIER"))
    left, _ = decided(Retention(steps, 3_000, reads_per_month=0), 1_100, "GLACIER_IR")
    assert left.reason is LeftReason.NEVER_PAYS
    assert left.move.fee_usd == usd(3.00003)  # 0.03 / 1,000 + 100 x 0.03
    assert left.move.saving_usd_per_month == usd(0.0399997)  # 0.40 - 0.36 - (32 x 0.0036 + 8 x 0.023) / 1,048,576
    assert left.move.break_even_days == pytest.approx(2_281.3, abs=0.1)  # 3.00003 / 0.0399997 x 30.41667


def test_an_archived_object_must_be_restored_before_it_moves_on():
    left, _ = decided(UNREAD, 2_000, "GLACIER")
    assert (left.due, left.reason) == ("DEEP_ARCHIVE", LeftReason.ARCHIVED)
    move, _ = decided(UNREAD, 2_000, "GLACIER", readable_until=midnight(date(2024, 6, 5)))
    assert move.fee_usd == usd(0.00005)  # the copy; what its restore cost is spent
    assert move.saving_usd_per_month == usd(
        0.2610001
    )  # 0.36 + 32 x 0.0036 / 1,048,576 - 0.099 - 32 x 0.00099 / 1,048,576


def test_a_restored_copy_that_is_gone_again_is_archived():
    left, _ = decided(UNREAD, 2_000, "GLACIER", readable_until=midnight(date(2024, 5, 30)))
    assert left.reason is LeftReason.ARCHIVED


def test_an_object_waits_until_its_minimum_duration_is_over():
    left, _ = decided(to("DEEP_ARCHIVE"), 200, "GLACIER_IR", stored_days=30)
    assert left.reason is LeftReason.MINIMUM_DURATION
    assert left.move.penalty_usd == usd(0.789041)  # (90 - 30) / 30.41667 x 100 x 0.004


def test_the_day_on_which_its_minimum_duration_ends_in_the_evening_is_not_over_in_the_morning():
    """A plan is applied at any time of its day, most likely in the night, and what it says is what is billed."""
    left, _ = decided(to("DEEP_ARCHIVE"), 200, "GLACIER_IR", stored_days=89.1)
    assert left.move.penalty_usd == usd(0.0118356)  # (90 - 89.1) / 30.41667 x 100 x 0.004
    assert left.detail == f"it is billed for GLACIER_IR until {AS_OF + timedelta(days=1)} all the same"
    assert decided(to("DEEP_ARCHIVE"), 200, "GLACIER_IR", stored_days=90)[0].to == "DEEP_ARCHIVE"


def test_what_is_deleted_early_pays_the_rest_of_its_minimum_duration():
    removal, _ = decided(Retention(UNREAD.steps, 1_900, 0), 1_900, "DEEP_ARCHIVE", stored_days=90)
    assert removal.penalty_usd == usd(0.2929321)  # (180 - 90) / 30.41667 x (0.099 + 0.0000002)


def test_what_is_read_now_and_then_goes_no_further_than_pays():
    steps = (ClassStep(30, "STANDARD_IA"), ClassStep(90, "GLACIER_IR"))
    move, _ = decided(Retention(steps, None, reads_per_month=0.7), 400)
    assert move.to == "STANDARD_IA"  # GLACIER_IR: 1.90 - 0.7 x 3.00 is a loss
    # 1.05 + 0.7 x 0.0000004 - 0.7 x (0.000001 + 100 x 0.01)
    assert move.saving_usd_per_month == usd(0.34999958)


def test_reading_an_archive_is_weighed_at_its_cheapest_speed():
    move, _ = decided(to("GLACIER", reads_per_month=1), 40)
    assert move.retrieval_usd_per_month == usd(0.0000004)  # 0.0004 / 1,000; Bulk costs nothing
    move, _ = decided(to("DEEP_ARCHIVE", reads_per_month=1), 40)
    assert move.retrieval_usd_per_month == usd(0.2500254)  # 0.0004 / 1,000 + 0.025 / 1,000 + 100 x 0.0025
