"""The spelling of schedules."""

import pytest

from thermocline.errors import UsageError
from thermocline.model.cron import parse_cron


@pytest.mark.parametrize(
    "text", ["0 2 * * *", "*/15 0-6 1,15 jan-MAR 1-5", "5 4 * * sun", "0 0 31 12 7", "0-30/10 * * * mon,wed"]
)
def test_a_schedule_is_accepted(text):
    assert parse_cron(text) == text


def test_spaces_do_not_matter():
    assert parse_cron("  0  2 * * * ") == "0 2 * * *"


@pytest.mark.parametrize(
    "text",
    [
        "", "0 2 * *", "0 2 * * * *", "@daily", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *", "* * * 13 *",
        "* * * * 8", "*/0 * * * *", "5-1 * * * *", "1, * * * *", "-1 * * * *", "x * * * *", "* * * mon *", "² * * * *",
    ],
)  # fmt: skip
def test_what_can_not_be_is_refused(text):
    with pytest.raises(UsageError, match="is not a schedule"):
        parse_cron(text)
