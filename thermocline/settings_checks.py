"""What thermocline.yaml says of cross checks: a section for each rule, with the model's defaults."""

from typing import Annotated

from pydantic import AfterValidator, Field

from thermocline.errors import UsageError
from thermocline.model.checks.rules import (
    Acknowledged,
    CheckRules,
    JumpRule,
    MixedRule,
    RepeatedDayRule,
    RestatementFoundRule,
    ReusedSymbolRule,
    SameSeriesRule,
    Severity,
)
from thermocline.settings_values import LONGEST_WINDOW_DAYS, Count, Move, Schedule, Section, Share

_DEFAULT = CheckRules()


def _finding(text: str) -> str:
    try:
        Acknowledged.parse(text)
    except UsageError as error:
        raise ValueError(str(error)) from None
    return text


Finding = Annotated[str, AfterValidator(_finding)]


class JumpSettings(Section):
    """When a close is far from the last one, and what counts as its reason."""

    enabled: bool = _DEFAULT.jumps.enabled
    severity: Severity = _DEFAULT.jumps.severity
    threshold: Move = _DEFAULT.jumps.threshold
    tolerance: Share = _DEFAULT.jumps.tolerance
    turnover: Annotated[float, Field(ge=1)] = _DEFAULT.jumps.turnover


class MixedSettings(Section):
    """When a row is out of line with its neighbours."""

    enabled: bool = _DEFAULT.mixed.enabled
    severity: Severity = _DEFAULT.mixed.severity
    threshold: Move = _DEFAULT.mixed.threshold
    agreement: Share = _DEFAULT.mixed.agreement


class SameSeriesSettings(Section):
    """How many equal rows make two series the same."""

    enabled: bool = _DEFAULT.same_series.enabled
    severity: Severity = _DEFAULT.same_series.severity
    rows: Annotated[Count, Field(ge=2)] = _DEFAULT.same_series.rows


class RepeatedDaySettings(Section):
    """How many series must repeat their day before for it to be the whole feed."""

    enabled: bool = _DEFAULT.repeated_day.enabled
    severity: Severity = _DEFAULT.repeated_day.severity
    symbols: Annotated[Count, Field(ge=1)] = _DEFAULT.repeated_day.symbols
    share: Share = _DEFAULT.repeated_day.share


class ReusedSymbolSettings(Section):
    """How long a symbol must have been away to be another's, and how far its price must have moved."""

    enabled: bool = _DEFAULT.reused_symbol.enabled
    severity: Severity = _DEFAULT.reused_symbol.severity
    gap_days: Annotated[Count, Field(ge=1)] = _DEFAULT.reused_symbol.gap_days
    threshold: Move = _DEFAULT.reused_symbol.threshold


class RestatementSettings(Section):
    """Whether held restatements are findings. When they are held is said under `storage.lifecycle.restatements`."""

    enabled: bool = _DEFAULT.restatement.enabled
    severity: Severity = _DEFAULT.restatement.severity


class NightlyChecks(Section):
    """When Dagster checks by itself, and how many of the last days; in the time zone of the rotation."""

    enabled: bool = True
    schedule: Schedule = "30 5 * * *"
    days: Annotated[Count, Field(ge=1, le=LONGEST_WINDOW_DAYS)] = 7


class CheckSettings(Section):
    """What `thermocline check` and Dagster's check of bars look for."""

    look_back_days: Annotated[Count, Field(ge=1, le=LONGEST_WINDOW_DAYS)] = _DEFAULT.look_back_days
    acknowledged: tuple[Finding, ...] = ()
    nightly: NightlyChecks = NightlyChecks()
    jumps: JumpSettings = JumpSettings()
    mixed: MixedSettings = MixedSettings()
    same_series: SameSeriesSettings = SameSeriesSettings()
    repeated_day: RepeatedDaySettings = RepeatedDaySettings()
    reused_symbol: ReusedSymbolSettings = ReusedSymbolSettings()
    restatement: RestatementSettings = RestatementSettings()

    @property
    def rules(self) -> CheckRules:
        """The rules as the model takes them."""
        return CheckRules(
            look_back_days=self.look_back_days,
            acknowledged=frozenset(map(Acknowledged.parse, self.acknowledged)),
            jumps=JumpRule(**dict(self.jumps)),
            mixed=MixedRule(**dict(self.mixed)),
            same_series=SameSeriesRule(**dict(self.same_series)),
            repeated_day=RepeatedDayRule(**dict(self.repeated_day)),
            reused_symbol=ReusedSymbolRule(**dict(self.reused_symbol)),
            restatement=RestatementFoundRule(**dict(self.restatement)),
        )
