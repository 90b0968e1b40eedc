"""Stores of one prefix of S3."""

import boto3
import pytest
from s3_server import KEY as ACCESS_KEY
from s3_server import REGION, SECRET

from thermocline.stores.s3 import S3Objects, S3Options


@pytest.fixture(scope="session")
def session():
    """A session of the SDK, as whoever has one lends it."""
    return boto3.Session(ACCESS_KEY, SECRET, region_name=REGION)


@pytest.fixture
def opened(s3_server, session):
    """Makes stores of one prefix."""
    bucket, prefix = s3_server.new_prefix().split("/")

    def opened(**options):
        return S3Objects(
            bucket, prefix, S3Options(**{"endpoint_url": s3_server.endpoint_url, "session": session, **options})
        )

    return opened


@pytest.fixture
def objects(opened):
    return opened()


@pytest.fixture
def imitated(moto_server, monkeypatch):
    """A store of a server that has archives and rules."""
    for name, value in moto_server.environment.items():
        monkeypatch.setenv(name, value)
    return S3Objects(moto_server.new_bucket(), "lake")
