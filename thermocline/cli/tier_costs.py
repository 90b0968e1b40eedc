"""What a simulation of storage classes says, for a terminal and as a picture."""

from collections.abc import Sequence
from itertools import accumulate

from thermocline.cli.charts import bars
from thermocline.cli.words import Number, Size, Table, usd
from thermocline.model.charts import lines_svg
from thermocline.model.tier_simulation import MonthCost, Simulation

TITLE = "What the lake costs, added up"
_NAMES = ("by the policy", "all in the first class", "all in PostgreSQL")
_COLOURS = ("green", "yellow", "red")


def told(simulated: Simulation) -> tuple[Table | str, ...]:
    """The costs of each year, and a bar for each way of keeping the rows."""
    ways = _ways(simulated)
    rows = []
    for start in range(0, len(simulated.policy), 12):
        own = simulated.policy[start : start + 12]
        costs = [Number(usd(sum(each.usd for each in way[start : start + 12]))) for way in ways]
        moved = sum(each.transition_usd + each.penalty_usd for each in own)
        rows.append((f"{own[0].month:%Y-%m}", own[-1].objects, Size(own[-1].bytes_kept), *costs, Number(usd(moved))))
    totals = [sum(each.usd for each in way) for way in ways]
    rows.append(("in all", None, None, *(Number(usd(total)) for total in totals), None))
    drawn = [(name, total, usd(total)) for name, total in zip(_NAMES, totals, strict=True)]
    return (
        Table(("year from", "objects", "size", *_NAMES, "of it moving"), rows),
        "",
        *bars(drawn, colours=_COLOURS),
        "",
        f"List prices of {simulated.provider} in {simulated.region}; docs/tiering.md has the arithmetic.",
    )


def drawn(simulated: Simulation) -> str:
    """The costs added up as an SVG, a line for each way of keeping the rows."""
    days = [each.month for each in simulated.policy]
    lines = {
        name: list(accumulate(each.usd for each in way)) for name, way in zip(_NAMES, _ways(simulated), strict=True)
    }
    return lines_svg(TITLE, days, lines, usd)


def _ways(simulated: Simulation) -> tuple[Sequence[MonthCost], Sequence[MonthCost], Sequence[MonthCost]]:
    return simulated.policy, simulated.first_class, simulated.postgres
