"""A lake in Google Cloud Storage that is reached as dagster-gcp reaches it."""

from typing import Any

import dagster as dg
from dagster_gcp.gcs import GCSResource
from pydantic import Field

from resources.lake import LakeResource
from thermocline.errors import SettingsError


class GCSLakeResource(LakeResource):
    """A lake in a bucket of Google's, asked by the client of a `GCSResource`.

    A `GCSResource` with credentials of its own, by another `get_client`, serves as well.
    """

    gcs: dg.ResourceDependency[GCSResource]
    url: str = Field(description="gs://BUCKET/PREFIX.")

    def credentials(self) -> Any:
        """The client of the `GCSResource`, which has its address as well."""
        if self.endpoint_url:
            msg = (
                "a lake that is asked by a GCSResource has its address from there; leave endpoint_url out, or use a "
                "LakeResource. Nothing was asked"
            )
            raise SettingsError(msg)
        return self.gcs.get_client()
