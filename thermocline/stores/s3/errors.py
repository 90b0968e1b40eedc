"""What S3 refuses, as errors of ours that say what to do."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from thermocline.errors import ArchivedError, LakeError, ObjectExistsError, TransientLakeError, UsageError

_MISSING = frozenset({"NoSuchKey", "404", "NotFound"})
_TRANSIENT = frozenset({
    "500", "502", "503", "504", "BadDigest", "ConditionalRequestConflict", "InternalError", "OperationAborted",
    "RequestTimeout", "RequestTimeoutException", "ServiceUnavailable", "SlowDown", "ThrottlingException",
    "TooManyRequests", "XAmzContentSHA256Mismatch",
})  # fmt: skip
_REMEDIES = {
    "NoSuchBucket": "there is no such bucket; make it, or correct the lake's URL",
    "AccessDenied": "these credentials may not do that; docs/guide/lakes.md has the policy that they need",
    # An answer to HEAD has no body that would say more.
    "400": "the store says no more; expired credentials and a bucket in another region look like this",
    "403": "these credentials may not do that, or their secret key is wrong; docs/guide/lakes.md has the policy",
    "MethodNotAllowed": "this store does not know that request; choose another store, or do without",
    "AllAccessDisabled": "the account may not use S3; ask who runs it",
    "InvalidAccessKeyId": "the store does not know that access key; check AWS_ACCESS_KEY_ID or the profile",
    "SignatureDoesNotMatch": "the secret key is wrong; check AWS_SECRET_ACCESS_KEY or the profile",
    "ExpiredToken": "the session token has expired; log in again",
    "InvalidToken": "the session token is not valid; log in again",
    "RequestTimeTooSkewed": "the clock of this machine is wrong; set it, then run it again",
    "PermanentRedirect": "the bucket is in another region; set storage.s3.region or AWS_REGION",
    "AuthorizationHeaderMalformed": "the bucket is in another region; set storage.s3.region or AWS_REGION",
    "301": "the bucket is in another region; set storage.s3.region or AWS_REGION",
    "NotImplemented": "this store does not know that request; choose another store, or do without",
    "KMS.DisabledException": "the KMS key is disabled; enable it, or set another storage.s3.kms_key_id",
    "KMS.NotFoundException": "there is no such KMS key; correct storage.s3.kms_key_id",
    "InvalidStorageClass": "this store does not have that storage class; change storage.retention",
    "EntityTooLarge": "the object is larger than the store takes",
}


def _no_credentials() -> tuple[type[Exception], ...]:
    from botocore import exceptions  # noqa: PLC0415

    return exceptions.NoCredentialsError, exceptions.PartialCredentialsError, exceptions.CredentialRetrievalError


class PreconditionFailedError(Exception):
    """The object is not the one that was named."""


class OnItsWayError(Exception):
    """A restore is on its way already."""


@contextmanager
def explained(act: str, location: str) -> Iterator[None]:
    """Turn what the SDK says into an error with a remedy; a missing object is a FileNotFoundError."""
    from botocore import exceptions  # noqa: PLC0415
    from urllib3.exceptions import HTTPError  # noqa: PLC0415

    try:
        yield
    except exceptions.ClientError as error:
        raise _from_answer(error, act, location) from error
    except _no_credentials() as none:
        msg = (
            f"can't {act} {location}: there are no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a "
            "profile, or run where the machine has a role. Nothing that was stored before is lost"
        )
        raise LakeError(msg) from none
    except (exceptions.SSLError, exceptions.ProxyConnectionError, exceptions.InvalidProxiesConfigError) as error:
        msg = f"can't {act} {location}: {_plain(error)}; look at the certificates and the proxy of this machine"
        raise LakeError(msg) from error
    except (
        exceptions.HTTPClientError,
        exceptions.ConnectionError,
        exceptions.IncompleteReadError,
        exceptions.FlexibleChecksumError,
        HTTPError,
    ) as error:
        msg = f"can't {act} {location}: {_plain(error)}"
        raise TransientLakeError(msg) from error
    except (exceptions.BotoCoreError, ValueError) as error:
        msg = f"can't {act} {location}: {_plain(error)}; correct the lake's URL or the settings under storage.s3"
        raise UsageError(msg) from error


def _from_answer(error: Any, act: str, location: str) -> Exception:
    code = code_of(error)
    if code in _MISSING:
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), location)
    if code in {"PreconditionFailed", "412"}:
        if act == "write":
            return ObjectExistsError(f"{location} exists already; an object is never overwritten")
        return PreconditionFailedError()
    if code == "RestoreAlreadyInProgress":
        return OnItsWayError()
    if code == "InvalidObjectState":
        named = error.response["Error"].get("StorageClass", "an archive")
        return ArchivedError(
            f"{location} lies in {named} and must be restored before it is read; `thermocline restore request` asks "
            "for that and says what it costs. Nothing is lost"
        )
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    remedy = _REMEDIES.get(code, "look at what the store says, then run it again")
    said = str(error.response["Error"].get("Message") or code)
    msg = f"can't {act} {location}: {said.rstrip('.')} ({code}); {remedy}. Nothing that was stored before is lost"
    is_transient = code in _TRANSIENT or status in {429, 500, 502, 503, 504}
    return TransientLakeError(msg) if is_transient else LakeError(msg)


def code_of(error: Any) -> str:
    """The word of S3's for what was wrong."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _plain(error: BaseException) -> str:
    """The first sentence of what the SDK says, without the parameters of a URL, which may be a signature."""
    first, _, following = str(error).partition("\n")
    told = f"{first} {following.partition(chr(10))[0]}" if first.endswith(":") else first
    return re.sub(r"\?[^\s'\")]*", "", told).rstrip(".") or type(error).__name__
