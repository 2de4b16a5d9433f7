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

import copyreg
from collections.abc import Iterable
from typing import Any

from otelflow._core.text.hints import nearest

__all__ = [
    "ConfigurationError",
    "FlowNotSetUp",
    "InvalidArtifact",
    "InvalidListener",
    "InvalidParameter",
    "MissingExtra",
    "NotCallable",
    "OtelflowError",
    "StoreUnreadable",
    "TargetNotFound",
    "TargetNotImportable",
    "TraceNotFound",
    "UnfillableParameter",
    "UnknownKeyword",
]


class OtelflowError(Exception):
    """Whatever otelflow itself refuses; a flow's own exceptions are never wrapped in it."""

    def __reduce__(self) -> tuple[Any, ...]:
        # The class makes the message; a copy in another process has it as it was made.
        return copyreg.__newobj__, (type(self), *self.args), vars(self)  # type: ignore[attr-defined]  # not in its stub


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
