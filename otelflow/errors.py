"""Every error that otelflow raises.

OtelflowError
├── ConfigurationError (ValueError)     an unknown field, variable or value
├── UnknownKeyword (TypeError)          a decorator or flow got a keyword it does not have
├── NoSuchAttribute (AttributeError)    a flow has it under another name
├── NotCallable (TypeError)             what should be run cannot be called
├── DecoratedTwice (TypeError)          @task over @flow, or one of them twice; setup() of a @flow
├── FlowNotSetUp (ValueError)           execute() before setup()
├── UnfillableParameter (TypeError)     a parameter has no value, default or injection
├── RunTimeout (TimeoutError)           a flow or task took longer than its timeout
├── NotSubmittable (TypeError)          submit() or map() of what cannot run side by side
├── UpstreamFailed (RuntimeError)       a submitted task was not run: one that it waits for has failed
├── NotPortable (TypeError)             a task, argument or result that cannot go to another process, or come from it
├── WorkerLost (RuntimeError)           the process that ran a task was killed, or has crashed
├── BlockedLoop (RuntimeError)          waiting for a future would block the loop that runs it
├── CircularWait (RuntimeError)         a task would wait for itself, or several for each other
├── LimitTimeout (TimeoutError)         a limit was waited for too long
├── InvalidArtifact (ValueError)        an artifact that cannot be recorded as asked
├── InvalidListener (TypeError)         a listener without a hook
├── TargetNotFound (LookupError)        no such file, module or flow
├── TargetNotImportable (ImportError)   the file or module raises when imported
├── InvalidParameter (ValueError)       a --param, or an argument that is validated, does not convert
├── ResultNotStorable (TypeError)       a value that its serializer cannot hold
├── ResultUnreadable (ValueError)       what was kept of a value is damaged, or somebody else's
├── RunNotResumable (LookupError)       a run that is unknown, has ended well, or goes on
├── StoreUnreadable (OSError)           the local store cannot be opened
├── TraceNotFound (LookupError)         no stored trace has this id
├── ServerError                         a request was answered with a server's error
├── ClientGone                          the client of a request went away before it had the whole answer
└── MissingExtra (ImportError)          an optional package is not installed

And one that is no error: Terminated (KeyboardInterrupt), by which ``otelflow run`` ends a program's flows on SIGTERM.
"""

import copyreg
from collections.abc import Iterable
from typing import Any

from otelflow._core.text.safe_str import brief_repr, error_text, safe_str, type_name

__all__ = [
    "BlockedLoop",
    "CircularWait",
    "ClientGone",
    "ConfigurationError",
    "DecoratedTwice",
    "FlowNotSetUp",
    "InvalidArtifact",
    "InvalidListener",
    "InvalidParameter",
    "LimitTimeout",
    "MissingExtra",
    "NoSuchAttribute",
    "NotCallable",
    "NotPortable",
    "NotSubmittable",
    "OtelflowError",
    "ResultNotStorable",
    "ResultUnreadable",
    "RunNotResumable",
    "RunTimeout",
    "ServerError",
    "StoreUnreadable",
    "TargetNotFound",
    "TargetNotImportable",
    "Terminated",
    "TraceNotFound",
    "UnfillableParameter",
    "UnknownKeyword",
    "UpstreamFailed",
    "WorkerLost",
]


class OtelflowError(Exception):
    """Whatever otelflow itself refuses or gives up; a flow's own exceptions are never wrapped in it.

    >>> from otelflow import OtelflowError, task
    >>> try:
    ...     task(3)
    ... except OtelflowError as error:
    ...     print(error)
    @task needs a function or method to run, not int (3)
    """

    def __reduce__(self) -> tuple[Any, ...]:
        # The class makes the message; a copy in another process has it as it was made.
        return copyreg.__newobj__, (type(self), *self.args), vars(self)  # type: ignore[attr-defined]  # not in its stub


class ConfigurationError(OtelflowError, ValueError):
    """Raised by ``configure()``, ``Flow_Run__Config`` and ``Objective`` for an unknown field or an unusable value.

    A mistake in a variable or file is one warning in a program that never calls ``configure()``.
    """


class UnknownKeyword(OtelflowError, TypeError):
    """Raised where a decorator, flow or ``Objective`` gets a keyword it does not have; ``keyword`` is that one."""

    def __init__(self, owner: str, keyword: str, keywords: Iterable[str], cure: str = "") -> None:
        from otelflow._core.text.hints import suggestion  # noqa: PLC0415 only for mistakes

        super().__init__(f"{owner} has no keyword {keyword!r}{cure or suggestion(keyword, keywords)}")
        self.keyword = keyword


