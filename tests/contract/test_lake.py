"""What every lake promises, whatever store and catalog it is made of."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import pyarrow as pa
import pytest
from lake_acts import answer, cold, day, published, tamper, write
from made_rows import DAY, NOON, as_sorted_lists, bars, rows

from thermocline.errors import CatalogConflictError, LakeError, UsageError
from thermocline.model.datasets import DATASETS, MARKET_DATA, NEWS
from thermocline.model.fingerprint import contents_of
from thermocline.model.journal import Entry, Event, Journal
from thermocline.model.partition import Partition
from thermocline.model.paths import month_path, object_path
from thermocline.model.query import Query
from thermocline.model.receipt import Receipt
from thermocline.stores import lake_reading
from thermocline.stores.open import open_lake
from thermocline.stores.parquet import encode
from thermocline.tasks.archive import unjournaled


@pytest.fixture
def lake(odd_lake):
    return odd_lake


# ------------------------------------------------------------------------------------------------------------- write


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=lambda dataset: dataset.name)
def test_what_was_written_is_observed_and_read_back_exactly(lake, dataset):
    partition = Partition(dataset.name, "1min" if dataset.has_intervals else "", DAY)
    batch = rows(dataset, 200)
    receipt = write(lake, batch, partition)
    assert receipt.path == object_path(partition, 1)
    assert receipt.contents == contents_of(dataset, [batch])
    assert lake.observe(receipt) == [receipt]
    assert Receipt.of(json.loads(json.dumps(receipt.document()))) == receipt
    found = pa.Table.from_batches(lake.read(receipt))
    assert found.schema == dataset.arrow_schema
    assert as_sorted_lists(found, dataset) == as_sorted_lists(pa.table(batch), dataset)
    encoded = pa.Table.from_batches(lake.read(receipt, encoded=True))
    assert pa.types.is_dictionary(encoded.schema.field(dataset.symbol_column).type)
    assert as_sorted_lists(encoded.cast(dataset.arrow_schema), dataset) == as_sorted_lists(found, dataset)


def test_a_large_object_is_observed_as_a_small_one_is(lake, monkeypatch):
    receipt = write(lake, bars(day(0), count=200), day(0))
    for limit in ("IN_MEMORY_BYTES", "_WORTH_A_THREAD"):
        monkeypatch.setattr(lake_reading, limit, receipt.size_bytes - 1)
        assert lake.observe(receipt) == [receipt]


def test_who_is_told_what_the_rows_contain_may_have_nothing_stored(lake):
    batch = bars(day(0))
    told = []

    def refuse(contents):
        told.append(contents)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        lake.write(day(0), 1, [batch], run_id="run-1", told=refuse)
    assert told == [contents_of(MARKET_DATA, [batch])]
    assert list(lake.objects.list("")) == []
    assert lake.write(day(0), 1, [batch], run_id="run-1", told=told.append).version == 1
    assert len(told) == 2


def test_an_object_with_the_same_bytes_is_adopted(lake):
    first = write(lake, bars(day(0)))
    again = write(lake, bars(day(0)))
    assert again == first
    assert [path for path in lake.objects.list("") if path.endswith(".parquet")] == [first.path]


def test_an_object_with_other_bytes_is_left_and_the_next_free_version_is_taken(lake):
    first = write(lake, bars(day(0)))
    second = write(lake, bars(day(0), close="1"))
    third = write(lake, bars(day(0), close="2"))
    adopted = write(lake, bars(day(0), close="1"))
    assert [first.version, second.version, third.version, adopted.version] == [1, 2, 3, 2]
    assert second.path == object_path(day(0), 2) == adopted.path
    assert [lake.observe(receipt)[0] for receipt in (first, second, third)] == [first, second, third]


def test_many_threads_may_write_and_observe(lake):
    def work(number):
        receipt = lake.write(day(number), 1, [bars(day(number))], run_id="run-1")
        assert lake.observe(receipt) == [receipt]
        return receipt

    with ThreadPoolExecutor(8) as pool:
        receipts = list(pool.map(work, range(40)))
    assert len({receipt.path for receipt in receipts}) == 40


# ----------------------------------------------------------------------------------------------------------- observe


def test_a_flipped_byte_is_noticed_wherever_it_is(lake):
    receipt = write(lake, bars(day(0)))
    for position in range(0, receipt.size_bytes, 97):
        tamper(lake, receipt, lambda body, at=position: body[:at] + bytes([body[at] ^ 0x10]) + body[at + 1 :])
        with suppress(LakeError):
            assert lake.observe(receipt)[0].sha256 != receipt.sha256
        tamper(lake, receipt, lambda body, at=position: body[:at] + bytes([body[at] ^ 0x10]) + body[at + 1 :])
    assert replace(lake.observe(receipt)[0], etag="") == replace(receipt, etag="")


def test_a_truncated_object_is_an_error_with_its_path_and_a_remedy(lake):
    receipt = write(lake, bars(day(0)))
    tamper(lake, receipt, lambda body: body[:-100])
    for act in (lake.observe, lambda receipt: list(lake.read(receipt))):
        with pytest.raises(LakeError, match=r"(?s)market_data_1day_20240115\.parquet.*restore it"):
            act(receipt)


def test_an_object_of_other_rows_is_observed_as_what_it_is(lake):
    receipt, other = write(lake, bars(day(0))), write(lake, bars(day(0), close="1"))
    with lake.objects.open(other.path) as stream:
        body = stream.read()
    tamper(lake, receipt, lambda _: body)
    [found] = lake.observe(receipt)
    assert (found.sha256, found.contents) == (other.sha256, other.contents)
    assert receipt.contents.differences(found.contents)


def test_a_missing_object_is_an_error_with_its_path_and_a_remedy(lake):
    receipt = write(lake, bars(day(0)))
    lake.delete(receipt.path)
    for act in (
        lake.observe,
        lambda receipt: list(lake.read(receipt)),
        lambda r: answer(lake, Query(MARKET_DATA), cold(r)),
    ):
        with pytest.raises(LakeError, match=r"market_data_1day_20240115\.parquet"):
            act(receipt)


# ----------------------------------------------------------------------------------------------------------- publish


def test_receipts_lie_beside_the_table_before_it_is_committed(lake):
    receipts = [write(lake, bars(day(number)), day(number)) for number in range(3)]
    head = lake.publish(MARKET_DATA, added=receipts[:2], removed=(), expected_head="", run_id="run/1")
    assert lake.head(MARKET_DATA) == head
    assert lake.paths(MARKET_DATA) == {receipt.path for receipt in receipts[:2]}
    lake.publish(MARKET_DATA, added=receipts[2:], removed=[receipts[0].path], expected_head=head, run_id="run/1")
    kept = list(lake.objects.list("metadata/receipts/"))
    assert kept == [f"metadata/receipts/market_data/run%2F1-0000{number}.jsonl" for number in (0, 1)]
    assert [entry.receipt for entry in lake.journal(MARKET_DATA).entries] == receipts
    assert lake.journal(NEWS) == Journal([], [])


def test_a_lost_commit_takes_its_receipts_along(lake):
    receipt = write(lake, bars(day(0)))
    with pytest.raises(CatalogConflictError):
        lake.publish(MARKET_DATA, added=[receipt], removed=(), expected_head="1", run_id="run-1")
    assert list(lake.objects.list("metadata/receipts/")) == []
    assert lake.head(MARKET_DATA) == ""


def told(lake):
    """What the journal says: what happened to which version of which day, and on which head that builds."""
    return [(e.event.value, e.partition.day.day, e.version, e.head) for e in lake.journal(MARKET_DATA).entries]


def test_the_journal_tells_what_each_commit_builds_on(lake):
    receipts = [write(lake, bars(day(number)), day(number)) for number in range(2)]
    paths = [receipt.path for receipt in receipts]
    first = lake.publish(MARKET_DATA, added=receipts, removed=(), expected_head="", run_id="b")
    (vintage,) = published(receipts[1])
    lake.publish(MARKET_DATA, added=(), removed=paths[1:], expected_head=first, run_id="a", withdrawn=[vintage])
    assert told(lake) == [("publish", 15, 1, ""), ("publish", 16, 1, ""), ("withdraw", 16, 1, first)]


def test_settling_publishes_nothing_new(lake):
    """What the table is made to forget was accepted by no ledger, and what it names again was live all the time."""
    old, new = write(lake, bars(day(0))), write(lake, bars(day(0), close="1"), version=2)
    other = write(lake, bars(day(1)), day(1))
    head = lake.publish(MARKET_DATA, added=[new, other], removed=(), expected_head="", run_id="a")
    lake.publish(
        MARKET_DATA, added=[old], removed=[new.path, other.path], expected_head=head, run_id="b", settling=True
    )
    assert lake.paths(MARKET_DATA) == {old.path}
    assert told(lake)[2:] == [("settle", 15, 1, head), ("settle", 16, 0, head)]


def test_a_damaged_file_of_the_journal_is_named_and_what_it_still_says_is_read(lake):
    receipts = [write(lake, bars(day(number)), day(number)) for number in range(2)]
    lake.publish(MARKET_DATA, added=receipts, removed=(), expected_head="", run_id="a")
    assert lake.journal(MARKET_DATA).unreadable == []
    path = next(lake.objects.list("metadata/receipts/"))
    with lake.objects.open(path) as stream:
        body = stream.read()
    lake.objects.replace(path, body[:-100])
    journal = lake.journal(MARKET_DATA)
    assert [entry.receipt for entry in journal.entries] == receipts[:1]
    assert journal.unreadable == [path]


def test_the_journal_of_some_runs_is_read_alone(lake):
    receipts = [write(lake, bars(day(number)), day(number)) for number in range(3)]
    head = ""
    for run_id, receipt in zip("abc", receipts, strict=True):
        head = lake.publish(MARKET_DATA, added=[receipt], removed=(), expected_head=head, run_id=run_id)
    assert [entry.receipt for entry in lake.journal(MARKET_DATA, "ac").entries] == receipts[::2]
    assert lake.journal(MARKET_DATA, ["d"]) == Journal([], [])


def test_a_receipt_that_another_run_moved_is_found_in_the_whole_journal(lake):
    receipts = [write(lake, bars(day(number)), day(number)) for number in range(2)]
    runs = {receipt.run_id for receipt in receipts}
    (run_id,) = runs
    head = lake.publish(MARKET_DATA, added=receipts, removed=(), expected_head="", run_id=run_id)
    moved = lake.combine(receipts)
    lake.publish(
        MARKET_DATA, added=(), relocated=moved, removed=[r.path for r in receipts], expected_head=head, run_id="later"
    )
    assert [entry.receipt for entry in lake.journal(MARKET_DATA, runs).entries] == receipts
    assert unjournaled(lake, MARKET_DATA, moved) == {}
    strange = replace(moved[0], sha256="0" * 64)
    assert "says otherwise" in unjournaled(lake, MARKET_DATA, [strange, moved[1]])[strange.partition]


def test_receipts_are_made_anew_from_an_object_alone(lake):
    receipt = write(lake, bars(day(0)), version=3)
    assert lake.identify(MARKET_DATA, receipt.path, run_id="run-1") == [receipt]
    assert lake.size_bytes(receipt.path) == receipt.size_bytes
    lake.delete(receipt.path)
    assert lake.size_bytes(receipt.path) is None
    with pytest.raises(LakeError, match="is missing"):
        lake.identify(MARKET_DATA, receipt.path, run_id="run-1")


def test_receipts_of_a_shared_object_take_their_versions_from_the_days_own(lake):
    own = [
        write(lake, bars(day(0))),
        write(lake, bars(day(0), close="1"), version=2),
        write(lake, bars(day(1)), day(1)),
    ]
    month = month_path("market_data", "1day", DAY, 1)
    both = pa.Table.from_batches([bars(day(0), close="1"), bars(day(1))])
    with encode(day(0), both.sort_by([(name, "ascending") for name in MARKET_DATA.sort]).to_batches()) as file:
        lake.objects.put(month, file.stream)
    found = lake.identify(MARKET_DATA, month, run_id="run-1")
    assert [(r.partition, r.version, r.path) for r in found] == [(day(0), 2, month), (day(1), 1, month)]
    assert [r.contents for r in found] == [own[1].contents, own[2].contents]
    assert lake.observe(*found) == found


def test_a_lake_knows_whether_it_holds_a_dataset(lake):
    write(lake, bars(day(0)))
    assert not lake.holds(MARKET_DATA)
    lake.note(MARKET_DATA, [Entry(Event.EXPIRE, NOON, "run", day(0), 1)])
    assert lake.holds(MARKET_DATA)
    assert not lake.holds(NEWS)


# -------------------------------------------------------------------------------------------------------------- open


@pytest.mark.parametrize("url", ["ftp://host/x", "file://host/x", "s3:///lake", "gs://", "s3://key:s3cret@bucket/lake"])
def test_a_url_that_no_store_serves_is_refused(url):
    with pytest.raises(UsageError, match=r"(use|write) (s3|gs)://BUCKET/PREFIX") as caught:
        open_lake(url, catalog_url="sqlite://")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("url", ["s3://bucket/lake", "gs://bucket"])
def test_opening_a_lake_in_a_bucket_asks_for_nothing(url, tmp_path):
    opened = (
        "import sys\nfrom thermocline.stores.open import open_lake\n"
        "print(open_lake(sys.argv[1], catalog_url='sqlite://').url)\n"
        "print({'boto3', 's3fs', 'google.cloud.storage', 'gcsfs'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", opened, url], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == f"{url}\nset()\n"


def test_a_lake_is_named_by_path_or_by_url(tmp_path):
    for url in (str(tmp_path / "a b%20"), f"file://{tmp_path}/a%20b%2520"):
        with open_lake(url, catalog_url="sqlite://") as lake:
            assert lake.url == f"file://{tmp_path}/a%20b%2520"
            assert lake.objects.location("x") == str(tmp_path / "a b%20" / "x")
    assert list(tmp_path.iterdir()) == []


def test_opening_and_scanning_a_lake_does_not_wait_for_pyiceberg(local, tmp_path):
    receipt = write(local, bars(day(0)))
    program = (
        "import sys; from thermocline.stores.open import open_lake;"
        f"lake = open_lake({str(tmp_path / 'lake')!r}, catalog_url='sqlite://');"
        f"assert list(lake.objects.list('cold_storage')) == [{receipt.path!r}];"
        "assert not {'pyiceberg', 'sqlalchemy', 'fsspec', 'pandas'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
