"""The cold tier: Parquet objects and the Iceberg table over them, in a folder or in a bucket."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

import dagster as dg
from pydantic import Field

from thermocline.model.url import SecretUrl
from thermocline.ports import Lake
from thermocline.settings import Settings
from thermocline.stores.home import open_stores

OF_SETTINGS = "Empty: as the settings say."


class LakeResource(dg.ConfigurableResource[Lake]):
    """The cold lake. Opens its catalog when an asset first uses it and closes it after the run.

    A bucket is asked with the credentials that its SDK finds: variables, profiles, the machine's role. Where Dagster's
    own resource of the cloud has them, use `S3LakeResource` or `GCSLakeResource`.
    """

    settings: dg.ResourceDependency[Settings]
    url: str = Field(
        default="",
        description="s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or file:///FOLDER. Empty: `lake_url` of the settings.",
    )
    catalog_url: str = Field(
        default="",
        description="Where the Iceberg catalog lives. Empty: `catalog_url` of the settings, else their hot database. "
        'One with a password is given as dg.EnvVar("NAME").',
    )
    endpoint_url: str = Field(default="", description=f"Another store that speaks the bucket's protocol. {OF_SETTINGS}")
    region: str = Field(default="", description=f"The region of a bucket of S3. {OF_SETTINGS}")
    kms_key: str = Field(
        default="", description=f"The KMS key with which objects are encrypted, as the cloud names it. {OF_SETTINGS}"
    )
    requester_pays: bool | None = Field(
        default=None, description=f"Whether whoever asks a bucket of S3 pays, as some buckets demand. {OF_SETTINGS}"
    )
    user_project: str = Field(
        default="", description=f"The project that pays for what is asked of a bucket of Google's. {OF_SETTINGS}"
    )

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[Lake]:
        """The lake, for as long as it is used."""
        del context
        with closing(open_stores(self.chosen(), credentials=self.credentials()).lake) as lake:
            yield lake

    def credentials(self) -> Any:
        """What a bucket is asked with; None for what its SDK finds."""
        return None

    def chosen(self) -> Settings:
        """The settings, with what the fields say instead."""
        urls = {"lake_url": self.url, "catalog_url": self.catalog_url}
        settings = self.settings.model_copy(update={name: SecretUrl(url) for name, url in urls.items() if url})
        s3: dict[str, Any] = {"region": self.region, "kms_key_id": self.kms_key, "requester_pays": self.requester_pays}
        gcs: dict[str, Any] = {"kms_key_name": self.kms_key, "user_project": self.user_project}
        scheme = urlsplit(settings.lake_url.reveal()).scheme
        section, own = {"s3": ("s3", s3), "gs": ("gcs", gcs)}.get(scheme, ("s3", {}))
        given = {
            name: value
            for name, value in (own | {"endpoint_url": self.endpoint_url}).items()
            if value not in ("", None)
        }
        reached = getattr(settings.storage, section).model_copy(update=given)
        return settings.model_copy(update={"storage": settings.storage.model_copy(update={section: reached})})
