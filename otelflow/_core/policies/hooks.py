"""Call the user's functions when a run begins and when it has ended."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from otelflow import semconv
from otelflow._core.policies.policy import description_of, takes
from otelflow._core.process import losses
from otelflow._core.process.forks import fork
from otelflow._core.runs.run import Run
from otelflow._core.text.safe_str import bounded_name
from otelflow.errors import ConfigurationError

R = TypeVar("R", bound=type[Run])

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
        self._classes: dict[type[Run], Any] = {}

    def run_class(self, plain: R) -> R:
        """Return a class of runs that do as those of *plain*, and call the hooks."""
        if plain not in self._classes:
            self._classes[plain] = type(plain.__name__, (_Hooked, plain), {"__slots__": ()})
        hooked: R = self._classes[plain]
        return hooked

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


class _Hooked(Run):
    __slots__ = ()

    definition: Any

    def opened(self) -> None:
        super().opened()
        if self.definition.hooks is not None and not self.has_ended:  # one that never runs has ended before it began
            self.definition.hooks.begun(self)

    def ended(self, value: object) -> None:
        super().ended(value)
        if self.definition.hooks is not None:
            self.definition.hooks.ended(self)
