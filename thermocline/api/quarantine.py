"""Verbs that speak of rows which may not go in."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

from thermocline.api.opened import Opened, new_run_id
from thermocline.arguments import Day, Instant, as_datasets, as_instant
from thermocline.errors import UsageError
from thermocline.model.datasets import DATASETS
from thermocline.model.rejected import ALWAYS
from thermocline.model.rules import Rule, Severity, rules_of
from thermocline.ports import Quarantined, QuarantineGroup, QuarantineQuery, QuarantineState
from thermocline.tasks.quarantine import Judgement, apply_judgement, plan_drop, plan_release, rows_asked_for


class Quarantining(Opened):
    """Verbs that speak of rows which may not go in."""

    def quarantine_list(
        self,
        datasets: Collection[str] = (),
        *,
        sources: Collection[str] = (),
        rules: Collection[str] = (),
        states: Collection[str] = ("kept",),
    ) -> list[QuarantineGroup]:
        """How many rows are in quarantine, by dataset, source, the rules that they break and their state.

        Args:
            datasets: Of these, of all when empty.
            sources: Only from these.
            rules: Only rows that break one of these: a rule, or `types`, `nulls`, `keys`, `unreadable`.
            states: `kept`, `released` or `dropped`; all when empty.
        """
        return self.hot.quarantine_groups(_asked(datasets, sources, rules, (), states))

    def quarantine_show(
        self,
        datasets: Collection[str] = (),
        *,
        ids: Collection[int] = (),
        sources: Collection[str] = (),
        rules: Collection[str] = (),
        states: Collection[str] = (),
        limit: int | None = None,
    ) -> list[Quarantined]:
        """Rows in quarantine, each as it came, with its reasons, where it came from, and what was said of it.

        Args:
            datasets: Of these, of all when empty.
            ids: Only these.
            sources: Only from these.
            rules: Only rows that break one of these.
            states: Only in these, in any when empty.
            limit: At most so many.

        Raises:
            UsageError: An id is that of none.
        """
        return list(rows_asked_for(self.hot, _asked(datasets, sources, rules, ids, states, limit=limit)))

    def plan_quarantine_release(
        self,
        datasets: Collection[str] = (),
        *,
        ids: Collection[int] = (),
        sources: Collection[str] = (),
        rules: Collection[str] = (),
        accept: bool = False,
        corrections: Mapping[str, str] | None = None,
        reason: str = "",
        run_id: str | None = None,
    ) -> Judgement:
        """Which rows `quarantine_release` would let in, and why others stay; changes nothing."""
        return plan_release(
            self.hot,
            self.lake,
            _named(datasets, sources, rules, ids),
            self.settings.validation_rules,
            accept=accept,
            corrections=corrections or {},
            why=reason,
            now=datetime.now(UTC),
            run_id=run_id or new_run_id(),
        )

    def quarantine_release(
        self,
        datasets: Collection[str] = (),
        *,
        ids: Collection[int] = (),
        sources: Collection[str] = (),
        rules: Collection[str] = (),
        accept: bool = False,
        corrections: Mapping[str, str] | None = None,
        reason: str = "",
        as_of: Day | None = None,
        run_id: str | None = None,
    ) -> Judgement:
        """Send rows through the gate again, with the rules as they are now, and accept those that pass, once.

        Args:
            datasets: Rows of these.
            ids: Only these rows.
            sources: Only from these.
            rules: Only rows that break one of these.
            accept: Let rows in that break rules, or have the key of a row that is in, which they replace. What breaks
                the schema stays out all the same.
            corrections: Values that columns of each row get first.
            reason: Why, for those who ask later.
            as_of: Today, for deciding what may be hot.
            run_id: Named in the audit log; made up when None.

        Raises:
            UsageError: Nothing says which rows, or an id is that of none.
            StaleStateError: Somebody else has judged one of them meanwhile.
        """
        plan = self.plan_quarantine_release(
            datasets,
            ids=ids,
            sources=sources,
            rules=rules,
            accept=accept,
            corrections=corrections,
            reason=reason,
            run_id=run_id,
        )
        return self.apply_judgement(plan, as_of=as_of)

    def plan_quarantine_drop(
        self,
        datasets: Collection[str] = (),
        *,
        reason: str,
        ids: Collection[int] = (),
        sources: Collection[str] = (),
        rules: Collection[str] = (),
        run_id: str | None = None,
    ) -> Judgement:
        """Which rows `quarantine_drop` would drop; changes nothing."""
        asked = _named(datasets, sources, rules, ids)
        return plan_drop(self.hot, asked, why=reason, run_id=run_id or new_run_id())

    def quarantine_drop(
        self,
        datasets: Collection[str] = (),
        *,
        reason: str,
        ids: Collection[int] = (),
        sources: Collection[str] = (),
        rules: Collection[str] = (),
        run_id: str | None = None,
    ) -> Judgement:
        """Say of rows that they shall never go in. They stay listed as dropped, and so they do when they come again.

        Raises:
            UsageError: Nothing says which rows, or an id is that of none.
            StaleStateError: Somebody else has judged one of them meanwhile.
        """
        plan = self.plan_quarantine_drop(datasets, reason=reason, ids=ids, sources=sources, rules=rules, run_id=run_id)
        return self.apply_judgement(plan)

    def apply_judgement(self, plan: Judgement, *, as_of: Day | None = None) -> Judgement:
        """Do exactly what a plan says.

        Raises:
            StaleStateError: Somebody else has judged one of its rows since it was made.
        """
        return apply_judgement(self.hot, plan, self.settings.lifecycle, as_of=self._as_of(as_of))

    def quarantine_purge(self, datasets: Collection[str] = (), *, before: Instant, run_id: str | None = None) -> int:
        """Delete rows that were released or dropped before a day or instant, and return how many they were."""
        asked = _asked(datasets, (), (), (), ("released", "dropped"))
        return self.hot.purge(asked, before=as_instant(before), run_id=run_id or new_run_id())

    def validation_rules(self, datasets: Collection[str] = ()) -> dict[str, Sequence[tuple[Rule, Severity]]]:
        """The rules of datasets, of all when none is named, as they are taken."""
        return {dataset.name: self._rulebook(dataset).rules for dataset in self._datasets(datasets)}


def _named(
    datasets: Collection[str], sources: Collection[str], rules: Collection[str], ids: Collection[int]
) -> QuarantineQuery:
    if not (datasets or sources or rules or ids):
        msg = "say which rows are meant: a dataset, a source, a rule or ids; nothing was changed"
        raise UsageError(msg)
    return _asked(datasets, sources, rules, ids, ("kept",))


def _asked(
    datasets: Collection[str],
    sources: Collection[str],
    rules: Collection[str],
    ids: Collection[int],
    states: Collection[str],
    *,
    limit: int | None = None,
) -> QuarantineQuery:
    unknown = sorted(set(states) - set(QuarantineState))
    if unknown:
        msg = f"a row in quarantine is {', '.join(QuarantineState)}, not {unknown[0]!r}"
        raise UsageError(msg)
    chosen = as_datasets(datasets) if datasets else ()
    known = {rule.name for dataset in chosen or DATASETS.values() for rule in rules_of(dataset)}
    if strange := sorted({*rules} - known - {*ALWAYS}):
        msg = f"no rule is called {strange[0]!r}; there are {', '.join([*sorted(known), *ALWAYS])}"
        raise UsageError(msg)
    return QuarantineQuery(chosen, sources, rules, [QuarantineState(state) for state in states], ids, limit)
