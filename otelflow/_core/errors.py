"""Every error that otelflow raises.

OtelflowError
├── ConfigurationError (ValueError)     an unknown field, variable or value
├── UnknownKeyword (TypeError)          a decorator or flow got a keyword it does not have
├── NotCallable (TypeError)             what should be run cannot be called
├── FlowNotSetUp (ValueError)           execute() before setup()
├── UnfillableParameter (TypeError)     a parameter has no value, default or injection
├── InvalidArtifact (ValueError)        an artifact that cannot be recorded as asked
├── InvalidListener (TypeError)         a listener without a hook
├── TargetNotFound (LookupError)        no such file, module or flow
├── TargetNotImportable (ImportError)   the file or module raises when imported
├── InvalidParameter (ValueError)       a --param that does not convert
├── StoreUnreadable (OSError)           the local store cannot be opened
├── TraceNotFound (LookupError)         no stored trace has this id
└── MissingExtra (ImportError)          an optional package is not installed
"""

from collections.abc import Iterable
from typing import Any


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the closest of *known*, or a list of them, or nothing."""
    names = sorted(known)
    import difflib  # noqa: PLC0415 only for mistakes

    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(names)}" if names else ""


def place_of(error: BaseException) -> str:
    """Return file:line of the innermost frame of *error* that is the user's own, or nothing."""
    import os  # noqa: PLC0415 only for errors
    import sysconfig  # noqa: PLC0415
    import traceback  # noqa: PLC0415

    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 pathlib takes long
    ours = (here + os.sep, f"{here}_exporters{os.sep}", "<frozen importlib")
    libraries = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    frames = [one for one in traceback.extract_tb(error.__traceback__) if not one.filename.startswith(ours)]
    own = [one for one in frames if not one.filename.startswith((*libraries, "<"))]
    chosen = (own or frames)[-1:]
    return f"{chosen[0].filename}:{chosen[0].lineno}" if chosen else ""


class OtelflowError(Exception):
    """Whatever otelflow itself refuses; a flow's own exceptions are never wrapped in it."""

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        _make_public(cls)

    def __reduce__(self) -> tuple[Any, ...]:
        # The message is made by the class; it goes from process to process as it is.
        return _restored, (type(self), self.args, dict(vars(self)))


def _make_public(kind: type) -> None:
    """Let tracebacks, ``error.type`` and pickles say the name by which the error is imported."""
    if kind.__module__ == __name__:
        kind.__module__ = "otelflow.errors"


_make_public(OtelflowError)


def _restored(kind: type[OtelflowError], args: tuple[object, ...], state: dict[str, object]) -> OtelflowError:
    error = kind.__new__(kind, *args)
    error.args = args
    vars(error).update(state)
    return error


class ConfigurationError(OtelflowError, ValueError):
    """An unknown field, variable or value in the configuration."""


class UnknownKeyword(OtelflowError, TypeError):
    """A decorator or flow got a keyword it does not have."""

    def __init__(self, what: str, keyword: str, known: Iterable[str], cure: str = "") -> None:
        super().__init__(f"{what} has no keyword {keyword!r}{cure or nearest(keyword, known)}")
        self.keyword = keyword


class NotCallable(OtelflowError, TypeError):
    """What should be run cannot be called."""

    def __init__(self, what: str, target: object, cure: str = "") -> None:
        found = f"{type(target).__name__} ({target!r:.80})"
        super().__init__(f"{what} needs a function or method to run, not {found}{cure}")


class FlowNotSetUp(OtelflowError, ValueError):
    """``execute()`` before ``setup()``."""

    def __init__(self) -> None:
        super().__init__("This flow has nothing to run: call setup(target, *args, **kwargs) before execute()")


class UnfillableParameter(OtelflowError, TypeError):
    """A parameter has no value, no default and nothing to be injected."""

    def __init__(self, what: str, name: str, reason: str) -> None:
        is_missing = reason.startswith(("missing", "nothing can be injected")) and "did you mean" not in reason
        cure = "; pass the argument, give it a default, or return it from the flow's task_dependencies()"
        super().__init__(f"{what} {name!r} cannot be called: {reason}{cure if is_missing else ''}")


class InvalidArtifact(OtelflowError, ValueError):
    """An artifact that cannot be recorded as asked."""


class InvalidListener(OtelflowError, TypeError):
    """A listener without a hook."""


class TargetNotFound(OtelflowError, LookupError):
    """No such file, module or flow."""

    def __str__(self) -> str:
        """Return the plain message (LookupError keeps it, KeyError would quote it)."""
        return str(self.args[0]) if self.args else ""


class TargetNotImportable(OtelflowError, ImportError):
    """The file or module raises when it is imported."""


class InvalidParameter(OtelflowError, ValueError):
    """A ``--param`` that does not convert to what the flow asks for."""


class StoreUnreadable(OtelflowError, OSError):
    """The local store cannot be opened."""


class TraceNotFound(OtelflowError, LookupError):
    """No stored trace has this id."""


class MissingExtra(OtelflowError, ImportError):
    """An optional package is not installed."""

    def __init__(self, extra: str) -> None:
        super().__init__(f"This needs an optional package: pip install 'otelflow[{extra}]'")
        self.extra = extra
