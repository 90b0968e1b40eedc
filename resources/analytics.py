"""What counts and aggregates rows of both tiers."""

import dagster as dg

from thermocline.ports import Analytics
from thermocline.settings import Settings
from thermocline.stores.home import open_stores


class AnalyticsResource(dg.ConfigurableResource[Analytics]):
    """Counts rows where they lie, for coverage."""

    settings: dg.ResourceDependency[Settings]

    def create_resource(self, context: dg.InitResourceContext) -> Analytics:
        """What counts."""
        del context
        return open_stores(self.settings).analytics
