"""Objects of a real bucket are in the class that is due once the plan is applied, and hold the same rows."""

import pytest
from hot_acts import answer, day, migrated, publish
from made_rows import as_sorted_lists, bars
from s3_server import S3Server, seaweed
from tiering_world import AS_OF, free

from thermocline.model.datasets import MARKET_DATA
from thermocline.model.retention import ClassStep, Retention, RetentionPolicy
from thermocline.model.storage_classes import Provider
from thermocline.stores.open import open_lake
from thermocline.stores.postgres import PostgresHot
from thermocline.tasks.tiers import Tiering


@pytest.fixture(scope="session")
def prepare_database():
    return migrated


@pytest.fixture(scope="session")
def server():
    with seaweed() as server:
        yield server


def test_objects_in_s3_change_their_class_and_nothing_else(server: S3Server, new_database, monkeypatch, tmp_path):
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    bucket = server.new_bucket()
    hot = PostgresHot(new_database("embedded"))
    with open_lake(f"s3://{bucket}/lake", catalog_url=f"sqlite:///{tmp_path}/catalog.db") as lake:
        publish(hot, lake, bars(day()), bars(day(1)))
        rows = as_sorted_lists(answer(hot, lake), MARKET_DATA)
        policy = RetentionPolicy(Retention((ClassStep(30, "STANDARD_IA"),)))
        tiering = Tiering(hot, lake, policy, free(Provider.S3), AS_OF)
        done = tiering.apply([MARKET_DATA], tiering.plan([MARKET_DATA]).digest, run_id="tiers")
        assert (len(done.moved), done.failed) == (2, [])
        listed = server.client().list_objects_v2(Bucket=bucket, Prefix="lake/cold_storage/market_data/year=")
        assert [each["StorageClass"] for each in listed["Contents"]] == ["STANDARD_IA"] * 2
        head = server.client().head_object(Bucket=bucket, Key=listed["Contents"][0]["Key"])
        assert head["Metadata"]["day"] == day().day.isoformat()
        assert as_sorted_lists(answer(hot, lake), MARKET_DATA) == rows
        assert tiering.plan([MARKET_DATA]).is_empty
