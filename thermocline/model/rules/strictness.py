"""How strictly rules are taken: of all datasets, of one, of a single rule, or for one run."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Self

from thermocline.model.dataset import Dataset
from thermocline.model.rules.declared import rules_of
from thermocline.model.rules.rule import Rule, Severity


class Strictness(StrEnum):
    """How rules are taken as a whole. Types, nulls and keys hold always."""

    STRICT = "strict"  # as each rule is declared: rows that break one go to quarantine
    WARN = "warn"  # such rows go in, counted and named
    OFF = "off"  # nobody looks

    def of(self, severity: Severity) -> Severity:
        """What becomes of a rule of that severity."""
        if self is Strictness.OFF:
            return Severity.OFF
        return Severity.WARN if self is Strictness.WARN and severity is Severity.REJECT else severity


@dataclass(frozen=True)
class Rulebook:
    """The rules of one dataset as they are taken, and how many bad rows a batch may have.

    A batch stops where more than `max_bad_share` of its rows may not go in, and `min_bad_rows` of them at least.
    """

    rules: tuple[tuple[Rule, Severity], ...] = ()
    max_bad_share: float = 1.0
    min_bad_rows: int = 1

    def stops(self, bad_rows: int, rows: int) -> bool:
        """Whether so many bad rows of so many are too many."""
        return bad_rows >= self.min_bad_rows and bad_rows > self.max_bad_share * rows

    def severity(self, name: str) -> Severity:
        """How the rule of that name is taken; off where the dataset has none."""
        return next((severity for rule, severity in self.rules if rule.name == name), Severity.OFF)


LENIENT = Rulebook()
"""No rule, and any number of bad rows."""


@dataclass(frozen=True)
class Validation:
    """The settings: overall, and where single datasets differ. `rules` maps a dataset to its rules that differ."""

    strictness: Strictness = Strictness.STRICT
    max_bad_share: float = 0.2
    min_bad_rows: int = 100
    strictness_of: Mapping[str, Strictness] = field(default_factory=dict)
    max_bad_share_of: Mapping[str, float] = field(default_factory=dict)
    rules: Mapping[str, Mapping[str, Severity]] = field(default_factory=dict)
    run_strictness: Strictness | None = None

    def for_run(self, strictness: Strictness | str | None, max_bad_share: float | None) -> Self:
        """The same with what was said for one run, which goes before everything else."""
        said = replace(self, run_strictness=None if strictness is None else Strictness(strictness))
        return said if max_bad_share is None else replace(said, max_bad_share=max_bad_share, max_bad_share_of={})

    def rulebook(self, dataset: Dataset) -> Rulebook:
        """What holds for a dataset: a rule's own setting, else the dataset's strictness, else the overall one.

        The strictness of a run tempers all of them.
        """
        name = dataset.name
        taken = []
        for rule in rules_of(dataset):
            severity = self.rules.get(name, {}).get(rule.name)
            if severity is None:
                severity = self.strictness_of.get(name, self.strictness).of(rule.severity)
            if self.run_strictness:
                severity = self.run_strictness.of(severity)
            taken.append((rule, severity))
        return Rulebook(tuple(taken), self.max_bad_share_of.get(name, self.max_bad_share), self.min_bad_rows)


def wrong_rules(dataset: Dataset, rules: Mapping[str, Severity]) -> list[str]:
    """What is wrong with settings of a dataset's rules: names that it does not have, severities that can't be."""
    known = {rule.name: rule for rule in rules_of(dataset)}
    wrong = [f"{dataset.name} has no rule {name!r}; it has {', '.join(known)}" for name in rules if name not in known]
    return wrong + [
        f"rule {name} of {dataset.name} is one of {', '.join(known[name].allowed)}, not {severity}"
        for name, severity in rules.items()
        if name in known and severity not in known[name].allowed
    ]
