"""What may lie in an archive, what is said of it, and what restoring it comes to by hand."""

from datetime import UTC, date, datetime, timedelta

import pytest

from thermocline.model.archives import is_archived, may_be_archived, offers, reads_of, said_of
from thermocline.model.partition import Partition
from thermocline.model.prices import ClassPrice, PriceBook, RestorePrice
from thermocline.model.receipt import Contents, Receipt, StoredObject
from thermocline.model.retention import ClassStep, Retention, RetentionPolicy
from thermocline.model.storage_classes import Provider

GIB = 1 << 30
TODAY = date(2026, 11, 27)
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
POLICY = RetentionPolicy(Retention(), {"news": Retention((ClassStep(30, "STANDARD_IA"), ClassStep(90, "GLACIER")))})
BOOK = PriceBook(
    Provider.S3,
    "made",
    {
        "STANDARD": ClassPrice(0.02, read_usd_per_1000=0.4),
        "GLACIER": ClassPrice(
            0.004,
            restores={
                "Bulk": RestorePrice(0.0, 0.0, 12),
                "Standard": RestorePrice(50.0, 0.01, 5),
                "Expedited": RestorePrice(10_000.0, 0.03, 0.1),
            },
        ),
        "DEEP_ARCHIVE": ClassPrice(
            0.001, restores={"Bulk": RestorePrice(25.0, 0.0025, 48), "Standard": RestorePrice(100.0, 0.02, 12)}
        ),
    },
    0.1,
    "made",
    TODAY,
)


def archived(number: int, gib: int = 1, named: str = "GLACIER", **more) -> StoredObject:
    return StoredObject(f"cold_storage/news/{number}", gib * GIB, "e", named, **more)


def receipt(age_days: int, path: str = "cold_storage/news/1", dataset: str = "news") -> Receipt:
    partition = Partition(dataset, "", TODAY - timedelta(days=age_days))
    return Receipt(partition, 1, path, 1, "", "", 1, "run", Contents(0, None, None, {}, "", ""))


def test_an_archived_object_can_be_read_while_its_copy_is_there():
    hour = timedelta(hours=1)
    assert is_archived(archived(1), Provider.S3, NOW)
    assert is_archived(archived(1, is_restoring=True), Provider.S3, NOW)
    assert not is_archived(archived(1, readable_until=NOW + hour), Provider.S3, NOW)
    assert is_archived(archived(1, readable_until=NOW - hour), Provider.S3, NOW)
    assert not is_archived(archived(1, named="GLACIER_IR"), Provider.S3, NOW)
    assert not is_archived(archived(1, named="ARCHIVE"), Provider.GCS, NOW)
    # Of a class of which nothing is known, the store says so when it is read.
    assert not is_archived(archived(1, named="INTELLIGENT_TIERING"), Provider.S3, NOW)


def test_only_objects_whose_days_have_all_reached_an_archive_are_looked_up():
    due, shared = receipt(90, "due"), [receipt(400, "shared"), receipt(89, "shared")]
    other = receipt(4_000, "other", "features")
    assert may_be_archived([due, *shared, other], POLICY, Provider.S3, TODAY) == {"due"}
    assert may_be_archived([due, shared[0]], POLICY, Provider.S3, TODAY) == {"due", "shared"}


def test_what_a_restore_costs_is_requests_retrieval_and_a_copy_in_the_first_class():
    found = offers([archived(1, 2), archived(2, 3)], BOOK, keep_days=10)
    copies = 5 * 0.02 * 10 * 12 / 365
    assert [each.speed for each in found] == ["Bulk", "Standard", "Expedited"]
    assert [each.usd for each in found] == pytest.approx([copies, 0.1 + 0.05 + copies, 20 + 0.15 + copies])
    assert [each.hours for each in found] == [12, 5, 0.1]


def test_a_speed_that_one_of_the_classes_has_not_is_no_offer_and_the_slowest_object_counts():
    found = offers([archived(1), archived(2, named="DEEP_ARCHIVE")], BOOK, keep_days=1)
    assert [(each.speed, each.hours) for each in found] == [("Bulk", 48), ("Standard", 12)]
    assert found[1].request_usd == pytest.approx(0.15)
    assert found[1].retrieval_usd == pytest.approx(0.03)


def test_what_is_said_names_the_objects_the_days_the_price_and_what_is_on_its_way():
    objects = [archived(number, is_restoring=number == 1) for number in range(5)]
    receipts = [receipt(100 + number, each.path) for number, each in enumerate(objects)]
    said = said_of(objects, receipts, BOOK)
    first, last = TODAY - timedelta(days=104), TODAY - timedelta(days=99)
    assert said.startswith("5 objects (5.00 GiB) that this needs lie in GLACIER and must be restored first: ")
    assert f"`thermocline restore request news --start {first} --end {last}` brings back 4 objects (4.00 GiB)" in said
    assert "for 7 days (Bulk $0.02 within 12 hours; Standard $0.26 within 5 hours" in said
    assert "1 object (1.00 GiB) on the way already, see `thermocline restore status news`" in said
    assert "cold_storage/news/2, …" in said
    assert "$" not in said_of(objects, receipts, None)


def test_reading_is_priced_by_class():
    known = [StoredObject("a", GIB, "e", "STANDARD"), StoredObject("b", GIB, "e", "")]
    read, unknown = reads_of([archived(1, named="INTELLIGENT_TIERING"), *known], BOOK)
    assert (unknown.storage_class, unknown.usd) == ("INTELLIGENT_TIERING", None)
    assert (read.storage_class, read.objects, read.size_bytes) == ("STANDARD", 2, 2 * GIB)
    assert read.usd == pytest.approx(2 * 0.4 / 1000)
