"""What this process has instrumented: begun by a plan, and ended for all of them."""

import functools
import importlib
import inspect
import logging
import os
import sys
import types
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace import ProxyTracerProvider, get_tracer_provider

from otelflow import add_listener, remove_listener
from otelflow._core.process import forks, losses, settings
from otelflow._core.process.process import State
from otelflow._core.process.provider import configure_with_first_run
from otelflow._core.runs.observers import Observer, add_observer, observed, remove_observer, tell
from otelflow._core.runs.run import Run
from otelflow._core.text.own_logger import log
from otelflow.errors import ConfigurationError
from otelflow.instrument import _celery_tasks
from otelflow.instrument._holders import function_of, hand_over, modules_that_may_hold
from otelflow.instrument._import_hook import ImportHook
from otelflow.instrument._mistakes import LENIENT, is_late, new_mistake
from otelflow.instrument._plan import Plan
from otelflow.instrument._wrapping import Wrapped, wrap_module

if TYPE_CHECKING:
    from collections.abc import Callable


class _FirstRun(Observer):
    """Sets up metrics and listeners with the first run, where no function that was wrapped has had them set up.

    Earlier the modules of the program must not be imported, as those of listeners are: it is not known where they lie,
    and the instrumentations that are still to come would miss what they take of libraries.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan: Final = plan._replace(is_strict=False)  # the program has started
        self._lock: Final = forks.new_lock()
        self._added: tuple[Callable[[Run], None], ...] | None = None

    def run_started(self, run: Run) -> None:
        """Set up, once; who was added by that hears of *run*, too."""
        remove_observer(self)
        with self._lock:
            if self._added is None:
                before = observed.started
                self._set_up()
                self._added = tuple(method for method in observed.started if method not in before)
        tell(self._added, run)

    def _set_up(self) -> None:
        for set_up in (configure_as_planned, _add_listeners):
            try:
                if set_up is _add_listeners or not _instrumented.wrapped:
                    set_up(self._plan)
            except ConfigurationError as error:
                losses.warn_once(f"instrument {error}", "%s", error)


class _Instrumented(State):
    """The hooks that wait for modules, and the functions that were wrapped."""

    hooks: list[ImportHook]
    wrapped: list[Wrapped]
    listeners: dict[str, Any]
    first_run: _FirstRun | None = None

    def reset(self) -> None:
        """Put back what was there before."""
        undo(getattr(self, "hooks", []), getattr(self, "wrapped", []))
        for listener in filter(None, getattr(self, "listeners", {}).values()):
            remove_listener(listener)
        _celery_tasks.forget()
        if self.first_run is not None:
            remove_observer(self.first_run)
            configure_with_first_run(None)
        self.first_run = None
        self.hooks, self.wrapped, self.listeners = [], [], {}


_MOST_NAMES: Final = 5
#: Modules that import the exporters, as long as they are on the stack
_CONFIGURING: Final = ("otelflow._telemetry.", "opentelemetry.sdk._configuration")
#: The patterns of which a process before this one has said what is wrong with them
TOLD_VARIABLE: Final = "OTELFLOW_INSTRUMENT_TOLD"
_UNRECORDED: Final = " (the program starts, and none of its flows and tasks is recorded)"
_lock: Final = forks.new_lock()


def undo(hooks: list[ImportHook], functions: list[Wrapped]) -> None:
    """End *hooks*, and put back *functions*, unless somebody has replaced them since."""
    for hook in hooks:
        hook.remove()
    for function in functions:
        function.undo()
    if functions:
        hand_over({id(function_of(item.replacement)): function_of(item.place.value) for item in functions})


_instrumented: Final = _Instrumented()


def functions() -> list[str]:
    """Return the functions that are flows and tasks now, as ``module:name``."""
    # A module that was loaded again has left a class behind, in which they stand, too.
    return sorted({function.name for function in _instrumented.wrapped if function.is_in_place})


def begin(plan: Plan) -> None:
    """Wrap what *plan* names in loaded modules, and in others when they are imported; nothing if it raises."""

    def wrap_again(module: types.ModuleType) -> None:
        if hook.is_active:
            _hand_over(_wrap(module, plan))

    def wrap(module: types.ModuleType) -> None:
        _hand_over(_wrap(module, plan), module)
        _celery_tasks.when_made(module, functools.partial(wrap_again, module))

    hook = ImportHook(lambda name: bool(plan.rules_of(name)), wrap)
    modules = [module for name, module in list(sys.modules.items()) if plan.rules_of(name)]
    wrapped: list[Wrapped] = []
    try:
        for module in modules:
            wrapped += _wrap(module, plan)
    except BaseException:
        undo([hook], wrapped)
        with _lock:
            _instrumented.wrapped = [function for function in _instrumented.wrapped if function not in wrapped]
        raise
    _hand_over(wrapped)
    for module in modules:
        _celery_tasks.when_made(module, functools.partial(wrap_again, module))
    for name in sorted({function.module for function in wrapped}):
        log(losses.logger, logging.INFO, "%s was imported before it was instrumented", name)
    with _lock:
        _instrumented.hooks.append(hook)


def end() -> None:
    """Put back every function that was wrapped."""
    with _lock:
        _instrumented.reset()


def set_up_with_first_run(plan: Plan) -> None:
    """Have metrics and the listeners of *plan* from the first run on, also if none of its functions is wrapped."""
    if _instrumented.first_run is None:
        _instrumented.first_run = _FirstRun(plan)
        add_observer(_instrumented.first_run)
        # Without a provider an observer is too late: the run that it is told of has its span by then, or none.
        configure_with_first_run(functools.partial(configure_as_planned, plan._replace(is_strict=False)))


def is_interpreter_starting() -> bool:
    """Tell whether a ``sitecustomize`` is being run, as that of ``opentelemetry-instrument``."""
    return bool(getattr(getattr(sys.modules.get("site"), "__spec__", None), "_initializing", False))


def configure_here() -> None:
    """Call ``configure()``; the SDK takes long, so not in processes that have none of the functions.

    One that is called inside of another, which imports what it sends by, would find half of that.
    """
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(_CONFIGURING):
            return
        frame = frame.f_back
    from otelflow import configure  # noqa: PLC0415 as said above

    configure()


def _refuse(plan: Plan, fault: str, pattern: str = "", key: str = "") -> None:
    """Raise for the *fault* of a *pattern* or setting; if *plan* is lenient, or the program has started, warn once."""
    text = f"{plan.place}: {pattern}: {fault}" if pattern else fault
    if plan.is_strict and not is_late():
        raise new_mistake(f"{text} {LENIENT}" if pattern else text) from None
    if pattern in plan.told:
        return
    losses.warn_once(key or f"instrument {text}", "%s", text, kind=key or f"instrument {plan.place}")
    if pattern and TOLD_VARIABLE in os.environ:  # a child that imports the module need not say it again
        os.environ[TOLD_VARIABLE] += f" {pattern}"


def _wrap(module: types.ModuleType, plan: Plan) -> list[Wrapped]:
    """Wrap what *plan* names in *module*, and return it. Raises ConfigurationError, if the plan is strict."""
    if not issubclass(type(module), types.ModuleType):
        return []  # what a program has put in the place of a module
    refuse = functools.partial(_refuse, plan)
    wrapped: list[Wrapped] = []
    try:
        for function in wrap_module(module, plan, refuse):
            wrapped.append(function)  # noqa: PERF402 what was wrapped before an error is put back
        if wrapped:
            configure_as_planned(plan)
            try:
                if _instrumented.first_run is None or not is_interpreter_starting():
                    _add_listeners(plan)
            except ConfigurationError as error:
                refuse(str(error))
    except BaseException:
        undo([], wrapped)
        raise
    with _lock:
        _instrumented.wrapped += wrapped
    return wrapped


def configure_as_planned(plan: Plan) -> None:
    """Call ``configure()``; a lenient plan has what it can have, and its process hears what it cannot."""
    if not plan.is_strict:
        settings.be_lenient()
    try:
        configure_here()
    except ConfigurationError as error:  # of a variable, say; the first run adds nothing to that
        is_unrecorded = not plan.is_strict and isinstance(get_tracer_provider(), ProxyTracerProvider)
        _refuse(plan, f"{error}{_UNRECORDED if is_unrecorded else ''}", key="not configured")


def _hand_over(functions: list[Wrapped], module: types.ModuleType | None = None) -> None:
    """Give *functions* to those who took them before they were wrapped; say which of them are held by somebody else.

    *module* is theirs, if it was imported just now: then only its neighbours are asked.
    """
    shared = functions if module is None else [function for function in functions if function.others > 0]
    if not shared:
        return
    # Others hold the function itself, not what a class has made of it.
    keys = {function.name: id(function_of(function.place.value)) for function in shared}
    values = {keys[function.name]: function_of(function.replacement) for function in shared}
    handed = hand_over(values, None if module is None else modules_that_may_hold(module))
    names = [
        function.name
        for function in shared
        if keys[function.name] not in handed.taken and function.others > handed.names[keys[function.name]]
    ]
    if names:
        losses.warn_once(
            f"instrument {names}",
            "%s%s: something has kept the function as it was written (a decorator, a table), and what it calls is no "
            "flow or task; name what that calls, or take otelflow.integrations for the framework",
            ", ".join(names[:_MOST_NAMES]),
            f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else "",
        )


def _add_listeners(plan: Plan) -> None:
    """Add the listeners of *plan*, each once in a process. Raises ConfigurationError that names the culprit.

    That of a module which is being imported just now, and imports what is instrumented, comes with the first run.
    """
    for name in plan.listeners:
        module, _, path = name.partition(":")
        if getattr(getattr(sys.modules.get(module), "__spec__", None), "_initializing", False):
            if _instrumented.first_run is None:
                _instrumented.first_run = _FirstRun(plan)
                add_observer(_instrumented.first_run)
            continue
        with _lock:
            if name in _instrumented.listeners:
                continue
            _instrumented.listeners[name] = None  # also while its module is imported, which may be instrumented
        try:
            target: Any = importlib.import_module(module)
            for part in path.split("."):
                target = getattr(target, part)
            listener = target() if isinstance(target, type) else target
            add_listener(listener)
        except Exception as error:  # the user's module, which may raise anything
            raise ConfigurationError(f"{plan.place}: the listener {name} cannot be used: {error}") from error
        with _lock:
            _instrumented.listeners[name] = listener
