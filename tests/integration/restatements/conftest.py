"""Two days of twenty symbols, as a first backfill left them."""

import pytest
from restated import ALL, DAY, NEXT, Bars

import thermocline
from thermocline.settings import load_settings


@pytest.fixture
def opened(home, new_database):
    settings = load_settings(home, environ={"THERMOCLINE_HOT_URL": new_database("embedded")})
    with thermocline.open(settings=settings) as opened:
        opened.backfill("market_data", source=Bars(ALL, "1", DAY, NEXT))
        yield opened
