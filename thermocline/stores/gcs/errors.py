"""What goes wrong with Google Cloud Storage, told as errors of a lake; what a bucket does that one should know of."""

import errno
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from thermocline.errors import LakeError, ObjectExistsError, TransientLakeError

_DAY_SECONDS = 86_400

_REMEDIES = {
    400: "look at what Google says, and at the settings under storage.gcs",
    401: "there are no credentials that it takes; run `gcloud auth application-default login`, or set "
    "GOOGLE_APPLICATION_CREDENTIALS",
    403: "these credentials may not do that; docs/guide/lakes.md has the roles that they need",
    404: "there is no such bucket; make it, or correct the lake's URL",
}

_REQUEST = re.compile(r"^[A-Z]+ https?://[^\s?]*(\?\S*)?:? ?")


class PreconditionFailedError(Exception):
    """The object is not the one that was named."""


@contextmanager
def explained(act: str, location: str, *, of_object: bool) -> Iterator[None]:
    """Turn what Google's SDK raises into an error that says what to do; no secret is in it.

    `act` is what is being done to the object at `location`, or to the bucket there.

    Raises:
        ObjectExistsError: An object that was to be written is there already.
        PreconditionFailedError: Something else is not as it was to be.
        FileNotFoundError: There is no such object.
        TransientLakeError: The same request may succeed later.
        LakeError: It won't.
    """
    from google.api_core.exceptions import GoogleAPICallError  # noqa: PLC0415
    from google.auth.exceptions import GoogleAuthError, TransportError  # noqa: PLC0415
    from google.cloud.exceptions import PreconditionFailed  # noqa: PLC0415
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse  # noqa: PLC0415
    from requests.exceptions import RequestException  # noqa: PLC0415
    from urllib3.exceptions import HTTPError  # noqa: PLC0415  # of an answer that is read as it comes

    try:
        yield
    except PreconditionFailed:
        if act == "write":
            msg = f"{location} exists already; an object is never overwritten"
            raise ObjectExistsError(msg) from None
        raise PreconditionFailedError from None
    except GoogleAPICallError as error:
        raise _from_answer(int(error.code or 0), error.message, act, location, of_object=of_object) from error
    except InvalidResponse as error:
        status = int(error.response.status_code)
        raise _from_answer(status, str(error.args[0]), act, location, of_object=of_object) from error
    except (TransportError, RequestException, HTTPError, ConnectionError, TimeoutError, DataCorruption) as error:
        msg = f"can't {act} {location}: {_first_line(error)}"
        raise TransientLakeError(msg) from error
    except GoogleAuthError as error:
        msg = f"can't {act} {location}: {_REMEDIES[401]}. Nothing that was stored before is lost"
        raise LakeError(msg) from error


def _from_answer(status: int, said: str, act: str, location: str, *, of_object: bool) -> Exception:
    if status == HTTPStatus.NOT_FOUND and of_object and "bucket does not exist" not in said:
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), location)
    is_transient = status in {408, 429} or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    is_transient |= "match calculated" in said  # it arrived otherwise than it was sent
    remedy = _REMEDIES.get(status, "look at what Google says, then run it again")
    if status == HTTPStatus.BAD_REQUEST and "user project" in said.lower():
        remedy = "the bucket demands that whoever asks pays: set storage.gcs.user_project"
    if status == HTTPStatus.FORBIDDEN and "retention policy" in said.lower():
        remedy = "the bucket keeps it for a while, whoever asks; it can be deleted once that time is over"
    if found := re.search(r'"message": ("(?:[^"\\]|\\.)+")', said):
        said = json.loads(found[1])
    line = _REQUEST.sub("", said.partition("\n")[0]).partition("?")[0].strip(".: ") or HTTPStatus(status).phrase
    msg = f"can't {act} {location}: {line} ({status}); {remedy}. Nothing that was stored before is lost"
    return TransientLakeError(msg) if is_transient else LakeError(msg)


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0].partition("?")[0].rstrip(".") or type(error).__name__


def warnings_of(bucket: Any) -> Iterator[str]:
    """What a bucket is set to that costs money, or refuses what is asked of it."""
    told: Mapping[str, Any] = bucket._properties  # noqa: SLF001  # the SDK has no names for some of it
    if told.get("versioning", {}).get("enabled"):
        yield "keeps every object that is deleted or moved, and bills it, until a rule deletes old versions"
    if seconds := int(told.get("softDeletePolicy", {}).get("retentionDurationSeconds", 0)):
        yield f"keeps what is deleted or moved for {seconds / _DAY_SECONDS:g} days more (soft delete), and bills it"
    if seconds := int(told.get("retentionPolicy", {}).get("retentionPeriod", 0)):
        yield f"lets nobody delete or move an object in its first {seconds / _DAY_SECONDS:g} days (retention policy)"
    if told.get("autoclass", {}).get("enabled"):
        yield "chooses storage classes by itself (Autoclass), whatever the policy and the rules say"
