"""Opens the stores for a command: settings read, embedded database started, everything up to date."""

from comms_pipeline.cli.installation import initialise
from comms_pipeline.domain.errors import InvalidSettings
from comms_pipeline.settings import GENERATED_FILE, load_settings
from comms_pipeline.stores import Stores


def open_stores() -> Stores:
    """Stores of the current settings, ready for use.

    Raises `InvalidSettings` for a home that was never initialised: in the wrong folder, a new and empty
    installation would look like lost data.
    """
    settings = load_settings()
    if not (settings.home / GENERATED_FILE).exists():
        raise InvalidSettings(
            str(settings.home),
            "nothing was initialised here",
            "Run `comms init`, or set COMMS_HOME to where you did",
        )
    return initialise(settings)