class NotCallable(OtelflowError, TypeError):
    """Raised where a flow or task is to be made of something that cannot be called."""

    def __init__(self, owner: str, target: object, cure: str = "") -> None:
        if owner.startswith("@") and hasattr(type(target), "__get__"):  # a property, say
            cure = f"; put {owner} on the function inside of it"
        super().__init__(
            f"{owner} needs a function or method to run, not {type(target).__name__} ({brief_repr(target)}){cure}"
        )


class NoSuchAttribute(OtelflowError, AttributeError):
    """Raised where a flow is asked for what it has under another name: ``result``, say, as a future has it."""

    def __init__(self, owner: str, attribute: str, cure: str) -> None:
        super().__init__(f"{owner} has no attribute {attribute!r}; {cure}")


class DecoratedTwice(OtelflowError, TypeError):
    """Raised by ``@task`` over a flow or a task, and where ``@flow`` or a ``Flow`` is to run what is a flow already."""

    def __init__(self, owner: str, inner: str, name: str) -> None:
        if owner == inner:
            cure = f"leave one {owner} out"
        elif owner.endswith("()"):
            cure = f"it is a flow already, and {name}(…).execute() runs it"
        elif owner.startswith("class "):
            cure = f"leave {inner} out, since the class is a flow already"
        else:
            cure = f"make a task of a function that returns {name}(…).execute().flow_return_value"
        super().__init__(f"{owner} over {inner} {name!r}: {cure}")


class FlowNotSetUp(OtelflowError, ValueError):
    """Raised by ``execute()`` of a flow that was given nothing to run."""

    def __init__(self, owner: str = "Flow", names: Iterable[str] = ()) -> None:
        from otelflow._core.text.hints import nearest  # noqa: PLC0415 only for mistakes

        similar = nearest("main", [name for name in names if not name.startswith("_")])
        cure = "" if owner == "Flow" else f", or write a method main() in {owner}"
        cure = f"; did you mean main() with {owner}.{similar}()?" if similar else cure
        super().__init__(f"This flow has nothing to run: call setup(target, *args, **kwargs) before execute(){cure}")


class UnfillableParameter(OtelflowError, TypeError):
    """Raised when a flow or task runs and a parameter has no value, no default and nothing to be injected."""

    def __init__(self, kind: str, name: str, reason: str, question: str = "") -> None:
        if question:
            cure = question
        elif reason.startswith(("missing", "nothing can be injected")):
            cure = "; pass the argument, give it a default, or return it from the flow's task_dependencies()"
        else:
            cure = ""
        super().__init__(f"{kind} {name!r} cannot be called: {reason}{cure}")


class RunTimeout(OtelflowError, TimeoutError):
    """Raised by a flow or task that took longer than its ``timeout``: ``seconds``."""

    def __init__(self, kind: str, name: str, seconds: float) -> None:
        super().__init__(f"{kind} {name!r} took longer than its timeout of {seconds:g} s")
        self.kind, self.name, self.seconds = kind, name, seconds

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.kind, self.name, self.seconds), vars(self)  # an OSError is made by its __init__


class NotSubmittable(OtelflowError, TypeError):
    """Raised by ``submit()`` and ``map()`` for a task or arguments that cannot run side by side with the flow."""

    def __init__(self, task_name: str, reason: str, cure: str) -> None:
        super().__init__(f"task {task_name!r} cannot be submitted: {reason}; {cure}")


class UpstreamFailed(OtelflowError, RuntimeError):
    """Raised for a task or flow that was not run, since one that it waits for has failed: that is the ``__cause__``."""

    def __init__(self, task_name: str, upstream: str, error: BaseException, kind: str = "task") -> None:
        if isinstance(error, UpstreamFailed) and error.__cause__ is not None:  # what it comes of in the end
            upstream, error = error.upstream, error.__cause__
        reason = error_text(type_name(error), safe_str(error, 200))
        super().__init__(
            f"{kind} {task_name!r} was not run: task {upstream!r}, which it waits for, failed with {reason}"
        )
        self.upstream: str = upstream
        self.__cause__ = error


class NotPortable(OtelflowError, TypeError):
    """Raised by the future of a task that is to run in another process, if something of it cannot travel."""

    def __init__(self, task_name: str, reason: str, cure: str) -> None:
        super().__init__(f"task {task_name!r} cannot run in another process: {reason}; {cure}")


class WorkerLost(OtelflowError, RuntimeError):
    """Raised by the future of a task whose process was killed, has crashed while it ran, or could not begin."""

    def __init__(self, task_name: str, reason: str, cure: str) -> None:
        super().__init__(
            f"task {task_name!r} is lost: its process was killed, has crashed or never began ({reason}); {cure}"
        )


