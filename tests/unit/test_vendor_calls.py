"""Requests of a vendor that fails, throttles, breaks off and refuses."""

import pytest
from vendor_server import Clock, Reply, cut, failing, quick_network, reset, throttled, vendor_server

from thermocline.errors import SourceError, SourceRefusedError
from thermocline.sources.transport.calls import retry_after
from thermocline.sources.transport.http import Http, NotAllowedError, NotThereError

SECRET = "s3cr3t-0123"  # noqa: S105  # of a vendor that does not exist


@pytest.fixture(scope="module")
def server():
    with vendor_server() as vendor:

        @vendor.route("/bars")
        def bars(_):
            return {"bars": [1.10, 2]}

        yield vendor


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def vendor(server):
    server.forget()
    return server


@pytest.fixture
def http(vendor, clock):
    calls = quick_network(clock, attempts=4).calls("acme", "acme", 6_000_000)
    with Http(calls, vendor.url, headers={"X-Key": SECRET}, key_hint="check ACME_API_KEY") as opened:
        yield opened


def test_numbers_come_as_they_were_written(http):
    assert [str(number) for number in http.json("/bars")["bars"]] == ["1.1", "2"]


@pytest.mark.parametrize(
    "fault", [failing(500), failing(503), reset(), cut(5), failing(200, b'{"bars": [1'), failing(408)]
)
def test_what_failed_for_a_moment_is_asked_again(fault, http, vendor):
    vendor.instead("/bars", fault, fault)
    assert http.json("/bars")["bars"][1] == 2
    assert vendor.requests("/bars") == 3


def test_pauses_grow_and_the_last_failure_is_told_with_what_is_kept(http, vendor, clock):
    vendor.instead("/bars", *[failing(502)] * 4)
    with pytest.raises(SourceError, match=r"acme: /bars: it answers 502: no; it was tried 4 times\. Run it again") as e:
        http.json("/bars")
    assert "pages that were complete are kept" in str(e.value)
    assert [round(seconds, 3) for seconds in clock.slept if seconds > 0.1] == [0.5, 1.0, 2.0]


def test_a_throttled_request_waits_as_long_as_the_vendor_asks(http, vendor, clock):
    vendor.instead("/bars", throttled(7))
    http.json("/bars")
    assert 7 <= clock.now - 1_700_000_000 < 8


def test_a_wait_that_is_too_long_ends_at_once_and_is_named(http, vendor, clock):
    vendor.instead("/bars", throttled(86_400))
    with pytest.raises(SourceError, match="asks to wait 86400 s"):
        http.json("/bars")
    assert clock.now == 1_700_000_000


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_named_by_its_variable_and_never_shown(status, http, vendor):
    vendor.instead("/bars", failing(status, f"bad key {SECRET} ?api_key={SECRET}".encode()))
    with pytest.raises(NotAllowedError, match="check ACME_API_KEY") as error:
        http.json("/bars")
    assert SECRET not in str(error.value)
    assert vendor.requests("/bars") == 1


def test_a_question_that_is_refused_is_asked_once(http, vendor):
    vendor.instead("/bars", failing(422, b'{"message": "no such symbol"}'))
    with pytest.raises(SourceRefusedError, match="no such symbol"):
        http.json("/bars")
    assert vendor.requests() == 1


def test_a_redirect_is_not_followed_since_the_key_would_go_along(http, vendor):
    elsewhere = {"Location": f"http://elsewhere.example/?token={SECRET}"}
    vendor.instead("/bars", Reply(status=302, headers=elsewhere))
    with pytest.raises(SourceRefusedError, match=r"has moved \(302\) to elsewhere.example; set the url") as error:
        http.json("/bars")
    assert SECRET not in str(error.value)


def test_what_is_not_there_is_asked_once(http, vendor):
    with pytest.raises(NotThereError, match="is not there"):
        http.json("/elsewhere")
    assert vendor.requests() == 1


def test_a_vendor_that_is_down_is_named(clock):
    calls = quick_network(clock, attempts=2).calls("acme", "acme", 6_000_000)
    with Http(calls, "http://127.0.0.1:9") as http, pytest.raises(SourceError, match="can't be reached"):
        http.json("/bars")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3", 3),
        ("0.5", 0.5),
        ("-1", 0),
        ("Tue, 14 Nov 2023 22:13:50 GMT", 30),
        ("Tue, 14 Nov 2023 22:00:00 GMT", 0),
        ("soon", None),
        ("nan", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text, seconds):
    assert retry_after(text, 1_700_000_000) == seconds
