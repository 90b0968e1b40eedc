"""The cold tier: Parquet objects and the Iceberg table over them."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

import dagster as dg
from pydantic import Field

from thermocline.model.url import SecretUrl
from thermocline.ports import Lake
from thermocline.settings import Settings
from thermocline.stores.home import open_stores


class LakeResource(dg.ConfigurableResource[Lake]):
    """The cold lake. Opens its catalog when an asset first uses it and closes it after the run."""

    settings: dg.ResourceDependency[Settings]
    url: str = Field(default="", description="file:///FOLDER … Empty: `lake_url` of the settings.")
    catalog_url: str = Field(
        default="",
        description="Where the Iceberg catalog lives. Empty: `catalog_url` of the settings, else their hot database. "
        'One with a password is given as dg.EnvVar("NAME").',
    )

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[Lake]:
        """The lake, for as long as it is used."""
        del context
        own = {"lake_url": self.url, "catalog_url": self.catalog_url}
        given = {name: SecretUrl(url) for name, url in own.items() if url}
        with closing(open_stores(self.settings.model_copy(update=given)).lake) as lake:
            yield lake
