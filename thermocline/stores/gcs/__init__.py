"""A lake in a bucket of Google Cloud Storage."""

from thermocline.stores.gcs.objects import GcsObjects, GcsOptions

__all__ = ["GcsObjects", "GcsOptions"]
