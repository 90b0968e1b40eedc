"""The hot tier: PostgreSQL."""

import dagster as dg
from pydantic import Field

from thermocline.model.url import SecretUrl
from thermocline.ports import Hot
from thermocline.settings import Settings
from thermocline.stores.home import open_stores


class HotResource(dg.ConfigurableResource[Hot]):
    """The hot tier and the ledger. Connects, or starts the embedded PostgreSQL, when an asset first uses it."""

    settings: dg.ResourceDependency[Settings]
    url: str = Field(
        default="",
        description="postgresql://… Empty: `hot_url` of the settings, else the embedded server of the home. One with a "
        'password is given as dg.EnvVar("NAME").',
    )

    def create_resource(self, context: dg.InitResourceContext) -> Hot:
        """The hot store."""
        del context
        settings = self.settings
        if self.url:
            settings = settings.model_copy(update={"hot_url": SecretUrl(self.url)})
        return open_stores(settings).hot
