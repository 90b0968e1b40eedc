"""Folders into which others put files."""

import dagster as dg

from thermocline.ports import DropFactory
from thermocline.settings import Settings
from thermocline.sources.drops import LocalDrops


class DropsResource(dg.ConfigurableResource[DropFactory]):
    """The drop folders that the settings declare."""

    settings: dg.ResourceDependency[Settings]

    def create_resource(self, context: dg.InitResourceContext) -> DropFactory:
        """What opens a drop folder."""
        del context
        return LocalDrops(self.settings.drops)
