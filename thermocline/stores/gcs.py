"""A lake in a bucket of Google Cloud Storage."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class GcsOptions:
    """How a bucket is reached. What is None comes from where Google's SDK looks.

    Attributes:
        project: The project that buckets are looked for in.
        endpoint_url: Another store's address.
        kms_key_name: The key with which objects are encrypted.
        user_project: The project that pays for requests where the bucket demands that whoever asks pays.
        client: A `google.cloud.storage.Client` to ask with.
    """

    project: str | None = None
    endpoint_url: str | None = None
    kms_key_name: str | None = None
    user_project: str | None = None
    client: Any = field(default=None, repr=False, compare=False)
