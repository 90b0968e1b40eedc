"""Rows that are counted on their way into hot."""

from collections.abc import Iterable, Iterator

import pyarrow as pa

from thermocline.errors import FingerprintMismatchError
from thermocline.model.dataset import Dataset
from thermocline.model.fingerprint import Fingerprinter
from thermocline.model.receipt import Receipt


class Counted:
    """Batches that are fingerprinted as they pass by."""

    def __init__(self, dataset: Dataset, batches: Iterable[pa.RecordBatch]) -> None:
        """Take batches that are about to go in."""
        self._fingerprinter = Fingerprinter(dataset)
        self._batches = batches

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """The batches."""
        for batch in self._batches:
            self._fingerprinter.update(batch)
            yield batch

    def check(self, receipt: Receipt) -> None:
        """Compare what has passed by with its receipt.

        Raises:
            FingerprintMismatchError: It differs.
        """
        if differences := receipt.contents.differences(self._fingerprinter.contents()):
            msg = (
                f"{receipt.path} is not what its receipt says ({'; '.join(differences)}); nothing was loaded. "
                f"`thermocline verify {receipt.partition.dataset}` names every such object"
            )
            raise FingerprintMismatchError(msg)
