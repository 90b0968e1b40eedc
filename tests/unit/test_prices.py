"""Price books: what comes along, and figures of one's own."""

from datetime import date

import pytest

from thermocline.errors import SettingsError, UsageError
from thermocline.model.prices import GIB
from thermocline.model.storage_classes import Provider, classes_of
from thermocline.settings_retention import load_prices

REGIONS = [
    (Provider.S3, "us-east-1"),
    (Provider.S3, "eu-central-1"),
    (Provider.GCS, "us-central1"),
    (Provider.GCS, "europe-west3"),
    (Provider.GCS, "us"),
    (Provider.LOCAL, "disk"),
]


@pytest.fixture
def book(tmp_path):
    """Write a price book."""

    def write(text: str):
        path = tmp_path / "prices.yaml"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize(("provider", "region"), REGIONS)
def test_every_class_has_a_price_and_a_colder_one_costs_no_more_to_keep_and_no_less_to_write(provider, region):
    prices = load_prices(provider, region)
    assert set(prices.classes) == {each.name for each in classes_of(provider)}
    kept = [prices.of(each.name).storage_usd_per_gib_month for each in classes_of(provider)]
    written = [prices.of(each.name).write_usd_per_1000 for each in classes_of(provider)]
    assert kept == sorted(kept, reverse=True)
    assert written == sorted(written)
    assert prices.postgres_usd_per_gib_month >= kept[0]
    assert prices.source.startswith("https://")
    assert prices.read <= date(2026, 11, 27)


@pytest.mark.parametrize(("provider", "region"), REGIONS)
def test_what_must_be_restored_has_the_price_and_the_hours_of_a_restore(provider, region):
    prices = load_prices(provider, region)
    for each in classes_of(provider):
        assert bool(prices.of(each.name).restores) is not each.is_read_at_once
        for restore in prices.of(each.name).restores.values():
            assert 0 < restore.hours <= 48


def test_amazon_s_hundred_gb_are_107_374_182_400_bytes():
    prices = load_prices(Provider.S3, "us-east-1")
    # https://aws.amazon.com/s3/faqs/ counts them so: 100 GB for a month at 0.023 USD.
    assert prices.storage_usd_per_month("STANDARD", 107_374_182_400) == pytest.approx(2.30)


def test_google_s_gibibyte_hours_are_the_price_of_a_month():
    prices = load_prices(Provider.GCS, "us-central1")
    by_the_hour = {"STANDARD": 0.000027397, "NEARLINE": 0.000013699, "COLDLINE": 0.000005479, "ARCHIVE": 0.000001644}
    for name, usd_per_gib_hour in by_the_hour.items():
        assert prices.storage_usd_per_month(name, GIB) == pytest.approx(730 * usd_per_gib_hour, rel=1e-3)


def test_a_figure_of_one_s_own_stands_in_for_that_figure_only(book):
    own = book("""
        provider: s3
        regions:
          eu-central-1:
            source: our contract of 2026
            read: 2026-06-01
            classes:
              STANDARD: {storage_usd_per_gib_month: 0.02}
              GLACIER: {restores: {Standard: {usd_per_1000: 0.01}}}
    """)
    prices, listed = load_prices(Provider.S3, None, own), load_prices(Provider.S3, "eu-central-1")
    assert prices.region == "eu-central-1"  # the first of one's own book
    assert prices.of("STANDARD").storage_usd_per_gib_month == 0.02
    assert prices.of("STANDARD").write_usd_per_1000 == listed.of("STANDARD").write_usd_per_1000
    assert prices.of("GLACIER").restores["Standard"].usd_per_1000 == 0.01
    assert prices.of("GLACIER").restores["Standard"].usd_per_gib == 0.012
    assert prices.of("DEEP_ARCHIVE") == listed.of("DEEP_ARCHIVE")
    assert (prices.read, prices.postgres_usd_per_gib_month) == (date(2026, 6, 1), 0.137)
    assert prices.source.startswith("our contract of 2026; where that has none https://")
    assert load_prices(Provider.S3, "us-east-1", own) == load_prices(Provider.S3, "us-east-1")


def test_a_region_of_one_s_own_may_lack_classes_that_nothing_is_put_into(book):
    own = book("""
        provider: s3
        regions:
          minio:
            source: our racks
            read: 2026-06-01
            classes: {STANDARD: {storage_usd_per_gib_month: 0.01}}
            postgres: {source: our racks, read: 2026-06-01, storage_usd_per_gib_month: 0.05}
    """)
    prices = load_prices(Provider.S3, "minio", own)
    assert prices.storage_usd_per_month("STANDARD", GIB) == 0.01
    with pytest.raises(UsageError, match="no price of GLACIER in minio; add it"):
        prices.of("GLACIER")


STATED = "source: us, read: 2026-06-01"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- 1", "is no price book: it should be a mapping with `provider` and `regions`"),
        ("provider: [", "can't be read: while parsing"),
        ("provider: gcs", "has the prices of gcs, and the lake is one of s3"),
        ("regions: 7", "regions: should be a mapping"),
        ("regions: {us-east-1: {classes: {}}}", "regions.us-east-1 has no source and read"),
        ("regions: {us-east-1: {source: us, classes: {}}}", "regions.us-east-1 has no read: say where"),
        (
            f"regions: {{us-east-1: {{{STATED}, classes: {{STANDARD: {{storage_usd_per_gib_month: -1}}}}}}}}",
            "regions.us-east-1.classes.STANDARD.storage_usd_per_gib_month: Input should be greater than or equal to 0",
        ),
        (
            f"regions: {{us-east-1: {{{STATED}, classes: {{STANDARD: {{storage: 1}}}}}}}}",
            "regions.us-east-1.classes.STANDARD.storage: Extra inputs are not permitted",
        ),
        (
            f"regions: {{us-east-1: {{{STATED}, classes: {{NEARLINE: {{storage_usd_per_gib_month: 1}}}}}}}}",
            "s3 has no storage class 'NEARLINE'",
        ),
        (f"regions: {{moon: {{{STATED}}}}}", "regions.moon.classes: Field required"),
    ],
)
def test_what_is_wrong_with_a_price_book_is_said(book, text, says):
    with pytest.raises(SettingsError) as caught:
        load_prices(Provider.S3, None, book(text))
    assert says in str(caught.value)
    assert "storage.prices" in str(caught.value)


def test_a_region_without_prices_is_refused_with_those_that_have_some():
    with pytest.raises(SettingsError, match="no prices of gcs in 'mars', only in us-central1, europe-west3, us"):
        load_prices(Provider.GCS, "mars")


def test_a_book_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"nowhere.yaml can't be read"):
        load_prices(Provider.S3, None, tmp_path / "nowhere.yaml")


def test_a_move_pays_for_the_days_for_which_google_keeps_what_was_written_over(book):
    prices = load_prices(Provider.GCS, "us-central1")
    # 0.01 / 1,000 + 7 / 30.41667 x 100 x 0.02
    assert prices.move_usd("STANDARD", "NEARLINE", 100 * GIB) == pytest.approx(0.46028397, rel=1e-6)
    switched_off = load_prices(Provider.GCS, "us-central1", book("soft_delete_days: 0"))
    assert switched_off.move_usd("STANDARD", "NEARLINE", 100 * GIB) == pytest.approx(0.00001)
