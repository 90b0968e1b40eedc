"""Room on this machine's disk for rows that don't fit in memory."""

import dagster as dg

from thermocline.ports import SpoolFactory
from thermocline.settings import Settings
from thermocline.stores.home import open_stores


class SpoolsResource(dg.ConfigurableResource[SpoolFactory]):
    """Opens spools in the home; each is gone with its files when it is closed."""

    settings: dg.ResourceDependency[Settings]

    def create_resource(self, context: dg.InitResourceContext) -> SpoolFactory:
        """What opens a spool."""
        del context
        return open_stores(self.settings).spools
