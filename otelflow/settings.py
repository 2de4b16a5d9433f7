"""What is in force: every setting, its value, where that came from, and what it means."""

from typing import Any, NamedTuple

from otelflow._core.process import settings

__all__ = ["Setting", "check", "in_force"]


class Setting(NamedTuple):
    """One setting; ``origin`` is ``default``, a variable's name, a file, or ``configure()``."""

    name: str
    variable: str
    value: Any
    origin: str
    meaning: str


def check() -> None:
    """Read variables and files anew. Raises ConfigurationError for the first mistake in them."""
    settings.configure()


def in_force() -> dict[str, Setting]:
    """Return every setting by its name; a mistake in variables or files is one warning in the log, and ignored."""
    found = settings.settings()
    return {
        name: Setting(name, settings.PREFIX + name.upper(), getattr(found, name), found.origin(name), setting.meaning)
        for name, setting in settings.SETTINGS.items()
    }
