"""What a materialisation shows: counts, a table of a few rows and a small plot."""

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from html import escape
from itertools import groupby
from typing import Any

import dagster as dg

from thermocline.model.charts import bars_svg
from thermocline.model.dataset import Column, Dataset
from thermocline.model.partition import ONE_DAY, midnight
from thermocline.model.query import Query
from thermocline.model.report import Moved, total_bytes, total_rows
from thermocline.ports import Hot, Lake
from thermocline.tasks.query import query

PREVIEW_ROWS = 5
LISTED_PARTITIONS = 50

_CELL_LETTERS = 100
_FEW_USD = 0.1
_BARS = 120
_WIDTH, _HEIGHT, _MARGIN = 480, 120, 16

Metadata = dict[str, dg.MetadataValue[Any]]


def moved_metadata(moved: Sequence[Moved], seconds: float) -> Metadata:
    """How much moved, how long it took, and rows by day as a plot."""
    days = sorted(moved, key=lambda each: each.partition.day)
    by_day = {day: total_rows(list(of_day)) for day, of_day in groupby(days, key=lambda each: each.partition.day)}
    return {
        "partitions": dg.MetadataValue.int(len(moved)),
        "rows": dg.MetadataValue.int(total_rows(moved)),
        "bytes": dg.MetadataValue.int(total_bytes(moved)),
        "seconds": dg.MetadataValue.float(round(seconds, 3)),
        "path": paths(moved),
        "plot": bars("rows a day", by_day),
    }


def paths(moved: Iterable[Moved]) -> dg.MetadataValue[Any]:
    """The object's path; the first and the last where there are more."""
    found = [each.path for each in moved if each.path]
    if len(found) <= 1:
        return dg.MetadataValue.text("".join(found))
    return dg.MetadataValue.text(f"{found[0]} … {found[-1]} ({len(found)} objects)")


def partitions_table(moved: Sequence[Moved]) -> dg.MetadataValue[Any]:
    """Partitions, one a line, the first fifty of them."""
    listed = table([each.document() for each in moved[:LISTED_PARTITIONS]])
    more = len(moved) - LISTED_PARTITIONS
    return dg.MetadataValue.md(f"{listed}\n\nand {more} more" if more > 0 else listed)


def preview(hot: Hot, lake: Lake, dataset: Dataset, day: date) -> dg.MetadataValue[Any]:
    """The first rows of a day, from whichever tier has it."""
    asked = Query(dataset, midnight(day), midnight(day + ONE_DAY), columns=dataset.content, limit=PREVIEW_ROWS)
    with query(hot, lake, asked) as reader:
        rows = reader.read_all().to_pylist()
    return dg.MetadataValue.md(table(rows))


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a table in Markdown."""
    if not rows:
        return "*none*"
    lines = [list(rows[0]), ["---"] * len(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def bars(title: str, values: Mapping[Any, int]) -> dg.MetadataValue[Any]:
    """Numbers as bars, an SVG inside Markdown; neighbours are added up where there are too many to draw."""
    if not values:
        return dg.MetadataValue.md("*nothing to draw*")
    labels, heights = [str(label) for label in values], list(values.values())
    step = -(-len(heights) // _BARS)
    sums = [sum(heights[first : first + step]) for first in range(0, len(heights), step)]
    width, tallest = _WIDTH / len(sums), max(*sums, 1)
    drawn = "".join(
        f'<rect x="{index * width:.1f}" y="{_MARGIN + _HEIGHT - height:.1f}" width="{max(width * 0.8, 1):.1f}" '
        f'height="{height:.1f}"/>'
        for index, height in enumerate(_HEIGHT * each / tallest for each in sums)
    )
    spanned = labels[0] if len(labels) == 1 else f"{labels[0]} to {labels[-1]}"
    grouped = f", each bar {step} of them" if step > 1 else ""
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT + 2 * _MARGIN}" '
        f'font-family="sans-serif" font-size="11" fill="#5b7fa6"><g>{drawn}</g>'
        f'<g fill="#888"><text x="0" y="11">{escape(title)}, at most {max(sums):,}</text>'
        f'<text x="0" y="{_HEIGHT + 2 * _MARGIN - 4}">{escape(spanned + grouped)}</text></g></svg>'
    )
    return picture(title, svg)


def long_bars(title: str, values: Sequence[tuple[str, float, str]]) -> dg.MetadataValue[Any]:
    """A bar for each name, as long as its value is large, and what it says beside it."""
    return picture(title, bars_svg(title, values)) if values else dg.MetadataValue.md("*nothing to draw*")


def usd(amount: float) -> str:
    """Dollars to the cent, or with two digits that count where there are less than ten cents of them."""
    return f"${amount:,.2f}" if amount >= _FEW_USD or not amount else f"${amount:.2g}"


def picture(title: str, svg: str) -> dg.MetadataValue[Any]:
    """An SVG inside Markdown, as the UI shows it."""
    return dg.MetadataValue.md(f"![{title}](data:image/svg+xml;base64,{b64encode(svg.encode()).decode()})")


def definition_metadata(dataset: Dataset) -> dict[str, Any]:
    """The columns of a dataset, for the asset's page."""
    columns = [
        dg.TableColumn(
            column.name, _arrow_name(column), column.description or None, dg.TableColumnConstraints(column.nullable)
        )
        for column in dataset.columns
    ]
    return {"dagster/column_schema": dg.TableSchema(columns)}


def _arrow_name(column: Column) -> str:
    return column.kind.value


def _cell(value: Any) -> str:
    """A value as it reads best: prices without trailing zeros, nothing that could end the cell."""
    match value:
        case None:
            return ""
        case Decimal():
            return f"{value.normalize():f}"
        case datetime():
            return value.isoformat(sep=" ").removesuffix("+00:00")
        case _:
            text = " ".join(str(value).split())
            short = text if len(text) <= _CELL_LETTERS else text[:_CELL_LETTERS] + "…"
            return escape(short, quote=False).replace("|", "\\|")
