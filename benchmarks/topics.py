"""What `quick.py` measures, topic by topic: first all is prepared side by side, then each is measured in quiet."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import orchestrating
from asides import Aside, catch_up
from asking import Asked
from measuring import machine, say
from moving import Moving, lay_days, read_points
from reading import Reading, Size, lay_out
from remembering import fillings, peaks
from servers import Server
from worlds import open_home

SYMBOLS = 256
"""Of which ten days of 390 minutes are a million rows."""

READ = Size(symbols=60, minutes=60)
MEMORY_SYMBOLS = [3_473, 695]
"""Of which a day of 1,440 minutes is five million rows, and one. Of all preparations the first takes longest."""

DAGSTER_DAYS = 100
RECORDS = {
    orchestrating.SQLITE: "partition_overhead_ms",
    orchestrating.POSTGRESQL: "partition_overhead_ms_postgresql",
}


def measured(folder: Path, server: Server, asked: Asked) -> tuple[dict[str, float], dict[str, Any]]:
    """The measures, and what they were measured with."""
    say("preparing")
    laid, read, dagster = None, None, None
    sizes = [asked.scaled(count) for count in MEMORY_SYMBOLS] if "memory" in asked.topics else []
    filling = fillings({server.home(folder / f"memory{count}"): count for count in sizes})
    size = replace(READ, minutes=asked.scaled(READ.minutes))
    if "moving" in asked.topics:
        laid = Aside(lay_days, server.home(folder / "moving"), folder / "copies", asked.scaled(SYMBOLS))
    if "reading" in asked.topics:
        read = Aside(lay_out, server.home(folder / "reading"), folder / "naive", size)
    if "dagster" in asked.topics:
        dagster = Aside(orchestrating.run, server.home(folder / "dagster"), DAGSTER_DAYS, list(RECORDS))
    catch_up()
    figures: dict[str, float] = {}
    about: dict[str, Any] = {"rounds": asked.rounds, "machine": machine()}
    if "memory" in asked.topics:
        memory = peaks(filling)
        figures["peak_memory_growth"] = memory[max(memory)] / memory[min(memory)]
        about["peak_memory_mib"] = {rows: peak >> 20 for rows, peak in sorted(memory.items())}
    receipts, weights = laid.prepared() if laid else ([], ())
    reader = Aside(read_points, folder / "moving") if laid else None
    for aside in (read, reader, dagster):
        if aside:
            aside.prepared()
    server.drop(filling)
    server.settle()
    say("prepared")
    if reader:
        with open_home(folder / "moving") as tc:
            moving = Moving(tc, folder / "copies", receipts)
            figures |= _moving(moving, reader, asked.rounds)
            figures |= dict(zip(("bytes_per_row", "bytes_per_row_month"), weights, strict=True))
        about["load_rows"] = moving.rows
        about["seconds"] = {name: round(taken, 3) for name, taken in moving.medians().items()}
    if read:
        about["cold_rows"] = read.measured()
        with open_home(folder / "reading") as tc:
            figures |= _reading(Reading(tc, folder / "naive", size), 2 * asked.rounds + 1)
    if dagster:
        figures |= _overheads(dagster.measured())
    return figures, about


def _moving(moving: Moving, reader: Aside, rounds: int) -> dict[str, float]:
    for _ in range(rounds):
        moving.round()
    taken = moving.medians()
    rotated = taken["rotate_changed"] / moving.rows
    say("to_sql, pandas")
    return {
        "load_vs_copy_ceiling": taken["copy_in"] / taken["load"],
        "load_vs_to_sql": moving.to_sql() / (taken["load"] / moving.rows),
        "rotate_changed_vs_copy_out": taken["copy_out"] / taken["rotate_changed"],
        "rotate_unchanged_vs_copy_out": taken["copy_out"] / taken["rotate_unchanged"],
        "rotate_vs_pandas": moving.by_pandas() / rotated,
        "worst_read_ms_during_cutover": moving.cut_over(reader),
    }


def _reading(reading: Reading, rounds: int) -> dict[str, float]:
    say("reading")
    cold, hybrid = reading.cold(rounds), reading.hybrid(rounds)
    plan = reading.plan(rounds)
    say(f"cold {_ms(cold)}, hybrid {_ms(hybrid)}")
    return {
        "cold_vs_duckdb_list": cold["router"] / cold["duckdb_list"],
        "cold_vs_pandas": cold["pandas"] / cold["router"],
        "cold_vs_pyarrow_dataset": cold["pyarrow_dataset"] / cold["router"],
        "hybrid_overhead": hybrid["router"] / max(hybrid["duckdb"], hybrid["postgresql"]),
        "plan_ms_2000_partitions": plan * 1000,
        "daily_5y_ms": reading.daily(rounds) * 1000,
    }


def _overheads(found: dict[str, dict[str, float]]) -> dict[str, float]:
    return {RECORDS[where]: orchestrating.per_day_ms(taken, DAGSTER_DAYS) for where, taken in found.items()}


def _ms(taken: dict[str, float]) -> str:
    return ", ".join(f"{name} {each * 1000:.1f} ms" for name, each in taken.items())
