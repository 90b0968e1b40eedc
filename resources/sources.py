"""Where rows come from."""

from dataclasses import dataclass

import dagster as dg

from thermocline.ports import Source, SourceFactory
from thermocline.settings import Settings


class SourcesResource(dg.ConfigurableResource[SourceFactory]):
    """Opens sources by name: `sample`, `lean`, `files`, `synthetic`, or one that the settings declare."""

    settings: dg.ResourceDependency[Settings]

    def create_resource(self, context: dg.InitResourceContext) -> SourceFactory:
        """What opens a source."""
        del context
        return _Sources(self.settings)


@dataclass(frozen=True)
class _Sources:
    settings: Settings

    def __call__(self, name: str, *, path: str | None = None) -> Source:
        from thermocline.sources.open import open_source  # noqa: PLC0415
        from thermocline.sources.transport.network import Network  # noqa: PLC0415  # it brings vendors' SDKs

        options = self.settings.sources.get(name)
        return open_source(name, path=path, options=options, network=Network.of(self.settings))
