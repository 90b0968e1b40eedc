"""The figures of docs/tiering.md are those that come of the price book."""

from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path

import pytest

from thermocline.model.prices import DAYS_PER_MONTH, GIB, PriceBook
from thermocline.model.retention import PRESETS, Retention, RetentionPolicy
from thermocline.model.storage_classes import Provider, StorageClass, classes_of, first_class
from thermocline.model.tier_simulation import POSTGRES_FACTOR, Growth, Stream, simulate
from thermocline.model.tiering import LeftReason
from thermocline.settings_retention import load_prices

PAGE = (Path(__file__).parents[2] / "docs" / "tiering.md").read_text()

GCS = load_prices(Provider.GCS, "us-central1")
S3 = load_prices(Provider.S3, "us-east-1")

SESSIONS = 252
BARS = 500 * 390 * 12  # symbols, minutes of a session, bytes of a bar
CHAINS = 1_500_000 * 40  # contracts, bytes of a contract's day
DAILY = 500 * 12

YEARS = 5
OBJECTS = (
    ("a day of daily bars", DAILY),
    ("a year of daily bars", DAILY * SESSIONS),
    ("a day of minute bars", BARS),
    ("a month of minute bars", BARS * 21),
    ("a day of option chains", CHAINS),
)


def usd(amount: float) -> str:
    """Dollars with as many digits as say something."""
    return f"{amount:,.2f}" if amount >= 0.1 or amount == 0 else f"{amount:.2g}" if amount >= 1e-4 else "0.00"


def days(amount: float) -> str:
    """Days, to a tenth where they are few."""
    return f"{amount:,.0f}" if amount >= 10 else f"{amount:.1f}"


def shown(prices: PriceBook) -> list[StorageClass]:
    """The classes that the page speaks of."""
    return [each for each in classes_of(prices.provider) if each.name != "ONEZONE_IA"]


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def prices_of(prices: PriceBook) -> Iterable[str]:
    for each in shown(prices):
        price = prices.of(each.name)
        read = f"{price.retrieval_usd_per_gib:g}" if not price.restores else "restore"
        figures = f"{price.storage_usd_per_gib_month:g}", f"{price.write_usd_per_1000:g}", read
        yield row(f"`{each.name}`", *figures, f"{each.minimum_days}")


def sizes() -> Iterable[str]:
    for name, a_day in (("minute bars", BARS), ("option chains", CHAINS), ("daily bars", DAILY)):
        gib = a_day * SESSIONS * YEARS / GIB
        postgres = gib * POSTGRES_FACTOR * S3.postgres_usd_per_gib_month
        first = [prices.storage_usd_per_month("STANDARD", round(gib * GIB)) for prices in (GCS, S3)]
        yield row(name, f"{a_day / 1e6:,.3g} MB", f"{gib:,.3g} GiB", *map(usd, first), usd(postgres))


def break_even(prices: PriceBook) -> Iterable[str]:
    first = first_class(prices.provider).name
    for name, size in OBJECTS:
        cells = []
        for each in shown(prices)[1:]:
            saved = prices.storage_usd_per_month(first, size) - prices.storage_usd_per_month(each.name, size)
            earned = prices.move_usd(first, each.name, size) / saved * DAYS_PER_MONTH if saved > 0 else None
            cells.append("never" if earned is None else days(earned))
        yield row(name, *cells)


def kept_and_read(prices: PriceBook) -> Iterable[str]:
    """Five years of option chains, in an object a month."""
    first = first_class(prices.provider).name
    size, objects = CHAINS * 21, 12 * YEARS
    for each in shown(prices):
        kept = objects * prices.storage_usd_per_month(each.name, size)
        saved = objects * prices.storage_usd_per_month(first, size) - kept
        read = objects * prices.read_usd(each.name, size)
        more = read - objects * prices.read_usd(first, size)
        often = "" if each.name == first else "any" if more < 1e-3 else f"{saved / more:.2f}"
        yield row(f"`{each.name}`", usd(kept), usd(read), often)


def restores() -> Iterable[str]:
    size, objects = CHAINS * 21, 12 * YEARS
    for name in ("GLACIER", "DEEP_ARCHIVE"):
        for speed, price in S3.of(name).restores.items():
            cost = objects * (price.usd_per_1000 / 1000 + size / GIB * price.usd_per_gib)
            yield row(f"`{name}`", speed, f"{price.hours:g}", usd(cost))


def ways_there() -> Iterable[str]:
    """Five years of option chains that are older than a year come to the third class."""
    size, objects = CHAINS * 21, 12 * YEARS
    for prices, near, far in ((GCS, "NEARLINE", "COLDLINE"), (S3, "STANDARD_IA", "GLACIER_IR")):
        put = {name: prices.of(name).write_usd_per_1000 / 1000 for name in ("STANDARD", near, far)}
        straight = put[far]
        later = put["STANDARD"] + prices.move_usd("STANDARD", far, size)
        steps = put["STANDARD"] + prices.move_usd("STANDARD", near, size) + prices.move_usd(near, far, size)
        yield row(f"`{far}`", *(usd(objects * each) for each in (straight, later, steps)))


