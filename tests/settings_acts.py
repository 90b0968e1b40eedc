"""Settings from short variable names, and what is said where they are refused."""

import pytest

from thermocline.errors import SettingsError
from thermocline.settings import Document, Settings, load_settings
from thermocline.settings_layers import key_paths


def load(**variables: str) -> Settings:
    """The settings that short variable names give, without the environment of this process."""
    return load_settings(environ={f"THERMOCLINE_{name}": text for name, text in variables.items()})


def refused(**variables: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(**variables)
    return str(caught.value)


def is_section(path: tuple[str, ...]) -> bool:
    """Whether a key holds others."""
    return any(other[: len(path)] == path and other != path for other in key_paths(Document))
