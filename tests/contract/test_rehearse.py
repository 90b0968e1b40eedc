"""What every hot tier promises of rows that are loaded for a trial."""

import pyarrow as pa
import pytest
from hot_acts import assert_answers, day, ingest
from made_rows import DAY, bars, rows

from thermocline.errors import HotStoreError
from thermocline.model.datasets import DATASETS
from thermocline.model.fingerprint import contents_of
from thermocline.model.partition import Partition
from thermocline.ports import AuditQuery
from thermocline.stores.memory_hot import MemoryHot
from thermocline.stores.open import open_lake
from thermocline.stores.postgres import PostgresHot


@pytest.fixture(params=["memory", "embedded", "external"])
def hot(request):
    if request.param == "memory":
        return MemoryHot()
    return PostgresHot(request.getfixturevalue("new_database")(request.param))


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=str)
def test_every_value_of_every_dataset_comes_back_as_it_went_in(hot, dataset):
    batch = rows(dataset, 200)
    partition = Partition(dataset.name, "1min" if dataset.has_intervals else "", DAY)
    found = hot.rehearse(partition, [batch.slice(0, 7), batch.slice(7)])
    assert contents_of(dataset, [batch]).differences(found) == []


def test_a_trial_touches_nothing_that_readers_see(hot):
    ingest(hot, bars(day()), hot_days=[day()])
    hot.rehearse(day(), [bars(day(), ["IBM"])])
    hot.rehearse(day(1), [bars(day(1))])
    with open_lake("memory://", catalog_url="", threads=2) as lake:
        assert_answers(hot, lake, bars(day()))
    assert [act.name for act in hot.audit(AuditQuery())] == ["ingest"]


def test_rows_of_one_key_can_not_be_loaded(hot):
    twice = pa.Table.from_batches([bars(day()), bars(day(), ["AAPL"], 1)]).combine_chunks().to_batches()
    with pytest.raises(HotStoreError):
        hot.rehearse(day(), twice)
    assert hot.rehearse(day(), [bars(day())]).rows == 6


def test_rows_that_can_not_be_read_to_their_end_leave_a_working_tier(hot):
    def broken():
        yield bars(day())
        raise ConnectionError

    with pytest.raises(ConnectionError):
        hot.rehearse(day(), broken())
    assert hot.rehearse(day(), [bars(day())]).rows == 6
