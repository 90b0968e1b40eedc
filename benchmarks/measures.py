"""The measures by which this project judges its speed, and what each is to be."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """A figure that `make bench-quick` prints; `limit` is the least that it should be, or the most."""

    name: str
    limit: float
    says: str
    is_most: bool = False

    @property
    def wanted(self) -> str:
        """The limit, in signs."""
        return f"{'≤' if self.is_most else '≥'} {self.limit:g}"

    def is_reached(self, figure: float) -> bool:
        """Whether a figure is as it should be."""
        return figure <= self.limit if self.is_most else figure >= self.limit


MEASURES = (
    Measure(
        "load_vs_copy_ceiling",
        1.5,
        "ten days: lake files to attached, keyed partitions, against the server's own `COPY … FROM` a binary file of "
        "the same rows into tables with the same key",
    ),
    Measure(
        "load_vs_to_sql",
        25,
        "the same against `read_parquet` of a day's object and `DataFrame.to_sql` into a keyed table, a row each",
    ),
    Measure(
        "rotate_changed_vs_copy_out",
        0.3,
        "ten days that say something new: export, merge with what is live, write, read back, verify, commit, cut over; "
        "against `COPY … TO '/dev/null'` in binary of the same tables",
    ),
    Measure("rotate_unchanged_vs_copy_out", 0.45, "ten days that say nothing new, against the same"),
    Measure(
        "worst_read_ms_during_cutover",
        60,
        "the slowest point query on a day that stays, while another day leaves and a reader of 3 s is in the way",
        is_most=True,
    ),
    Measure(
        "rotate_vs_pandas",
        10,
        "changed days against `read_sql`, `to_parquet`, `DELETE` and `VACUUM` of a day, a row each",
    ),
    Measure(
        "cold_vs_duckdb_list",
        1.5,
        "one symbol on 30 of 365 days through the router, against DuckDB that is told the right files",
        is_most=True,
    ),
    Measure(
        "cold_vs_pandas",
        40,
        "the same against pandas, with the same rows as they often lie: unsorted, found by a pattern",
    ),
    Measure("cold_vs_pyarrow_dataset", 5, "the same against a pyarrow dataset of those files, with a filter"),
    Measure(
        "hybrid_overhead",
        1.5,
        "one symbol over 30 hot and 30 cold days, against the slower one of PostgreSQL and DuckDB with its own half",
        is_most=True,
    ),
    Measure("bytes_per_row", 16, "one-minute bars with exact prices, objects of a day", is_most=True),
    Measure("bytes_per_row_month", 12, "the same rows compacted to an object", is_most=True),
    Measure(
        "daily_5y_ms", 60, "five years of daily bars of one symbol through the router, compacted to years", is_most=True
    ),
    Measure(
        "peak_memory_growth",
        1.15,
        "the most memory while a day of five million rows is rotated, against one million",
        is_most=True,
    ),
    Measure(
        "plan_ms_2000_partitions",
        30,
        "to know from where each of 2,000 partitions is answered, once it was asked",
        is_most=True,
    ),
    Measure(
        "partition_overhead_ms",
        10,
        "what Dagster adds to each day of a backfill in one run, with its records in SQLite",
        is_most=True,
    ),
    Measure("partition_overhead_ms_postgresql", 2, "the same with its records in PostgreSQL", is_most=True),
)
