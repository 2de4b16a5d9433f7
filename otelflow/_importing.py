"""Import a module for the user, and say in one sentence why it does not import."""

import sys
from collections.abc import Callable
from typing import TypeVar

from otelflow._core.text.hints import place_of
from otelflow.errors import TargetNotFound, TargetNotImportable

T = TypeVar("T")


def import_for_user(load: Callable[[], T], place: str, absence: Callable[[], str] | None = None) -> T:
    """Return what *load* returns, which imports *place*: a file, or a module for which *absence* says that it is none.

    Raises TargetNotFound with that sentence, or TargetNotImportable with the error, its line and what to do about it.
    """
    try:
        return load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        is_absent = isinstance(error, ModuleNotFoundError) and f"{place}.".startswith(f"{error.name}.")
        if is_absent and absence is not None:
            raise TargetNotFound(absence()) from None
        text, line = text_of(error), place_of(error)
        if isinstance(error, SyntaxError):
            text, line = error.msg, f"{error.filename}:{error.lineno}" if error.filename else line
        words = type(error).__name__ + (f": {text}" if text else "") + (f" ({line})" if line else "")
        raise TargetNotImportable(f"{place} does not import: {words}{_cure(error, place)}") from error


def text_of(error: BaseException) -> str:
    """Return the message of *error*; to make it is the user's own code, which may raise."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 the code of any exception's author
        return "(its text cannot be made)"


def _cure(error: BaseException, place: str) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"; install it where otelflow is installed: {sys.executable} -m pip install …"
    if isinstance(error, ImportError) and "relative import" in text_of(error):
        flow = ":flow" if place.endswith(".py") else ""
        return f"; name it as package.module{flow} in the folder that holds the package"
    if isinstance(error, SystemExit):
        return "; it ends itself when imported: put that under if __name__ == '__main__':"
    return ""
