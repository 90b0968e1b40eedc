"""How Hypothesis runs here."""

from hypothesis import settings

# The machine is shared; how long one example takes says nothing.
settings.register_profile("thermocline", deadline=None, max_examples=60)
settings.load_profile("thermocline")
