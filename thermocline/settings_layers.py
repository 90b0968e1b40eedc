"""Where settings come from: layers of nested mappings that know their origin, and in words what is wrong with them."""

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

import yaml
from pydantic import BaseModel

from thermocline.errors import SettingsError
from thermocline.model.url import HIDDEN, is_secret_name, redacted

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

PREFIX = "THERMOCLINE_"
DELIMITER = "__"
NOT_SETTINGS = frozenset({"THERMOCLINE_HOME", "THERMOCLINE_CONFIG", "THERMOCLINE_DEBUG"})

# Kubernetes and docker links announce a service called `thermocline` by such variables to every container.
_SERVICE_LINK = re.compile(r"\w+_(SERVICE_(HOST|PORT)(_\w+)?|PORT(_\d+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)?)")
_SHOWN_CHARACTERS = 100

KeyPath = tuple[str, ...]


@dataclass(frozen=True)
class Layer:
    """One source's settings. `spell` writes a key the way that source does, `origin` says where a key was set."""

    document: Mapping[str, Any]
    spell: Callable[[KeyPath], str]
    origin: Callable[[KeyPath], str]


def dotted(path: KeyPath) -> str:
    """A key as messages and documentation write it: `storage.lifecycle.hot_days`."""
    return ".".join(path)


def variable(path: KeyPath) -> str:
    """The environment variable of a key: `THERMOCLINE_STORAGE__LIFECYCLE__HOT_DAYS`."""
    return PREFIX + DELIMITER.join(path).upper()


