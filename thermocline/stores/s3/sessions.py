"""Sessions of the SDK that read its descriptions of services once in a process, not in a tenth of a second each."""

from functools import lru_cache
from typing import Any

from botocore.loaders import Loader, create_loader


def informed(session: Any) -> Any:
    """The same session of botocore or aiobotocore, with the descriptions that others have read already."""
    session.register_component("data_loader", _loader(session.get_config_variable("data_path")))
    return session


@lru_cache(maxsize=4)
def _loader(path: str | None) -> Loader:
    return create_loader(path)
