"""Lakes in buckets, reached as Dagster's own resources of the clouds reach them."""

from datetime import date

import dagster as dg
import pytest
from dagster_aws.s3 import S3Resource
from dagster_gcp.gcs import GCSResource
from dagster_world import Bars, World
from gcs_server import gcs
from s3_server import KEY, REGION, SECRET, seaweed

from resources.disclosure import refuse_open_secrets
from resources.gcs_lake import GCSLakeResource
from resources.lake import LakeResource
from resources.s3_lake import S3LakeResource
from resources.settings import SettingsResource
from thermocline.errors import SettingsError
from thermocline.settings import load_settings
from thermocline.stores.gcs import GcsObjects, GcsOptions
from thermocline.stores.s3 import S3Objects

DAYS = [date(2024, 1, 2), date(2024, 1, 3)]
IN_SPRING = {"as_of": "2024-03-20"}
SETTINGS = """
storage:
  prices: prices.yaml
  price_region: nowhere
"""
PRICES = """
provider: {provider}
regions:
  nowhere:
    source: made
    read: 2024-05-01
    classes:
      STANDARD: {{storage_usd_per_gib_month: 1000000}}
      {colder}: {{storage_usd_per_gib_month: 1}}
    postgres: {{source: made, read: 2024-05-01, storage_usd_per_gib_month: 1}}
"""

# Dagster itself, with a resource inside a resource, uses what it calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated:DeprecationWarning")


@pytest.fixture(scope="session")
def s3():
    with seaweed() as server:
        yield server


@pytest.fixture(scope="session")
def google():
    with gcs() as server:
        yield server


def bucket_world(home, make_world, lake_url, provider, colder, *, lake, objects) -> World:
    home.mkdir()
    (home / "prices.yaml").write_text(PRICES.format(provider=provider, colder=colder))
    (home / "thermocline.yaml").write_text(SETTINGS)
    # The lake knows of no policy, so that objects are not written into the colder class at once.
    policy = {"THERMOCLINE_STORAGE__RETENTION__STEPS": f'{{"30": "{colder}"}}'}
    settings = load_settings(home, environ=policy | {"THERMOCLINE_LAKE_URL": lake_url})
    return make_world(settings=settings, source=Bars(DAYS), lake=lake, objects=objects)


def run_everything(world, colder):
    """Backfill, compact, move and look: in the end there is one object in the colder class, and nothing is wrong."""
    world.run("backfill", DAYS[0], DAYS[-1])
    world.run("compact", "2024-01", config=IN_SPRING)
    done = world.run("lifecycle_tiering", "2024-01", config=IN_SPRING)
    assert world.events("storage_classes", run=done)["2024-01"]["moved"] == 1
    found = world.objects.survey("cold_storage/market_data/year=2024/month=01/market_data")
    assert [each.storage_class for each in found] == [colder]
    checks = {each.check_name: each.passed for each in done.get_asset_check_evaluations()}
    assert (checks["none_missing"], checks["none_left_behind"]) == (True, True)


def test_a_lake_in_s3_by_the_resource_of_dagster_aws(home, make_world, s3, monkeypatch, tmp_path):
    for name in s3.environment:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MARKET_KEY", KEY)
    monkeypatch.setenv("MARKET_SECRET", SECRET)
    url = f"s3://{s3.new_bucket()}/lake"
    lake = S3LakeResource(
        settings=SettingsResource(home=str(home)),
        url=url,
        catalog_url=f"sqlite:///{tmp_path}/catalog.db",
        s3=S3Resource(
            endpoint_url=s3.endpoint_url,
            region_name=REGION,
            aws_access_key_id=dg.EnvVar("MARKET_KEY"),
            aws_secret_access_key=dg.EnvVar("MARKET_SECRET"),
        ),
    )
    assert SECRET not in repr(lake)
    objects = S3Objects(url.split("/")[2], "lake", options_of(s3))
    world = bucket_world(home, make_world, url, "s3", "STANDARD_IA", lake=lake, objects=objects)
    shown = world.defs.get_repository_def().get_top_level_resources()["lake"]
    assert SECRET not in repr(shown.config_schema.default_value)
    run_everything(world, "STANDARD_IA")


def options_of(s3):
    """What the test itself asks with."""
    import boto3  # noqa: PLC0415

    from thermocline.stores.s3 import S3Options  # noqa: PLC0415

    session = boto3.Session(aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name=REGION)
    return S3Options(endpoint_url=s3.endpoint_url, session=session)


class ResourceOfTests(GCSResource):
    """What the tests' server takes, as `GCSResource` has no address of its own."""

    endpoint_url: str

    def get_client(self):
        """A client of the SDK."""
        from google.cloud import storage  # noqa: PLC0415

        options = {"api_endpoint": self.endpoint_url}
        return storage.Client(project="tests", client_options=options, use_auth_w_custom_endpoint=False)


def test_a_lake_of_googles_by_the_resource_of_dagster_gcp(home, make_world, google, tmp_path):
    url = f"gs://{google.new_bucket()}/lake"
    lake = GCSLakeResource(
        settings=SettingsResource(home=str(home)),
        url=url,
        catalog_url=f"sqlite:///{tmp_path}/catalog.db",
        gcs=ResourceOfTests(endpoint_url=google.endpoint_url),
    )
    objects = GcsObjects(url.split("/")[2], "lake", GcsOptions(client=google.client()))
    world = bucket_world(home, make_world, url, "gcs", "NEARLINE", lake=lake, objects=objects)
    run_everything(world, "NEARLINE")


@pytest.mark.usefixtures("home")
def test_a_key_in_plain_text_is_refused_also_in_a_resource_inside_another():
    inner = S3Resource(aws_secret_access_key="hunter2")  # noqa: S106  # what must not be shown
    lake = S3LakeResource(settings=SettingsResource(), url="s3://bucket/lake", s3=inner)
    for resources in ({"lake": lake}, {"s3": inner}):
        with pytest.raises(SettingsError, match=r"aws_secret_access_key=dg\.EnvVar") as refused:
            refuse_open_secrets(resources)
        assert "hunter2" not in str(refused.value)


def chosen(home, **fields):
    """The settings that a lake is opened with."""
    resource = LakeResource(settings=load_settings(home, environ={}), **fields)
    return resource.chosen()


def test_fields_stand_in_for_the_settings_of_the_bucket(home):
    s3 = chosen(home, url="s3://b/lake", region="eu-central-1", kms_key="alias/lake", requester_pays=True).storage.s3
    assert (s3.region, s3.kms_key_id, s3.requester_pays, s3.endpoint_url) == ("eu-central-1", "alias/lake", True, None)
    gcs = chosen(home, url="gs://b/lake", kms_key="projects/p/key", user_project="payer", region="ignored").storage.gcs
    assert (gcs.kms_key_name, gcs.user_project) == ("projects/p/key", "payer")


def test_a_lake_that_would_not_be_asked_as_the_resource_says_is_refused(home):
    settings = load_settings(home, environ={})
    with pytest.raises(SettingsError, match="AWS_CA_BUNDLE"):
        S3LakeResource(settings=settings, url="s3://b/lake", s3=S3Resource(verify=False)).credentials()
    with pytest.raises(SettingsError, match="endpoint_url"):
        GCSLakeResource(
            settings=settings, url="gs://b", gcs=GCSResource(), endpoint_url="http://localhost"
        ).credentials()
