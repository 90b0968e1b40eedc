"""The verb for when a database or a table is lost."""

from collections.abc import Collection

from thermocline.api.opened import Opened, new_run_id
from thermocline.ports import SILENT, Progress
from thermocline.tasks.recover import Recovered, Recovery


class Recovering(Opened):
    """The verb for when a database or a table is lost."""

    def recover(
        self,
        datasets: Collection[str] = (),
        *,
        dry_run: bool = False,
        verify: bool = False,
        progress: Progress = SILENT,
        run_id: str | None = None,
    ) -> Recovered:
        """Rebuild catalog and ledger from the lake alone, or a broken table from the ledger; look at `is_whole` after.

        A dataset whose ledger and table are there is left as it is. Rows that were in PostgreSQL alone, because no
        rotation had archived them yet, are not in the lake and do not come back.

        Args:
            datasets: These, or all.
            dry_run: Only say what would be rebuilt; changes nothing.
            verify: Read every object whole and compare it with its receipt, instead of comparing sizes.
            progress: Told how far it is.
            run_id: Named in the journal and the audit log; made up when None.
        """
        recovery = Recovery(self.hot, self.lake, run_id or new_run_id(), dry_run, verify, progress)
        return recovery.run(self._datasets(datasets))
