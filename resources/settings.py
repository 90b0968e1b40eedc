"""The settings in force, for assets and for the resources that need them."""

from pathlib import Path

import dagster as dg
from pydantic import Field

from thermocline.settings import Settings, load_settings


class SettingsResource(dg.ConfigurableResource[Settings]):
    """The settings of a home: thermocline.yaml and THERMOCLINE_* variables."""

    home: str = Field(default="", description="The home. Empty: THERMOCLINE_HOME, else .thermocline.")
    config: str = Field(default="", description="A thermocline.yaml. Empty: THERMOCLINE_CONFIG, else the home's.")

    def create_resource(self, context: dg.InitResourceContext) -> Settings:
        """The settings, read anew for each run."""
        del context
        return load_settings(Path(self.home) if self.home else None, Path(self.config) if self.config else None)
