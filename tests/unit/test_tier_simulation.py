"""What a lake costs over years, against arithmetic by hand.

Prices are Iowa's: STANDARD 0.020 and NEARLINE 0.010 USD for a GiB and month, an operation 0.005 and 0.01 for a thousand
and 0.0004 to read from STANDARD. A GiB comes every day, which is 15 in PostgreSQL at 0.17. A month has 365 / 12 days.
"""

from datetime import date

import pytest

from thermocline.model.prices import GIB, ClassPrice, PriceBook
from thermocline.model.retention import PRESETS, ClassStep, Retention, RetentionPolicy
from thermocline.model.storage_classes import Provider
from thermocline.model.tier_simulation import Growth, Stream, simulate
from thermocline.model.tiering import TieredObject
from thermocline.settings_retention import load_prices
from thermocline.tasks.tiered import Surveyed
from thermocline.tasks.tiers import growth_of

PRICES = PriceBook(
    Provider.GCS,
    "us-central1",
    {"STANDARD": ClassPrice(0.02, 0.005, 0.0004), "NEARLINE": ClassPrice(0.01, 0.01, 0.001, 0.01)},
    0.17,
    "by hand",
    date(2026, 11, 27),
)
GROWTH = Growth([Stream("news", GIB)], date(2027, 1, 1), 1)


def usd(amount: float):
    return pytest.approx(amount, rel=1e-5)


def test_a_day_costs_from_the_day_on_which_it_comes():
    january = simulate(GROWTH, RetentionPolicy(Retention((), None, 0)), PRICES)
    month = january.policy[0]
    assert month.gib_months == usd(16.306849)  # 31 + 30 + … + 1 = 496 GiB days / 30.41667
    assert month.storage_usd == usd(0.32613699)  # x 0.02
    assert month.request_usd == usd(0.00016)  # 31 days and the month in one object: 32 x 0.005 / 1,000
    assert (month.transition_usd, month.penalty_usd, month.retrieval_usd) == (0, 0, 0)
    assert january.postgres[0].usd == usd(41.582466)  # 16.306849 x 15 x 0.17
    assert (month.bytes_kept, month.objects) == (31 * GIB, 1)
    assert january.first_class == january.policy


def test_months_move_on_the_first_day_on_which_all_of_their_days_are_due():
    policy = RetentionPolicy(Retention((ClassStep(30, "NEARLINE"),), None, 0))
    simulated = simulate(GROWTH, policy, PRICES)
    _, _, march, april, *_ = simulated.policy
    assert march.transition_usd == 0  # on 1 March January's last day is 29 days old
    assert april.transition_usd == usd(0.00002)  # January and February: 2 x 0.01 / 1,000
    # (31 + 28) x 0.01 and March's 31 x 0.02, for 30 days; of April 30 + 29 + … + 1 = 465 GiB days x 0.02
    assert april.storage_usd == usd(1.4991781)
    # 31 + 28 + 31 = 90 x 0.02 for 30 days, and April's
    assert simulated.first_class[3].storage_usd == usd(2.0810959)


def test_every_way_of_keeping_deletes_and_reads_alike():
    simulated = simulate(GROWTH, RetentionPolicy(Retention((), 60, reads_per_month=2)), PRICES)
    kept = [month.bytes_kept // GIB for month in simulated.policy]
    assert kept[:5] == [31, 59, 90, 28 + 31 + 30, 31 + 30 + 31]  # on 1 April January's last day is 60 days old
    assert [month.bytes_kept // GIB for month in simulated.postgres] == kept
    # 2 reads of a day for as long as it is there: 496 days' worth of objects / 30.41667 x 0.0004 / 1,000
    assert simulated.policy[0].retrieval_usd == usd(1.3045479e-5)


def test_a_day_s_bytes_grow_over_the_years():
    growth = Growth([Stream("news", GIB, growth_per_year=1.0)], date(2027, 1, 1), 2)
    months = simulate(growth, RetentionPolicy(), PRICES).policy
    assert months[12].bytes_kept - months[11].bytes_kept == pytest.approx(2 * months[0].bytes_kept, rel=1e-6)


def test_what_is_drawn_and_told_are_the_same_months():
    simulated = simulate(GROWTH, RetentionPolicy(), PRICES)
    document = simulated.document()
    assert list(document["total_usd"]) == ["policy", "first_class", "postgres"]
    assert document["months"][11]["month"] == "2027-12"
    assert document["total_usd"]["postgres"] == usd(sum(usd_ for _, usd_ in simulated.series["PostgreSQL"]))
    assert document["total_usd"]["policy"] == usd(sum(month["policy_usd"] for month in document["months"]))


@pytest.mark.parametrize(("preset", "provider"), [("gcs_b", Provider.GCS), ("s3", Provider.S3)])
def test_ten_years_of_three_streams_pay(preset, provider):
    streams = [
        Stream("market_data", 2_340_000, "1min"),
        Stream("market_data", 6_000, "1day"),
        Stream("news", 60_000_000),
    ]
    simulated = simulate(Growth(streams, date(2027, 1, 1), 10), RetentionPolicy(PRESETS[preset]), load_prices(provider))
    total = simulated.document()["total_usd"]
    assert total["policy"] < total["first_class"] < total["postgres"]


def test_a_lake_grows_as_its_compacted_objects_did_where_there_are_any():
    def lying(first, last, size_bytes):
        return TieredObject("news", "", f"{first}", "STANDARD", size_bytes, first, last, None)

    days = [lying(date(2026, 3, number), date(2026, 3, number), 3_000) for number in range(1, 11)]
    month = lying(date(2026, 2, 1), date(2026, 2, 28), 2_800)
    old = lying(date(2024, 1, 1), date(2024, 1, 31), 31_000_000)

    def a_day(*objects):
        growth = growth_of(Surveyed(list(objects), {}, {}, [], []), begin=date(2026, 4, 1), years=1)
        return [(stream.dataset, stream.bytes_per_day) for stream in growth.streams]

    assert a_day(*days) == [("news", 3_000)]  # 30,000 bytes in ten days
    assert a_day(*days, month, old) == [("news", 100)]  # 2,800 bytes in 28 days; what is older than a year says nothing
