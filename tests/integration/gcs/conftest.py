"""A bucket of Google Cloud Storage, and what is asked of it."""

import pytest
from gcs_acts import Request

from thermocline.stores.gcs import GcsObjects, GcsOptions


@pytest.fixture(scope="session")
def server(gcs_server):
    return gcs_server


@pytest.fixture
def bucket(server):
    return server.new_bucket()


@pytest.fixture
def opened(server, bucket):
    """Makes stores of the bucket."""

    def opened(**options):
        return GcsObjects(bucket, "lake", GcsOptions(endpoint_url=server.endpoint_url, **options))

    return opened


@pytest.fixture
def objects(opened):
    return opened()


@pytest.fixture
def asked(server, bucket):
    """What a block asked for: methods with the parameters that matter."""

    class Asked(list):
        def __enter__(self):
            self.before = len(server.log(bucket))
            return self

        def __exit__(self, *_):
            self += [Request(line) for line in server.log(bucket)[self.before :]]

    return Asked
