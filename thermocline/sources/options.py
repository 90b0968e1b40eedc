"""Options of a source, as they stand under `sources:` in thermocline.yaml."""

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from thermocline.errors import SettingsError


class Options(BaseModel):
    """What a source can be told. An option that it does not know is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


AnyOptions = TypeVar("AnyOptions", bound=Options)


def validated(model: type[AnyOptions], source: str, options: Mapping[str, Any]) -> AnyOptions:
    """The options of the source of that name.

    Raises:
        SettingsError: An option is unknown or has a wrong value; the text names each, and the nearest right name.
    """
    try:
        return model.model_validate(dict(options))
    except ValidationError as error:
        problems = [_problem(model, source, each) for each in error.errors(include_url=False, include_input=False)]
        raise SettingsError("; ".join(problems)) from None


def _problem(model: type[Options], source: str, error: Any) -> str:
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] != "extra_forbidden":
        return f"sources.{source}.{path}: {error['msg'].removeprefix('Value error, ')}" if path else str(error["msg"])
    near = difflib.get_close_matches(path, model.model_fields, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(model.model_fields) or 'none'}"
    return f"sources.{source}: no option is called {path!r}; {hint}"