class BlockedLoop(OtelflowError, RuntimeError):
    """Raised where waiting for a future would block the event loop that is to run its task."""

    def __init__(self, task_name: str) -> None:
        super().__init__(
            f"waiting for task {task_name!r} would block the event loop that runs it: await its future instead"
        )


class CircularWait(OtelflowError, RuntimeError):
    """Raised in a task that would wait for itself, perhaps by way of others: ``names`` are all of them."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names: tuple[str, ...] = tuple(names)
        first, *others = map(repr, self.names)
        ring = ", which waits for ".join(others)
        super().__init__(
            f"task {first} would wait for {ring if len(others) > 1 else 'itself'}, and none could ever end: "
            "ask for the result where it is used, in the flow"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.names,), vars(self)


class LimitTimeout(OtelflowError, TimeoutError):
    """Raised where ``concurrency`` or ``rate_limit`` was waited for longer than its time-out; ``limit`` is its name."""

    def __init__(self, limit: str, words: str, seconds: float) -> None:
        super().__init__(
            f"the limit {limit!r} ({words}) was not free within {seconds:g} s: give it more time, or let fewer want it"
        )
        self.limit, self.words, self.seconds = limit, words, seconds

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.limit, self.words, self.seconds), vars(self)  # an OSError is made by its __init__


class InvalidArtifact(OtelflowError, ValueError):
    """Raised by ``add_…_artifact()`` for an artifact that cannot be recorded as asked."""


class InvalidListener(OtelflowError, TypeError):
    """Raised by ``add_listener()`` and ``configure()`` for a listener without a hook, or with a misspelt one."""


class TargetNotFound(OtelflowError, LookupError):
    """Raised by ``otelflow run`` and ``otelflow generate`` when there is no such file, module or flow."""

    def __str__(self) -> str:
        """Return the plain message (LookupError keeps it, KeyError would quote it)."""
        return str(self.args[0]) if self.args else ""


class TargetNotImportable(OtelflowError, ImportError):
    """Raised by ``otelflow run`` and ``otelflow generate`` when the file or module raises as it is imported."""


class InvalidParameter(OtelflowError, ValueError):
    """Raised by ``otelflow run`` for a ``--param`` that is unknown, missing, or does not convert.

    And by a flow or task with ``validate_parameters``, for an argument that does not fit its annotation.
    """


class ResultNotStorable(OtelflowError, TypeError):
    """Raised by a serializer for a value that it cannot hold; a task that returns one is warned of, and goes on.

    ``place`` is where in the value it stands, such as ``['rows'][3]``.
    """

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"the value{' at ' + place if place else ''} {reason}")
        self.place = place
        self.reason = reason


class ResultUnreadable(OtelflowError, ValueError):
    """Raised where what was kept of a value is damaged, was written by somebody else, or is not kept any more."""


class RunNotResumable(OtelflowError, LookupError):
    """Raised by ``flow.resume()`` for a run that is not known, has ended well, goes on, or is another flow's."""


class StoreUnreadable(OtelflowError, OSError):
    """Raised when the local store is off, or its folder cannot be opened."""


class TraceNotFound(OtelflowError, LookupError):
    """Raised when no stored trace has this id, or more than one begins so."""


class MissingExtra(OtelflowError, ImportError):
    """Raised when an optional package is not installed; ``extra`` is what to install: ``otelflow[extra]``."""

    def __init__(self, extra: str) -> None:
        super().__init__(f"This needs an optional package: pip install 'otelflow[{extra}]'")
        self.extra = extra


class Terminated(KeyboardInterrupt):
    """Raised in the main thread under ``otelflow run`` and ``otelflow serve`` when SIGTERM or SIGHUP arrives.

    As Ctrl-C does, it cancels what runs; ``str()`` of it is the signal's name. Nothing is raised in a program that
    otelflow did not start.

    Example:
        >>> from otelflow.errors import Terminated
        >>> Terminated("SIGTERM").code
        143
    """

    @property
    def code(self) -> int:
        """The exit code of a program that this signal ended: 128 and the signal's number."""
        import signal  # noqa: PLC0415 it takes a thirtieth of an import of otelflow

        return 128 + signal.Signals[str(self)]


class ServerError(OtelflowError):
    """Ends the run of a request that was answered with a server's error; whoever asked gets the answer, not this.

    It is the ``error.type`` of the run's span: nothing was raised in the program that one could name.
    """

    def __init__(self, status: int | str) -> None:
        super().__init__(f"the answer was {status}")


class ClientGone(OtelflowError):
    """Ends the run of a request whose client went away before it had the whole answer: a cancellation."""

    def __init__(self) -> None:
        super().__init__("the client went away before it had the whole answer")
