"""Opens the stores for a command: settings read, embedded database started, everything up to date."""

from comms_pipeline.cli.installation import initialise
from comms_pipeline.settings import load_settings
from comms_pipeline.stores import Stores


def open_stores() -> Stores:
    """Stores of the current settings, ready for use."""
    return initialise(load_settings())
