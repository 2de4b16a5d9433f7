"""Call the user's functions when a run begins and when it has ended."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from otelflow import semconv
from otelflow._core.policies.policy import description_of, takes
from otelflow._core.process import losses
from otelflow._core.process.forks import fork
from otelflow._core.runs.run import Conduct, Run
from otelflow._core.text.safe_str import bounded_name
from otelflow.errors import ConfigurationError

_AFTER: Final = {
    semconv.SUCCESS: "on_completion",
    semconv.FAILURE: "on_failure",
    semconv.TIMEOUT: "on_failure",
    semconv.ERROR: "on_failure",
    semconv.CANCELLATION: "on_cancellation",
}
_RUNNING: Final = "on_running"


class Hooks:
    """What the keywords of one decorator want called. Raises ConfigurationError for what cannot be.

    It is no policy around a body: what a hook sees is a run that has ended, with its status and its error.
    """

    def __init__(self, owner: str, options: Mapping[str, Any]) -> None:
        self._hooks: dict[str, tuple[Callable[[Any], object], ...]] = {}
        for keyword in (_RUNNING, *dict.fromkeys(_AFTER.values())):
            hooks = options.get(keyword) or ()
            self._hooks[keyword] = tuple(hooks) if isinstance(hooks, Sequence) else (hooks,)
            wrong = [hook for hook in self._hooks[keyword] if not takes(hook, 1)]
            if wrong:
                parameter = "the Flow" if "flow" in owner else "the Task"
                raise ConfigurationError(
                    f"{owner}: {keyword} must be a plain function of {parameter} alone, or a list of them, "
                    f"not {description_of(wrong[0])}"
                )

    def conduct(self, plain: Conduct) -> Conduct:
        """Return what does as *plain*, and calls the hooks."""
        return _HookedConduct(plain)

    def begun(self, run: Run) -> None:
        """Call the hooks for the beginning of *run*."""
        self._call(_RUNNING, run)

    def ended(self, run: Run) -> None:
        """Call the hooks for the end of *run*; there are none for one that was skipped."""
        keyword = _AFTER.get(run.ending.result)
        if keyword is not None:
            self._call(keyword, run)

    def _call(self, keyword: str, run: Run) -> None:
        """Call the hooks of *keyword* with the ``Flow`` or ``Task`` of *run*; one that raises breaks nothing."""
        for hook in () if run.clock < fork.clock else self._hooks[keyword]:  # the parent of a fork calls its own
            try:
                hook(run.flow if run.kind == "flow" else run.task)
            except BaseException as error:  # noqa: BLE001 foreign code, which may raise anything
                losses.listener_failed(bounded_name(getattr(hook, "__qualname__", type(hook).__name__)), error)


class _HookedConduct(Conduct):
    __slots__ = ("_plain",)

    def __init__(self, plain: Conduct) -> None:
        self._plain = plain

    def opened(self, run: Any) -> None:
        self._plain.opened(run)
        if run.definition.hooks is not None and not run.has_ended:  # one that never runs has ended before it began
            run.definition.hooks.begun(run)

    def ended(self, run: Any, value: object) -> None:
        self._plain.ended(run, value)
        if run.definition.hooks is not None:
            run.definition.hooks.ended(run)
