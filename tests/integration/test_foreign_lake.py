"""A lake that another database's ledger wrote."""

import pyarrow as pa
import pytest

import thermocline
from thermocline.errors import LakeError
from thermocline.model.datasets import MARKET_DATA
from thermocline.settings import load_settings

BAR = pa.table(
    {
        "asset_class": ["equity"],
        "symbol": ["AAPL"],
        "interval": ["1day"],
        "ts": ["2024-01-15"],
        **{name: ["69.13"] for name in ("open", "high", "low", "close")},
    }
)


def test_a_new_database_never_empties_the_table_of_another_one(home, new_database):
    shared = {
        "THERMOCLINE_LAKE_URL": str(home / "lake"),
        "THERMOCLINE_CATALOG_URL": f"sqlite:///{home}/catalog.db",
    }
    with thermocline.open(
        settings=load_settings(home, environ=shared | {"THERMOCLINE_HOT_URL": new_database("embedded")})
    ) as one:
        one.save("market_data", BAR)
        paths = one.lake.paths(MARKET_DATA)
    with thermocline.open(
        settings=load_settings(home, environ=shared | {"THERMOCLINE_HOT_URL": new_database("embedded")})
    ) as two:
        with pytest.raises(LakeError, match="the database that wrote them"):
            two.save("market_data", BAR)
        assert two.lake.paths(MARKET_DATA) == paths != frozenset()
