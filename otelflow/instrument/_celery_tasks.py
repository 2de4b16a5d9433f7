"""Tasks of Celery: their functions are named as they are written, and what a worker calls of them is replaced.

``@app.task`` keeps the function, and leaves a task that is made later, when the application is finalized.
"""

import functools
import inspect
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, Final

from otelflow._core.process.process import State
from otelflow.instrument._holders import Place, is_a

_PROXIES: Final = "celery.local"


class _Waiting(State):
    """What is to be done when an application has made its tasks, by the modules in which they are written."""

    finalize: Any = None

    def reset(self) -> None:
        """Wait for nothing, and let Celery finalize as it did."""
        if self.finalize is not None:
            sys.modules["celery.app.base"].Celery.finalize = self.finalize
        self.finalize = None
        self.modules: dict[str, Callable[[], object]] = {}


_waiting: Final = _Waiting()
forget: Final = _waiting.reset


def is_task(value: Any) -> bool:
    """Tell whether *value* is a task of Celery, or stands for one that is not made yet."""
    return type(value).__module__ == _PROXIES or _is_made(value)


def _is_made(value: Any) -> bool:
    task = getattr(sys.modules.get("celery.app.task"), "Task", None)  # which is imported when one is made
    return task is not None and is_a(value, task)


def places(module: types.ModuleType) -> Iterator[Place]:
    """Yield what a worker calls of the tasks in *module*, as far as they are made."""
    state: Any = sys.modules.get("celery._state")
    apps = [] if state is None else [app for app in state._get_active_apps() if app.finalized]  # noqa: SLF001 Celery keeps them to itself
    for name, value in list(vars(module).items()):
        task = _task_of(value, apps) if is_task(value) else None
        if task is None or not _is_made(task):
            continue
        # A shared task has an object in each application, whose `tasks` would finalize it.
        shared = [app._tasks[task.name] for app in apps if task.name in app._tasks]  # noqa: SLF001 as above
        for sibling in {id(item): item for item in (task, *shared)}.values():
            holder = sibling if "run" in vars(sibling) else type(sibling)
            run = inspect.getattr_static(holder, "run")  # a class may have it from another
            if run is not sys.modules["celery.app.task"].Task.run:
                yield Place(holder, "run", name, run)


def _task_of(value: Any, apps: list[Any]) -> Any:
    """Return the task that *value* stands for, or None if asking for it would make it."""
    kind = type(value)
    if kind.__module__ != _PROXIES:
        return value
    if hasattr(kind, "__evaluated__"):
        is_made = kind.__evaluated__(value)
    else:
        state: Any = sys.modules["celery._state"]
        is_made = (getattr(state._tls, "current_app", None) or state.default_app) in apps  # noqa: SLF001 as above
    return value._get_current_object() if is_made else None  # noqa: SLF001 as above


def when_made(module: types.ModuleType, wrap: Callable[[], object]) -> None:
    """Call *wrap* each time when an application has made its tasks, if there are any in *module*."""
    if not is_a(module, types.ModuleType):  # what a program has put in the place of one
        return
    tasks = [value for value in list(vars(module).values()) if is_task(value)]
    if not tasks:
        return
    for task in tasks:
        if hasattr(type(task), "__then__"):
            type(task).__then__(task, wrap)  # it may be made before its application is finalized
    _waiting.modules[module.__name__] = wrap
    base: Any = sys.modules.get("celery.app.base")
    if base is None or _waiting.finalize is not None:
        return
    finalize = _waiting.finalize = base.Celery.finalize

    @functools.wraps(finalize)
    def finalize_and_wrap(app: Any, *args: Any, **kwargs: Any) -> Any:
        was_finalized = app.finalized
        outcome = finalize(app, *args, **kwargs)
        if app.finalized and not was_finalized:
            for wrap in list(_waiting.modules.values()):
                wrap()
        return outcome

    base.Celery.finalize = finalize_and_wrap
