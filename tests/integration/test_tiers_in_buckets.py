"""Objects of a real bucket are in the class that is due once the plan is applied, and hold the same rows."""

import pytest
from gcs_server import gcs
from hot_acts import answer, day, publish
from made_rows import as_sorted_lists, bars
from s3_server import seaweed
from tiering_world import AS_OF, free

from thermocline.model.datasets import MARKET_DATA
from thermocline.model.retention import ClassStep, Retention, RetentionPolicy
from thermocline.model.storage_classes import Provider
from thermocline.stores.open import open_lake
from thermocline.stores.postgres import PostgresHot
from thermocline.tasks.tiers import Tiering


@pytest.fixture(scope="session")
def servers():
    """A real server of S3, and one that speaks the JSON API of Google Cloud Storage."""
    with seaweed() as s3, gcs() as google:
        yield {Provider.S3: s3, Provider.GCS: google}


def seen_by_the_sdk(provider, server, bucket) -> list[tuple[str, str]]:
    """The class and the labelled day of every object with rows."""
    prefix = "lake/cold_storage/market_data/year="
    if provider is Provider.GCS:
        return [
            (each.storage_class, each.metadata["day"]) for each in server.client().list_blobs(bucket, prefix=prefix)
        ]
    client = server.client()
    keys = [each["Key"] for each in client.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]]
    heads = [client.head_object(Bucket=bucket, Key=key) for key in keys]
    return [(each.get("StorageClass", "STANDARD"), each["Metadata"]["day"]) for each in heads]


@pytest.mark.parametrize("provider", [Provider.S3, Provider.GCS])
def test_objects_change_their_class_and_nothing_else(provider, servers, new_database, monkeypatch, tmp_path):
    scheme, colder = {Provider.S3: ("s3", "STANDARD_IA"), Provider.GCS: ("gs", "NEARLINE")}[provider]
    server = servers[provider]
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    bucket = server.new_bucket()
    hot = PostgresHot(new_database("embedded"))
    with open_lake(f"{scheme}://{bucket}/lake", catalog_url=f"sqlite:///{tmp_path}/catalog.db") as lake:
        publish(hot, lake, bars(day()), bars(day(1)))
        rows = as_sorted_lists(answer(hot, lake), MARKET_DATA)
        days = [day(number).day.isoformat() for number in range(2)]
        assert seen_by_the_sdk(provider, server, bucket) == [("STANDARD", each) for each in days]
        tiering = Tiering(hot, lake, RetentionPolicy(Retention((ClassStep(30, colder),))), free(provider), AS_OF)
        done = tiering.apply([MARKET_DATA], tiering.plan([MARKET_DATA]).digest, run_id="tiers")
        assert (len(done.moved), done.failed) == (2, [])
        assert seen_by_the_sdk(provider, server, bucket) == [(colder, each) for each in days]
        assert as_sorted_lists(answer(hot, lake), MARKET_DATA) == rows
        assert tiering.plan([MARKET_DATA]).is_empty
