"""What Dagster's UI may show: it shows every field of a resource."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from thermocline.errors import SettingsError
from thermocline.model.url import redacted


def refuse_open_secrets(resources: Mapping[str, Any]) -> None:
    """Refuse a URL with a password in plain text.

    Raises:
        SettingsError: A field holds one; the text does not.
    """
    for name, resource in resources.items():
        if not isinstance(resource, dg.ConfigurableResource):
            continue
        for field in type(resource).model_fields:
            value = getattr(resource, field)
            if isinstance(value, str) and not isinstance(value, dg.EnvVar) and redacted(value) != value:
                msg = (
                    f"the resource {name} has a password in its {field}, which Dagster's UI would show; put the whole "
                    f'URL into a variable and write {field}=dg.EnvVar("NAME")'
                )
                raise SettingsError(msg)
