"""The columns of conformed rows as numpy sees them, without copying where that can be done."""

from collections.abc import Mapping
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from thermocline.model.parsing.times import microseconds

Mask = npt.NDArray[np.bool_]
Words = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_WORDS_OF_A_DECIMAL = 2


class Rows:
    """The columns that rules look at, in their dataset's types; `now` is the instant at which the rows are accepted."""

    def __init__(self, arrays: Mapping[str, pa.Array], now: datetime) -> None:
        """Take columns, each in one piece."""
        self._arrays = arrays
        self._words: dict[str, Words] = {}
        self._numbers: dict[str, Floats] = {}
        self.now = microseconds(now)

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self._arrays["ts"])

    def array(self, name: str) -> pa.Array:
        """The column as it is."""
        return self._arrays[name]

    def price(self, name: str) -> Words:
        """A price as so many hundred-millionths, exact; what stands where it is null means nothing.

        A price has 18 digits at most, so that the lower of a decimal's two 64-bit words holds it with its sign.
        """
        if name not in self._words:
            array = self._arrays[name]
            words = np.frombuffer(array.buffers()[1] or b"", dtype="<i8").reshape(-1, _WORDS_OF_A_DECIMAL)
            self._words[name] = words[array.offset : array.offset + len(array), 0]
        return self._words[name]

    def number(self, name: str) -> Floats:
        """A float, an integer or a decimal as a float; NaN where it is null, so that no comparison holds."""
        if name not in self._numbers:
            array = self._arrays[name]
            floats = array if pa.types.is_float64(array.type) else array.cast(pa.float64(), safe=False)
            self._numbers[name] = floats.to_numpy(zero_copy_only=False)
        return self._numbers[name]

    def ticks(self, name: str = "ts") -> Words:
        """A time in microseconds since 1970; 0 where it is null."""
        if name not in self._words:
            ticks = self._arrays[name].cast(pa.int64())
            self._words[name] = (ticks.fill_null(0) if ticks.null_count else ticks).to_numpy(zero_copy_only=False)
        return self._words[name]

    def days(self, name: str) -> Words:
        """A date in days since 1970; 0 where it is null."""
        days: Words = self._arrays[name].cast(pa.int32()).cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
        return days

    def where_known(self, mask: Mask, *names: str) -> Mask:
        """The mask without the rows where one of the columns is null."""
        for name in names:
            if self._arrays[name].null_count:
                mask = mask & np.asarray(self._arrays[name].is_valid())
        return mask
