"""A lake in a bucket of Amazon S3, or of a store that speaks its protocol."""

from thermocline.stores.s3.objects import S3Objects, S3Options

__all__ = ["S3Objects", "S3Options"]
