"""What tests of storage classes share."""

from datetime import date

from thermocline.model.prices import ClassPrice, PriceBook
from thermocline.model.storage_classes import Provider, classes_of

AS_OF = date(2024, 6, 1)


def free(provider: Provider) -> PriceBook:
    """A book by which the next class always costs less and moving costs nothing, so that the policy alone decides.

    Far less, since colder classes of S3 bill small objects for more than they are.
    """
    names = [each.name for each in classes_of(provider)]
    classes = {name: ClassPrice(float(1_000 ** (len(names) - at))) for at, name in enumerate(names)}
    return PriceBook(provider, "nowhere", classes, 0.1, "made", AS_OF)
