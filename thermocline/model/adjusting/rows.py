"""Raw bars in, adjusted bars out, a batch at a time."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from thermocline.errors import AdjustmentError
from thermocline.model.adjusting.factors import Adjustment
from thermocline.model.adjusting.products import Multipliers
from thermocline.model.dataset import Dataset
from thermocline.model.instruments import ZoneOf
from thermocline.model.series import Series, series_of, ticks

PRICES = ("open", "high", "low", "close", "vwap")
VOLUME = "volume"


class RowAdjuster:
    """Multiplies prices and volumes by the factors of their symbol and day. It keeps the factors, and no row."""

    def __init__(self, adjustment: Adjustment, dataset: Dataset, *, zone_of: ZoneOf) -> None:
        """Take the factors; `zone_of` says where days begin for bars shorter than a day."""
        self._adjustment = adjustment
        self._dataset = dataset
        self._zone_of = zone_of
        self._known: dict[Series, tuple[npt.NDArray[np.int64], int]] = {}
        self._prices = Multipliers()
        self._volumes: list[float] = [1.0]

    def adjusted(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with its prices and volumes adjusted; it holds the columns that tell series apart.

        Raises:
            AdjustmentError: An adjusted price does not fit into a price.
        """
        which = np.zeros(len(batch), dtype=np.int64)
        instants = ticks(batch)
        for series, rows in series_of(batch, self._dataset):
            edges, first = self._factors(series)
            which[rows] = first + np.searchsorted(edges, instants[rows], side="right")
        if not which.any():
            return batch
        for name in PRICES:
            if name in batch.schema.names:
                batch = self._with(batch, name, self._multiplied(batch, name, which))
        if VOLUME in batch.schema.names:
            volumes = pc.multiply(batch.column(VOLUME), pa.array(np.array(self._volumes)[which]))
            batch = self._with(batch, VOLUME, volumes)
        return batch

    def _multiplied(self, batch: pa.RecordBatch, name: str, which: npt.NDArray[np.int64]) -> pa.Array:
        try:
            return self._prices.products(batch.column(name), which)
        except OverflowError as error:
            symbols = pc.unique(batch.column(self._dataset.symbol_column)).to_pylist()
            msg = (
                f"an adjusted {name} is too large for a price, among {', '.join(symbols[:5])}: {error}; nothing was "
                "changed. Look at the splits of these symbols, or query the raw prices"
            )
            raise AdjustmentError(msg) from error

    @staticmethod
    def _with(batch: pa.RecordBatch, name: str, column: pa.Array) -> pa.RecordBatch:
        number = batch.schema.get_field_index(name)
        arrays = [*batch.columns[:number], column, *batch.columns[number + 1 :]]
        return pa.RecordBatch.from_arrays(arrays, schema=batch.schema)

    def _factors(self, series: Series) -> tuple[npt.NDArray[np.int64], int]:
        """The instants at which the series' factor changes, and the number of the first factor."""
        if series not in self._known:
            steps = self._adjustment.steps(series.asset_class, series.symbol)
            edges = np.array([series.begins(day, self._zone_of) for day in steps.edges], dtype=np.int64)
            if len(steps.factors) == 1 and steps.factors[0].price == 1:
                self._known[series] = edges, 0
            else:
                self._known[series] = edges, len(self._prices)
                self._prices.add([each.price for each in steps.factors])
                self._volumes += [float(each.volume) for each in steps.factors]
        return self._known[series]
