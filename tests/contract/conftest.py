"""What the tests of contracts share."""

import pytest
from hot_acts import migrated


@pytest.fixture(scope="session")
def prepare_database():
    return migrated
