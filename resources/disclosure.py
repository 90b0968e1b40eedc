"""What Dagster's UI may show: it shows every field of a resource."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from thermocline.errors import SettingsError
from thermocline.model.url import is_secret_name, redacted

_NAMES_OF_NO_SECRET = frozenset({"kms_key", "aws_access_key_id"})
"""They say which key it is, and nothing that opens anything."""


def refuse_open_secrets(resources: Mapping[str, Any]) -> None:
    """Refuse a URL with a password, or a key, in plain text; also in a resource that another one holds.

    Raises:
        SettingsError: A field holds one; the text does not.
    """
    for name, resource in _with_nested(resources):
        for field in type(resource).model_fields:
            value = getattr(resource, field, None)
            if not isinstance(value, str) or isinstance(value, dg.EnvVar):
                continue
            is_secret = bool(value) and is_secret_name(field) and field not in _NAMES_OF_NO_SECRET
            if is_secret or redacted(value) != value:
                what, whole = ("a secret", "it") if is_secret else ("a password", "the whole URL")
                msg = (
                    f"the resource {name} has {what} in its {field}, which Dagster's UI would show; put {whole} into a "
                    f'variable and write {field}=dg.EnvVar("NAME")'
                )
                raise SettingsError(msg)


def _with_nested(resources: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, resource in resources.items():
        if isinstance(resource, dg.ConfigurableResource):
            yield name, resource
            nested = {f"{name}.{inner}": each for inner, each in resource.nested_resources.items()}
            yield from _with_nested(nested)
