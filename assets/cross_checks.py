"""Cross checks of bars, a check of `lake/market_data` for each rule; none of them stops anything.

One look finds what all of them ask for. A day, or a range of days, has a result for each check, with what was found in
its metadata as a table.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import dagster as dg

from assets.checks import day_check
from assets.days import days_of
from assets.lake import lake_key
from assets.report import LISTED_PARTITIONS, table
from thermocline.model.checks.finding import Finding
from thermocline.model.checks.rules import RULES, Severity
from thermocline.model.datasets import MARKET_DATA, dataset_named
from thermocline.model.partition import midnight
from thermocline.model.query import Query
from thermocline.ports import Hot, Lake
from thermocline.settings import Settings
from thermocline.tasks.check import check
from thermocline.tasks.schemas import applied

_PASSES: Mapping[str, str] = MappingProxyType(
    {
        "jumps": "No close is far from the last one without a known split or dividend.",
        "mixed": "No row is out of line with both of its neighbours.",
        "same_series": "No two symbols have the same prices and volumes.",
        "repeated_day": "No day says what the day before said.",
        "reused_symbol": "No symbol names another instrument than the day before.",
        "restatement": "No restatement of many symbols waits for a person.",
    }
)


def cross_checks(days: dg.DailyPartitionsDefinition) -> dg.AssetChecksDefinition:
    """All of them; those that the settings disable pass and say so."""
    specs = [day_check(name, lake_key(MARKET_DATA), days, _PASSES[name], blocking=False) for name in RULES]

    @dg.multi_asset_check(name="market_data_cross_checks", specs=specs)
    def cross_check(
        context: dg.AssetCheckExecutionContext,
        hot: dg.ResourceParam[Hot],
        lake: dg.ResourceParam[Lake],
        settings: dg.ResourceParam[Settings],
    ) -> Iterator[dg.AssetCheckResult]:
        span = days_of(context, days)
        (bars,) = applied(hot, [dataset_named(MARKET_DATA.name)])
        asked = Query(bars, midnight(span.start), midnight(span.end))
        rules = settings.checks.rules
        done = check(hot, lake, asked, rules)
        chosen = rules.chosen()
        for name in RULES:
            found = [finding for finding in done.findings if finding.rule == name]
            explained = [finding for finding in done.explained if finding.rule == name]
            if name in chosen:
                yield _result(name, rules[name].severity, found, explained, count=done.counts[name], rows=done.rows)
            else:
                yield dg.AssetCheckResult(passed=True, check_name=name, description="disabled by the settings")

    return cross_check


def _result(
    name: str, severity: Severity, found: list[Finding], explained: list[Finding], *, count: int, rows: int
) -> dg.AssetCheckResult:
    grave = dg.AssetCheckSeverity.ERROR if severity is Severity.ERROR else dg.AssetCheckSeverity.WARN
    return dg.AssetCheckResult(
        passed=not count,
        check_name=name,
        severity=grave,
        description="\n".join(f"{each.symbol} {each.ts:%Y-%m-%d}: {each.detail}".strip() for each in found[:5])
        or f"nothing found in {rows:,d} rows",
        metadata={
            "findings": count,
            "rows": rows,
            "offenders": dg.MetadataValue.md(_table(found)),
            "explained": dg.MetadataValue.md(_table(explained)),
        },
    )


def _table(found: list[Finding]) -> str:
    """Findings, one a line, the first fifty of them."""
    listed = table([_line(finding) for finding in found[:LISTED_PARTITIONS]])
    more = len(found) - LISTED_PARTITIONS
    return f"{listed}\n\nand {more} more" if more > 0 else listed


def _line(finding: Finding) -> dict[str, object]:
    return {name: value for name, value in finding.document().items() if name not in {"rule", "severity", "detail"}} | {
        "what": finding.detail
    }
