"""A lake in S3 that is reached as dagster-aws reaches it."""

from typing import TYPE_CHECKING

import dagster as dg
from dagster_aws.s3 import S3Resource
from pydantic import Field

from resources.lake import LakeResource
from thermocline.errors import SettingsError
from thermocline.settings import Settings

if TYPE_CHECKING:
    import boto3


class S3LakeResource(LakeResource):
    """A lake in a bucket of S3, asked with the profile or the keys, the region and the endpoint of an `S3Resource`."""

    s3: dg.ResourceDependency[S3Resource]
    url: str = Field(description="s3://BUCKET/PREFIX.")

    def credentials(self) -> "boto3.Session":
        """A session that has what the `S3Resource` has."""
        import boto3  # noqa: PLC0415  # for a run alone

        given = self.s3
        if given.use_unsigned_session or not given.use_ssl or given.verify is not None:
            msg = (
                "a lake can't be asked with use_unsigned_session, use_ssl or verify of an S3Resource; write an "
                "endpoint_url with http:// where it has no TLS, and name a certificate in the variable AWS_CA_BUNDLE. "
                "Nothing was asked"
            )
            raise SettingsError(msg)
        return boto3.Session(
            profile_name=given.profile_name,
            region_name=given.region_name,
            aws_access_key_id=given.aws_access_key_id,
            aws_secret_access_key=given.aws_secret_access_key,
            aws_session_token=given.aws_session_token,
        )

    def chosen(self) -> Settings:
        """The settings, with the endpoint of the `S3Resource` where this names none."""
        settings = super().chosen()
        if self.endpoint_url or not self.s3.endpoint_url:
            return settings
        storage = settings.storage
        s3 = storage.s3.model_copy(update={"endpoint_url": self.s3.endpoint_url})
        return settings.model_copy(update={"storage": storage.model_copy(update={"s3": s3})})
