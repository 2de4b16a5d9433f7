"""What is in force: every setting, its value, where that came from, and what it means."""

from typing import Any, NamedTuple

from otelflow._core.process import environment, settings
from otelflow._core.process.settings_table import SETTINGS

__all__ = ["Setting", "check", "in_force"]


class Setting(NamedTuple):
    """One setting, as ``in_force()`` returns it.

    *name* is the keyword of ``configure()`` and the key in ``[tool.otelflow]``, *variable* the one of the environment,
    *value* what is in force, *origin* ``default``, a variable's name, a file, or ``configure()``, and *meaning* a
    sentence for people.

    >>> from otelflow import settings
    >>> settings.in_force()["value_limit"].value
    8192
    """

    name: str
    variable: str
    value: Any
    origin: str
    meaning: str


def check() -> None:
    """Read variables and files anew.

    Raises ConfigurationError for the first value in them that says nothing usable, and for an unknown key of the file;
    an unknown variable is one warning in the log.

    >>> from otelflow import settings
    >>> settings.check()
    """
    settings.configure()


def in_force() -> dict[str, Setting]:
    """Return every setting by its name; a mistake in variables or files is one warning in the log, and ignored.

    >>> from otelflow import settings
    >>> settings.in_force()["events"].variable
    'OTELFLOW_EVENTS'
    """
    current = settings.settings()
    return {
        name: Setting(
            name,
            environment.PREFIX + name.upper(),
            getattr(current, name),
            current.origin(name),
            setting.meaning,
        )
        for name, setting in SETTINGS.items()
    }
