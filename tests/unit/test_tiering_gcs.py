"""What moving an object of Google Cloud Storage costs and saves, against arithmetic by hand.

Prices are Iowa's: storage 0.020, 0.010, 0.004 and 0.0012 USD for a GiB and month; operations of class A 0.005, 0.01,
0.02 and 0.05, of class B 0.0004, 0.001, 0.01 and 0.05 for a thousand; retrieval 0, 0.01, 0.02 and 0.05 for a GiB. A
month has 365 / 12 = 30.41667 days. Where nothing else is said an object has 100 GiB and nobody reads it.
"""

from datetime import date, timedelta

import pytest
from tiering_world import AS_OF, in_class, planned

from thermocline.model.prices import ClassPrice, PriceBook
from thermocline.model.retention import PRESETS, Retention
from thermocline.model.storage_classes import Provider
from thermocline.model.tiering import LeftReason, Removal

PRICES = PriceBook(
    Provider.GCS,
    "us-central1",
    {
        "STANDARD": ClassPrice(0.02, 0.005, 0.0004),
        "NEARLINE": ClassPrice(0.01, 0.01, 0.001, 0.01),
        "COLDLINE": ClassPrice(0.004, 0.02, 0.01, 0.02),
        "ARCHIVE": ClassPrice(0.0012, 0.05, 0.05, 0.05),
    },
    0.17,
    "by hand",
    date(2026, 11, 27),
)
A = Retention(PRESETS["gcs_a"].steps, 2_555, reads_per_month=0)
B = Retention(PRESETS["gcs_b"].steps, None, reads_per_month=0)


def usd(amount: float):
    """That amount, far beyond the cent."""
    return pytest.approx(amount, rel=1e-5)


def decided(retention: Retention, age_days: int, storage_class: str = "STANDARD", **options):
    """What becomes of one object, and the plan."""
    return planned(PRICES, retention, in_class(storage_class, age_days, **options))


def test_a_month_old_object_goes_to_nearline_for_one_operation_of_nearline():
    move, plan = decided(A, 40)
    assert move.to == "NEARLINE"
    assert move.fee_usd == usd(0.00001)  # 0.01 / 1,000; nothing is billed for what is read out of STANDARD
    assert move.penalty_usd == 0  # it stays for 365 - 40 = 325 days, and 30 are billed at least
    assert move.saving_usd_per_month == usd(1.00)  # 100 x 0.02 - 100 x 0.01
    assert move.break_even_days == usd(0.000304167)  # 0.00001 / 1.00 x 30.41667
    assert (plan.usd_per_month_before, plan.usd_per_month_after) == (usd(2.00), usd(1.00))


def test_an_old_object_skips_a_class_and_pays_one_operation_of_the_last():
    move, _ = decided(A, 400)
    assert move.to == "COLDLINE"
    assert move.fee_usd == usd(0.00002)  # 0.02 / 1,000
    assert move.saving_usd_per_month == usd(1.60)  # 100 x (0.02 - 0.004)


def test_what_is_read_out_of_a_colder_class_is_billed_when_it_moves_on():
    move, _ = decided(A, 400, "NEARLINE")
    assert move.fee_usd == usd(1.00002)  # 0.02 / 1,000 + 100 x 0.01
    assert move.saving_usd_per_month == usd(0.60)  # 100 x (0.01 - 0.004)
    assert move.break_even_days == usd(50.69546)  # 1.00002 / 0.60 x 30.41667


def test_archive_costs_twice_as_much_to_come_to_from_coldline():
    move, _ = decided(B, 400, "COLDLINE")
    assert move.to == "ARCHIVE"
    assert move.fee_usd == usd(2.00005)  # 0.05 / 1,000 + 100 x 0.02
    assert move.saving_usd_per_month == usd(0.28)  # 100 x (0.004 - 0.0012)
    assert move.break_even_days == usd(217.26734)  # 2.00005 / 0.28 x 30.41667


def test_an_object_waits_until_its_minimum_duration_is_over():
    left, plan = decided(A, 400, "NEARLINE", stored_days=10)
    assert left.reason is LeftReason.MINIMUM_DURATION
    assert left.move.penalty_usd == usd(0.65753)  # (30 - 10) / 30.41667 x 100 x 0.01
    assert str(AS_OF + timedelta(days=20)) in left.detail
    assert plan.usd_per_month_after == plan.usd_per_month_before == usd(1.00)
    assert decided(A, 400, "NEARLINE", stored_days=30)[0].to == "COLDLINE"