def ten_years() -> Iterable[str]:
    a_year = SESSIONS / 365
    growth = Growth(
        [
            Stream("market_data", round(BARS * a_year), "1min"),
            Stream("market_data", round(DAILY * a_year), "1day"),
            Stream("options_data", round(CHAINS * a_year)),
        ],
        date(2027, 1, 1),
        10,
    )
    for name, prices in (("gcs_a", GCS), ("gcs_b", GCS), ("s3", S3)):
        simulated = simulate(growth, RetentionPolicy(PRESETS[name]), prices)
        policy, first, postgres = (
            sum(each.usd for each in way) for way in (simulated.policy, simulated.first_class, simulated.postgres)
        )
        moved = sum(each.transition_usd + each.penalty_usd for each in simulated.policy)
        read = sum(each.retrieval_usd for each in simulated.policy)
        yield row(f"`{name}`", *map(usd, (policy, moved, read, first, postgres)))


def presets() -> Iterable[str]:
    for name, retention in PRESETS.items():
        steps = ", ".join(f"{step.age_days:,} `{step.storage_class}`" for step in retention.steps)
        ends = f"at {retention.delete_after_days:,}" if retention.delete_after_days else "never"
        yield row(f"`{name}`", steps, ends)


TABLES: dict[str, Callable[[], Iterable[str]]] = {
    "presets": presets,
    "prices of Google": lambda: prices_of(GCS),
    "prices of Amazon": lambda: prices_of(S3),
    "sizes": sizes,
    "break even at Google": lambda: break_even(GCS),
    "break even at Amazon": lambda: break_even(S3),
    "kept and read at Google": lambda: kept_and_read(GCS),
    "kept and read at Amazon": lambda: kept_and_read(S3),
    "restores": restores,
    "ways there": ways_there,
    "ten years": ten_years,
}


@pytest.mark.parametrize("table", TABLES)
def test_a_table_says_what_the_price_book_comes_to(table):
    lines = "\n".join(TABLES[table]())
    assert f"|\n{lines}\n\n" in PAGE, lines


def said(text: str) -> bool:
    """Whether the page says that, wherever its lines break."""
    return text in " ".join(PAGE.split())


def test_what_is_said_of_single_figures_holds():
    assert said(f"`reads_per_month` is {Retention().reads_per_month:g} where nothing is set")
    assert said(f"a byte of the lake is `{POSTGRES_FACTOR:g}` bytes in PostgreSQL")
    assert said(f"keeps what was written over for {GCS.soft_delete_days:g} days")
    read = SESSIONS * GCS.read_usd("ARCHIVE", DAILY)
    assert said(f"a year of daily bars costs {usd(read)} to read out of `ARCHIVE`")
    assert SESSIONS * GCS.early_usd("ARCHIVE", DAILY, 0) < 0.0001
    near, far = (GCS.of(name) for name in ("COLDLINE", "ARCHIVE"))
    often = (near.storage_usd_per_gib_month - far.storage_usd_per_gib_month) / (
        far.retrieval_usd_per_gib - near.retrieval_usd_per_gib
    )
    assert said(f"read more than {often:.3f} times a month, about once a year, `ARCHIVE` costs more than `COLDLINE`")


@pytest.mark.parametrize(
    ("prices", "step", "said_of_it", "months"),
    [
        (GCS, ("NEARLINE", "COLDLINE"), "takes 0.01 a GiB to save 0.006 a month, two months", 2),
        (S3, ("GLACIER_IR", "GLACIER"), "takes 0.03 to save 0.0004, six years", 75),
    ],
)
def test_what_a_further_step_takes_and_saves_is_what_the_page_says(prices, step, said_of_it, months):
    before, after = map(prices.of, step)
    saved = before.storage_usd_per_gib_month - after.storage_usd_per_gib_month
    assert f"takes {before.retrieval_usd_per_gib:g} " in said_of_it
    assert f" save {saved:g}" in said_of_it
    assert round(before.retrieval_usd_per_gib / saved) == months
    assert said(said_of_it)


def test_the_file_of_prices_that_is_shown_is_one(tmp_path):
    text = PAGE.partition("# prices.yaml;")[2].partition("```")[0].partition("\n")[2]
    (tmp_path / "prices.yaml").write_text(text)
    own = load_prices(Provider.S3, "eu-central-1", tmp_path / "prices.yaml")
    assert own.of("STANDARD").storage_usd_per_gib_month == 0.021
    assert own.of("STANDARD_IA") == load_prices(Provider.S3, "eu-central-1").of("STANDARD_IA")


def test_every_reason_to_leave_an_object_is_explained():
    assert [reason for reason in LeftReason if f"| `{reason.value}` |" not in PAGE] == []
