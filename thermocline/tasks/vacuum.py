"""VACUUM (ANALYZE) what stays hot, and say what it reclaimed."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from thermocline.model.dataset import Dataset
from thermocline.ports import SILENT, Act, Hot, Progress, Vacuumed


@dataclass
class VacuumReport:
    """What VACUUM did, table by table."""

    run_id: str
    tables: list[Vacuumed] = field(default_factory=list)

    @property
    def reclaimed_bytes(self) -> int:
        """How much smaller the tables are now; what became free inside them for new rows is not counted."""
        return sum(max(0, table.bytes_before - table.bytes_after) for table in self.tables)

    def document(self) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "run_id": self.run_id,
            "reclaimed_bytes": self.reclaimed_bytes,
            "dead_rows": sum(table.dead_rows for table in self.tables),
            "tables": [asdict(table) for table in self.tables],
        }


def vacuum(
    hot: Hot, datasets: Sequence[Dataset], *, run_id: str, force: bool = False, progress: Progress = SILENT
) -> VacuumReport:
    """Vacuum each day's table where a tenth of its rows is dead or it has no statistics; all of them with `force`."""
    report = VacuumReport(run_id)
    progress.begin("vacuuming", len(datasets))
    for dataset in datasets:
        tables = hot.vacuum(dataset, force=force)
        report.tables += tables
        if tables:
            detail = {"dataset": dataset.name, "tables": len(tables), "dead_rows": sum(t.dead_rows for t in tables)}
            hot.record(Act("vacuum", None, run_id, detail))
        progress.advance()
    return report
