"""The tables of docs/benchmarks.md and README.md, and the plots, made of what was measured."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from measures import MEASURES

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs/benchmarks/results.json"
PAGE = ROOT / "docs/benchmarks.md"
README = ROOT / "README.md"
IMAGES = ROOT / "docs/images"

_BLOCK = re.compile(r"(<!-- measured: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
IN_SHORT = {
    "load_vs_copy_ceiling": "days from the lake into keyed tables, against the server's own binary `COPY`",
    "load_vs_to_sql": "the same, against `DataFrame.to_sql`",
    "rotate_vs_pandas": "a day to Parquet, verified, against `read_sql`, `to_parquet`, `DELETE` and `VACUUM`",
    "cold_vs_duckdb_list": "one symbol on 30 of 365 days, time against DuckDB that is told the right files",
    "cold_vs_pandas": "the same, against pandas over the folder",
    "hybrid_overhead": "60 days over both tiers, time against the slower of the two engines with its half",
    "bytes_per_row_month": "bytes a one-minute bar, compacted",
    "daily_5y_ms": "five years of daily bars of a symbol, milliseconds",
}
"""What the README says of the measures."""


def read(path: Path) -> dict[str, Any]:
    """What was measured, if anything was."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def write(path: Path, results: Mapping[str, Any]) -> None:
    """Keep it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def render(results_path: Path) -> None:
    """Make the tables and the plots anew."""
    import charts  # noqa: PLC0415  # of all that is here only it needs matplotlib

    results = read(results_path)
    for path in (PAGE, README):
        path.write_text(filled(path.read_text(encoding="utf-8"), results), encoding="utf-8")
    charts.draw_all(tables(results), IMAGES)


def filled(text: str, results: Mapping[str, Any]) -> str:
    """A page with what was measured between its marks."""
    return _BLOCK.sub(lambda block: f"{block[1]}{_made(block[2], results)}{block[4]}", text)


def tables(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every table, in the order of topics."""
    return [table for entry in results.get("topics", {}).values() for table in entry.get("tables", ())]


def image(table: Mapping[str, Any]) -> str:
    """The name of a table's plot."""
    return f"bench_{table['name']}.svg"


def _made(name: str, results: Mapping[str, Any]) -> str:
    if name == "machine":
        return _machine(results)
    entry = results.get("topics", {}).get("measures" if name in _OF_MEASURES else name)
    if not entry:
        return "\nNot measured yet.\n\n"
    if name in _OF_MEASURES:
        return _OF_MEASURES[name](entry["figures"])
    parts = [_with_plot(table) for table in entry["tables"]]
    return "\n" + "\n".join(parts) + f"\nMeasured on {entry['on']}, in {entry['seconds']:.0f} s.\n\n"


def _machine(results: Mapping[str, Any]) -> str:
    if "machine" not in results:
        return "\nNot measured yet.\n\n"
    machine = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"\n{machine['cores']} cores of {machine['processor']}, {machine['memory_gib']} GiB, {machine['system']}; "
        f"PostgreSQL {machine['postgresql']}, Python {machine['python']}, {versions}.\n\n"
    )


def _measures(figures: Mapping[str, Any]) -> str:
    lines = ["| measure | measured | wanted | |", "|---|---:|---:|---|"]
    for measure in MEASURES:
        if measure.name in figures:
            figure = figures[measure.name]
            missed = "" if measure.is_reached(figure) else "**missed**: "
            lines.append(f"| `{measure.name}` | {number(figure)} | {measure.wanted} | {missed}{measure.says} |")
    return "\n" + "\n".join(lines) + "\n\n"


def _short(figures: Mapping[str, Any]) -> str:
    lines = ["| | |", "|---|---:|"]
    lines += [
        f"| {says} | {number(figures[name])}{'' if _is_absolute(name) else ' ×'} |"
        for name, says in IN_SHORT.items()
        if name in figures
    ]
    return "\n" + "\n".join(lines) + "\n\n"


def _missed(figures: Mapping[str, Any]) -> str:
    found = [each for each in MEASURES if each.name in figures and not each.is_reached(figures[each.name])]
    lines = [f"- `{each.name}` is {number(figures[each.name])}, wanted {each.wanted}" for each in found]
    return "\n" + "\n".join(lines or ["Nothing, in the run above."]) + "\n\n"


_OF_MEASURES = {"measures": _measures, "short": _short, "missed": _missed}
"""What is made of the measures, by the mark of its place."""


def _is_absolute(name: str) -> bool:
    return name.startswith("bytes") or name.endswith("_ms")


def _with_plot(table: Mapping[str, Any]) -> str:
    plot = f"![{table['title']}](images/{image(table)})\n" if table["chart"] else ""
    return f"**{table['title']}**\n\n{table_text(table)}\n{plot}"


def table_text(table: Mapping[str, Any]) -> str:
    """A table in Markdown."""
    numeric = [any(isinstance(line[n], int | float) for line in table["lines"]) for n in range(len(table["columns"]))]
    head = f"| {' | '.join(table['columns'])} |"
    rule = "|" + "|".join("---:" if is_number else "---" for is_number in numeric) + "|"
    lines = [f"| {' | '.join(_cells(line, numeric))} |" for line in table["lines"]]
    note = f"\n\n{table['note']}" if table["note"] else ""
    return "\n".join([head, rule, *lines]) + note + "\n"


def _cells(line: Sequence[Any], numeric: Sequence[bool]) -> list[str]:
    return [
        number(cell) if isinstance(cell, int | float) else (cell or ("–" if is_number else ""))
        for cell, is_number in zip(line, numeric, strict=True)
    ]


def number(figure: float) -> str:
    """A figure with three digits that say something."""
    if isinstance(figure, int) or abs(figure) >= 100:  # noqa: PLR2004  # three digits before the point
        return f"{figure:,.0f}"
    if figure == 0:
        return "0"
    return f"{figure:.3g}" if abs(figure) >= 0.01 else f"{figure:.1g}"  # noqa: PLR2004  # or one after zeros