# ------------------------------------------------------------------------------------------------------------- layers


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, except that a key given twice is an error and a date stays text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                problem_text = f"the key {key.value!r} stands here a second time"
                raise yaml.constructor.ConstructorError(None, None, problem_text, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def file_layer(path: Path) -> Layer:
    """Read a thermocline.yaml; an empty one sets nothing.

    Raises:
        SettingsError: The file is not there, or is not a YAML mapping; the text gives file and line.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506  # _Loader is a SafeLoader
    except OSError as error:
        msg = f"{path}: can't be read: {error.strerror}"
        raise SettingsError(msg) from None
    except UnicodeDecodeError as error:
        msg = f"{path}: is not UTF-8 text (byte {error.start})"
        raise SettingsError(msg) from None
    except yaml.YAMLError as error:
        raise SettingsError(_yaml_problem(path, error)) from None
    if document is not None and not isinstance(document, dict):
        msg = f"{path}: line 1: should be a mapping of keys such as `storage:`, not a {type(document).__name__}"
        raise SettingsError(msg)
    return Layer(document or {}, dotted, lambda _: f"in {path}")


def _yaml_problem(path: Path, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "unreadable"
    return f"{path}: {place}: {getattr(error, 'problem', None) or error}"


def environment_layer(environ: Mapping[str, str], schema: type[BaseModel]) -> Layer:
    """Read the THERMOCLINE_* variables. An empty one sets nothing; one that begins with `[` or `{` is JSON.

    Raises:
        SettingsError: A variable is none of ours, or is not the JSON that it begins like.
    """
    given = {
        tuple(name.removeprefix(PREFIX).lower().split(DELIMITER)): (name, text)
        for name, text in environ.items()
        if name.startswith(PREFIX) and text and name not in NOT_SETTINGS and not _SERVICE_LINK.fullmatch(name)
    }
    problems = [
        _unknown_text(path, name, variable, schema) for path, (name, _) in given.items() if not _known(path, schema)
    ]
    document: dict[str, Any] = {}
    for path, (name, text) in sorted(given.items()):
        try:
            value = json.loads(text) if text[0] in "[{" else text
        except json.JSONDecodeError as error:
            problems.append(f"{name}: begins like JSON but is not: {error}")
        else:
            document = merged(document, _nested(path, value))
    if problems:
        raise SettingsError("\n".join(problems))

    def origin(path: KeyPath) -> str:
        names = [given[path[:length]][0] for length in range(len(path), 0, -1) if path[:length] in given]
        return f"from {names[0]}" if names else "from the environment"

    return Layer(document, dotted, origin)


def _nested(path: KeyPath, value: Any) -> dict[str, Any]:
    key, *rest = path
    return {key: _nested(tuple(rest), value) if rest else value}


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Both mappings as one: mappings are merged key by key, anything else in `over` replaces what `base` has."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return result


def without_nulls(document: Mapping[str, Any], schema: Any) -> dict[str, Any]:
    """A document without the keys that were left empty; those of named entries, such as intervals, are kept."""
    return {
        key: without_nulls(value, _child(schema, key)) if isinstance(value, Mapping) else value
        for key, value in document.items()
        if value is not None or not _keys(schema)
    }


# -------------------------------------------------------------------------------------------------------- unknown keys


def _child(schema: Any, key: str) -> Any:
    """What may stand under a key: a section, a type, Any; None when the key can't be there."""
    if schema is Any:
        return Any
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return next(
            (field.annotation for name, field in schema.model_fields.items() if key == (field.alias or name)), None
        )
    return get_args(schema)[1] if get_origin(schema) is dict else None


def _known(path: KeyPath, schema: Any) -> bool:
    for key in path:
        schema = _child(schema, key)
    return schema is not None and all(path)


def _keys(schema: Any) -> list[str]:
    if not (isinstance(schema, type) and issubclass(schema, BaseModel)):
        return []
    return [field.alias or name for name, field in schema.model_fields.items()]


def key_paths(schema: type[BaseModel], above: KeyPath = ()) -> Iterator[KeyPath]:
    """Every key that a document may have, sections before what is in them, without named entries such as sources."""
    for key in _keys(schema):
        path = (*above, key)
        yield path
        yield from key_paths(_child(schema, key), path)


def unknown_keys(layer: Layer, schema: type[BaseModel]) -> Iterator[str]:
    """In words, every key of a layer that means nothing, with the nearest one that does."""

    def walk(value: Any, expected: Any, above: KeyPath) -> Iterator[str]:
        if not isinstance(value, Mapping) or expected is Any:
            return
        for key, inner in value.items():
            path, child = (*above, str(key)), _child(expected, key)
            if child is not None:
                yield from walk(inner, child, path)
            elif _keys(expected):
                yield f"{_unknown_text(path, layer.spell(path), layer.spell, schema)} ({layer.origin(path)})"

    yield from walk(layer.document, schema, ())


def _unknown_text(path: KeyPath, shown: str, spell: Callable[[KeyPath], str], schema: type[BaseModel]) -> str:
    near = _nearest(path, schema)
    if near is None:
        section: Any = schema
        for key in path[:-1]:
            section = _child(section, key)
        above = path[:-1] if _keys(section) else ()
        keys = [key if spell is dotted else spell((*above, key)) for key in _keys(section) or _keys(schema)]
        return f"{shown}: unknown; there {'are' if keys[1:] else 'is'} {', '.join(keys)}"
    beside = spell is dotted and near[:-1] == path[:-1]
    return f"{shown}: unknown; did you mean {near[-1] if beside else spell(near)}?"


def _nearest(path: KeyPath, schema: type[BaseModel]) -> KeyPath | None:
    """The key that was probably meant: under its right section, with other separators, or with another spelling."""
    every = list(key_paths(schema))
    joined = {"_".join(each): each for each in every}
    if "_".join(path) in joined:
        return joined["_".join(path)]
    section: Any = schema
    for key in path[:-1]:
        section = _child(section, key)
    beside = difflib.get_close_matches(path[-1], _keys(section), n=1)
    if beside:
        return (*path[:-1], beside[0])
    elsewhere = next((each for each in every if each[-1] == path[-1]), None)
    if elsewhere:
        return elsewhere
    if path[1:] and section is not None and not _keys(section):
        return path[:-1]
    spelled = difflib.get_close_matches(path[0], joined, n=1, cutoff=0.75) if len(path) == 1 else []
    return joined[spelled[0]] if spelled else None


# -------------------------------------------------------------------------------------------------------- wrong values


def problem(error: "ErrorDetails", layers: list[Layer]) -> str:
    """In words: which key, what it was set to, what it may be, and where it was set. Secrets are left out."""
    path = tuple(str(key) for key in error["loc"] if key != "[key]")
    origin = next((f" ({layer.origin(path)})" for layer in layers if _holds(layer.document, path)), "")
    text = error["msg"].removeprefix("Value error, ").replace("Input should be", "should be")
    text = text.replace("a valid dictionary", "a mapping of keys").replace("valid ", "")
    if text.startswith("should be"):
        text = f"{_shown(path, error['input'])} {text}"
    return f"{dotted(path)}: {text}{origin}"


def _holds(document: Any, path: KeyPath) -> bool:
    for key in path:
        if not isinstance(document, Mapping) or key not in document:
            return False
        document = document[key]
    return True


def _shown(path: KeyPath, value: Any) -> str:
    if any(is_secret_name(key) for key in path):
        return HIDDEN
    if isinstance(value, (Mapping, list)):
        return "a list" if isinstance(value, list) else "a mapping"
    text = redacted(value if isinstance(value, str) else repr(value))
    short = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
    return repr(short) if isinstance(value, str) else short