def test_minimum_duration_of_the_new_class_is_paid_where_that_is_still_less_than_to_stay():
    move, _ = decided(Retention(A.steps, 420, 0), 400)
    # 20 days of STANDARD are 20 / 30.41667 x 2.00 = 1.315 USD; 90 of COLDLINE are 90 / 30.41667 x 0.40 = 1.184.
    assert move.to == "COLDLINE"
    assert move.penalty_usd == usd(0.920548)  # (90 - 20) / 30.41667 x 100 x 0.004
    assert move.break_even_days == usd(17.50038)  # (0.00002 + 0.920548) / 1.60 x 30.41667


def test_a_move_that_is_not_earned_before_the_object_is_deleted_is_none():
    left, _ = decided(Retention(A.steps, 410, 0), 400)
    # 10 days of STANDARD are 0.658 USD; 90 of COLDLINE are 1.184, 30 of NEARLINE are 0.986.
    assert left.reason is LeftReason.NEVER_PAYS
    assert left.move.penalty_usd == usd(1.052055)  # (90 - 10) / 30.41667 x 0.40
    assert left.move.break_even_days == usd(20.00038)  # (0.00002 + 1.052055) / 1.60 x 30.41667


def test_a_move_that_is_not_earned_before_the_next_step_is_none():
    left, _ = decided(B, 85, "STANDARD", size_bytes=100 << 20)
    # NEARLINE for 5 days: 30 are billed all the same.
    assert left.reason is LeftReason.NEVER_PAYS
    assert left.move.penalty_usd == usd(0.00080265)  # (30 - 5) / 30.41667 x 100 / 1,024 x 0.01
    assert left.move.saving_usd_per_month == usd(0.00097656)  # 100 / 1,024 x 0.01


def test_a_small_object_never_earns_its_operation():
    left, _ = decided(A, 40, size_bytes=10 << 10)
    assert left.reason is LeftReason.NEVER_PAYS
    assert left.move.saving_usd_per_month == usd(9.536743e-8)  # 10 x 1,024 / 2^30 x (0.02 - 0.01)
    assert left.move.break_even_days == usd(3_189.419)  # 0.00001 / 9.536743e-8 x 30.41667, and it stays for 325


def test_what_is_read_often_stays():
    left, _ = decided(Retention(A.steps, None, reads_per_month=1), 400)
    assert left.reason is LeftReason.NO_SAVING
    assert left.move.retrieval_usd_per_month == usd(2.00001)  # 0.01 / 1,000 + 100 x 0.02
    assert left.move.saving_usd_per_month == usd(-0.4000096)  # 1.60 + 0.0004 / 1,000 - 2.00001


def test_what_is_read_now_and_then_goes_no_further_than_pays():
    move, _ = decided(Retention(A.steps, None, reads_per_month=0.9), 400)
    assert move.to == "NEARLINE"  # COLDLINE: 1.60 - 0.9 x 2.00 is a loss; NEARLINE: 1.00 - 0.9 x 1.00 is none
    assert move.saving_usd_per_month == usd(0.09999946)  # 2.00 + 0.9 x 0.0000004 - 1.00 - 0.9 x 1.000001
    move, _ = decided(Retention(A.steps, None, reads_per_month=0.5), 400)
    assert move.to == "COLDLINE"
    assert move.saving_usd_per_month == usd(0.5999952)  # 2.00 + 0.5 x 0.0000004 - 0.40 - 0.5 x 2.00001


def test_what_is_deleted_early_pays_the_rest_of_its_minimum_duration():
    removal, plan = decided(A, 2_555, "COLDLINE", stored_days=60)
    assert isinstance(removal, Removal)
    assert removal.age_days == 2_555
    assert removal.freed_usd_per_month == usd(0.40)  # 100 x 0.004
    assert removal.penalty_usd == usd(0.394521)  # (90 - 60) / 30.41667 x 0.40
    assert plan.usd_per_month_after == 0


def test_what_is_about_to_be_brought_together_waits():
    left, _ = decided(A, 40, is_due_for_compaction=True)
    assert left.reason is LeftReason.COMPACT_FIRST


def test_nothing_is_moved_back():
    left, _ = decided(A, 40, "ARCHIVE")
    assert (left.due, left.reason) == ("NEARLINE", LeftReason.COLDER)


def test_retention_waits_for_days_that_something_goes_on_with():
    left, plan = decided(A, 3_000, busy="2016-03-15 is in PostgreSQL")
    assert left.reason is LeftReason.BUSY
    assert plan.usd_per_month_after == usd(2.00)


def test_age_counts_from_the_youngest_day_and_not_from_when_it_was_stored():
    month = in_class("STANDARD", 29, first_age_days=60, stored_days=1_000)
    assert planned(PRICES, A, month)[1].settled == 1
    assert planned(PRICES, A, in_class("STANDARD", 30, stored_days=0.0))[0].to == "NEARLINE"


def test_without_a_policy_everything_stays_in_the_first_class_for_ever():
    assert decided(Retention(), 36_500)[1].settled == 1
