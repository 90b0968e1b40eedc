"""The verb that derives rows from rows."""

from collections.abc import Callable, Collection
from datetime import UTC, datetime

from thermocline.api.opened import Opened, new_run_id
from thermocline.arguments import Day, as_days
from thermocline.errors import UsageError
from thermocline.model.datasets import FEATURES
from thermocline.model.report import Moved
from thermocline.ports import SILENT, Progress
from thermocline.tasks.derive import Derive, Derived


class Deriving(Opened):
    """The verb that derives rows from rows."""

    def derive(
        self,
        dataset: str = "features",
        *,
        start: Day | None = None,
        end: Day | None = None,
        symbols: Collection[str] = (),
        full: bool = False,
        as_of: Day | None = None,
        progress: Progress = SILENT,
        on_published: Callable[[Moved], None] = lambda _: None,
        run_id: str | None = None,
    ) -> Derived:
        """Derive indicators (RSI, moving averages, volatility, beta) from the daily bars of market_data.

        Only days are derived whose bars or splits, or whose rows, changed since they were last; a day that says nothing
        new is not written. Columns of other sources, such as `market_cap`, stay as they are.

        Args:
            dataset: What is derived; there is `features`.
            start: The first day; everything there are bars of when None.
            end: The first day no more.
            symbols: Only these, all when empty; their days stay due for the others.
            full: Every day, changed or not.
            as_of: Today, for deciding what may be hot.
            progress: Told how far it is.
            on_published: Called for each partition once it is committed.
            run_id: Named in receipts and the audit log; made up when None.

        Raises:
            UsageError: The dataset is not derived from others.
        """
        if self._dataset(dataset).name != FEATURES.name:
            msg = f"{dataset} is not derived from other datasets; {FEATURES.name} is"
            raise UsageError(msg)
        own = self.settings.features
        derive = Derive(
            self.hot,
            self.lake,
            self._spools,
            self.settings.lifecycle,
            as_of=self._as_of(as_of),
            now=datetime.now(UTC),
            run_id=run_id or new_run_id(),
            benchmark=(own.benchmark_asset_class, own.benchmark),
            progress=progress,
            on_published=on_published,
        )
        return derive.run(as_days(start, end), symbols=symbols, full=full)
