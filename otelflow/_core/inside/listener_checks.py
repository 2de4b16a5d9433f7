"""What a listener must be, said when it is added: one with a mistake would never be called."""

import inspect
from typing import Final, Protocol, runtime_checkable

from otelflow._core.inside.events import HOOKS, Flow_Run__Event, Flow_Run__Event_Type
from otelflow._core.text.functions import only_sets_up, plain_function
from otelflow._core.text.safe_str import brief_repr
from otelflow.errors import InvalidListener

# What a hook is called elsewhere, without underscores and in small letters
_FOREIGN: Final = {
    "start": r"on(flow|task)(start|started|begin|began|begun|enter|entered)",
    "stop": r"on(flow|task)(stop|stopped|end|ended|exit|finish|finished|complete|completed|done|fail|failed|failure)",
}
# How alike a name is that can only be meant as a hook; `on_message_sent` may be the user's own.
_MISSPELT: Final = 0.85


@runtime_checkable
class RunListener(Protocol):
    """Who can be given to ``add_listener``: it says which events it wants and hears them, on the thread of the run."""

    def wants(self, event_type: Flow_Run__Event_Type) -> bool:
        """Tell whether events of *event_type* are worth making for this listener."""

    def notify(self, event: Flow_Run__Event) -> None:
        """Take *event* in."""


def check_listener(candidate: object) -> None:
    """Raise InvalidListener for an object that cannot hear, has no hook, or has one that is misspelt or async."""
    if isinstance(candidate, type) and callable(getattr(candidate, "notify", None)):
        raise InvalidListener(
            f"{candidate.__name__} is a class: add a listener that is made of it, {candidate.__name__}()"
        )
    if isinstance(candidate, type) or not isinstance(candidate, RunListener):
        raise InvalidListener(
            f"{brief_repr(candidate)} is no listener: subclass otelflow.Listener and override a hook such as "
            "on_task_stop, or append a callable to flow_events.event_listeners"
        )
    _refuse_misspelt_hooks(candidate)
    for name in (*HOOKS.values(), "on_event", "notify"):
        if hasattr(candidate, name):
            check_hook(f"{type(candidate).__name__}.{name}", getattr(candidate, name))
    if not any(candidate.wants(event_type) for event_type in Flow_Run__Event_Type):
        raise InvalidListener(
            f"{type(candidate).__name__} has no hook: override on_flow_start, on_task_stop, on_event, …"
        )


def check_hook(name: str, hook: object) -> None:
    """Raise InvalidListener for a *hook* that cannot be called with an event, or whose call does nothing yet."""
    if not callable(hook):
        raise InvalidListener(
            f"{name} cannot be called: make it a plain def that takes the event, not {brief_repr(hook, 40)}"
        )
    function = plain_function(hook)
    if only_sets_up(function):
        raise InvalidListener(
            f"{name} is a flow, so a call of it only sets the flow up: make it a plain def without @flow"
        )
    if not inspect.isroutine(function):
        function = getattr(type(function), "__call__", None)  # noqa: B004 an object whose class has one
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        cure = "make it a plain def (for work on a loop: asyncio.run_coroutine_threadsafe)"
        raise InvalidListener(f"{name} is async, and a hook is called without being awaited: {cure}")
    if inspect.isgeneratorfunction(function):
        raise InvalidListener(f"{name} has a yield, so a call of it does nothing: make it a plain def without one")
    deaf = f"{name} is called with the event alone, which it does not take"
    try:
        signature = inspect.signature(hook)
    except (TypeError, ValueError):  # some callables written in C have none; a method without self is none
        if inspect.ismethod(hook):
            raise InvalidListener(f"{deaf}: it has no parameter for self") from None
        return
    try:
        signature.bind(None)
    except TypeError as error:
        raise InvalidListener(f"{deaf}: {error}") from None


def _refuse_misspelt_hooks(candidate: RunListener) -> None:
    """Raise InvalidListener for a method whose name is nearly that of a hook: it would never be called."""
    import difflib  # noqa: PLC0415 as late as a listener is added
    import re  # noqa: PLC0415 as above

    kind = type(candidate)
    hooks = {*HOOKS.values(), "on_event", "on_start", "on_end"}
    # Who hears an event may call a method of his own with it: ``on_task_failed`` for some of those of ``on_task_stop``.
    unheard = {hook for event_type, hook in HOOKS.items() if not candidate.wants(event_type)}
    for name in dir(kind):
        if not name.startswith("on") or name.startswith("on__") or name in hooks:
            continue
        plain = name.replace("_", "").lower()
        matches = [(match[1], word) for word, pattern in _FOREIGN.items() if (match := re.fullmatch(pattern, plain))]
        close = [hook for subject, verb in matches if (hook := f"on_{subject}_{verb}") in unheard]
        if name.startswith("on_"):
            close += difflib.get_close_matches(name.lower(), hooks, n=1, cutoff=_MISSPELT)
        if close:
            raise InvalidListener(f"{kind.__name__} has no hook {name!r}; did you mean {close[0]!r}?")
