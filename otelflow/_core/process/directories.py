"""Where otelflow keeps what outlives a process, on each platform."""

import os
import sys
from pathlib import Path

from otelflow.errors import ConfigurationError


def state_directory(purpose: str, cure: str) -> Path:
    """Return the folder of this user that holds otelflow's own.

    Raises ConfigurationError, which says what it is for and what to do, where the user has no home.
    """
    state_home = os.environ.get("XDG_STATE_HOME", "")
    # The XDG rules say that a relative path is to be ignored.
    if state_home and Path(state_home).is_absolute():
        return Path(state_home) / "otelflow"
    try:
        home = Path.home()
    except RuntimeError as error:
        raise ConfigurationError(f"This user has no home directory for {purpose}; {cure}") from error
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else home / "AppData" / "Local") / "otelflow"
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "otelflow"
    return home / ".local" / "state" / "otelflow"
