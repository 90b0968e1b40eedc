"""What writing an object of a local lake anew with stronger compression saves, against arithmetic by hand."""

from datetime import date

import pytest
from tiering_world import in_class, planned

from thermocline.model.prices import ClassPrice, PriceBook
from thermocline.model.retention import PRESETS
from thermocline.model.storage_classes import Provider

PRICES = PriceBook(
    Provider.LOCAL,
    "disk",
    {"WARM": ClassPrice(0.08), "COMPRESSED": ClassPrice(0.08, size_factor=0.9)},
    0.08,
    "by hand",
    date(2026, 11, 27),
)


def test_an_old_object_saves_what_compression_takes_off_it():
    move, plan = planned(PRICES, PRESETS["local"], in_class("WARM", 90))
    assert (move.to, move.fee_usd, move.penalty_usd) == ("COMPRESSED", 0, 0)
    assert move.saving_usd_per_month == pytest.approx(0.80)  # 100 x 0.08 - 90 x 0.08
    assert (plan.usd_per_month_before, plan.usd_per_month_after) == (pytest.approx(8.00), pytest.approx(7.20))


def test_what_is_compressed_already_costs_what_it_has():
    _, plan = planned(PRICES, PRESETS["local"], in_class("COMPRESSED", 90))
    assert plan.settled == 1
    assert plan.usd_per_month_before == pytest.approx(8.00)  # its 100 GiB are those that are there: 100 x 0.08
