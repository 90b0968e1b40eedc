"""What one version of a day says differently from another, in numbers."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ChangeCounts:
    """Rows by their key: only in the new version, only in the old one, in both with other content.

    `symbols_changed` are the symbols of rows in both. `source` and `ingested_at` are no content.
    """

    rows_added: int
    rows_removed: int
    rows_changed: int
    symbols_changed: int

    def document(self) -> dict[str, Any]:
        """The counts as JSON."""
        return asdict(self)
