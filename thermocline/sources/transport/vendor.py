"""What every source has that asks a vendor."""

from typing import Generic

from thermocline.sources.options import AnyOptions
from thermocline.sources.transport.network import Network


class Vendor(Generic[AnyOptions]):
    """A source with a name and options, and the network that it asks over. Nothing is asked before it fetches."""

    def __init__(self, name: str, options: AnyOptions, network: Network) -> None:
        """Keep the options."""
        self._name, self._options, self._network = name, options, network

    @property
    def name(self) -> str:
        """What the `source` column of its rows says."""
        return self._name
