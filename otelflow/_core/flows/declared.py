"""Which flows a program has, before any of them has run: filled by ``@flow`` and by subclasses of ``Flow``.

Metrics begin at 0 for each of them, and ``otelflow generate`` reads their objectives. Only names and numbers are kept.
"""

from typing import Any, Final

from otelflow._core.flows.objective import Objective, checked_buckets
from otelflow._core.process import forks
from otelflow._core.process.process import State
from otelflow._core.text.safe_str import bounded_name, brief_repr
from otelflow.errors import ConfigurationError

_MOST: Final = 1_000


class Declared:
    """A flow as its decorator or class declares it."""

    __slots__ = ("buckets", "description", "module", "name", "objective")

    def __init__(
        self,
        name: str,
        module: str,
        buckets: tuple[float, ...] | None = None,
        objective: Objective | None = None,
        description: str = "",
    ) -> None:
        self.name = name
        self.module = module
        self.buckets = buckets
        self.objective = objective
        self.description = description


class _Declarations(State):
    """The flows that were declared, by their names."""

    def __init__(self) -> None:
        self.flows: dict[str, Declared] = {}
        self.lock = forks.new_lock()
        super().__init__()

    def reset(self) -> None:
        """Keep them: what was decorated is still there."""


_declarations: Final = _Declarations()


def declare(flow: Declared) -> None:
    """Remember *flow*; of two with one name the later counts, and of very many the first."""
    with _declarations.lock:
        if flow.name in _declarations.flows or len(_declarations.flows) < _MOST:
            _declarations.flows[flow.name] = flow


def declare_flow(name: str, target: Any, objective: Any, buckets: Any, runner: object) -> None:
    """Let metrics and ``otelflow generate`` know of a flow before it runs. Raises ConfigurationError."""
    if not isinstance(objective, Objective | None):
        raise ConfigurationError(f"Flow {name!r}: objective must be an Objective, not {brief_repr(objective, 60)}")
    bounds = checked_buckets(buckets)
    if runner is not None:
        from otelflow._core.flows.future_runners import check_runner  # noqa: PLC0415 only for flows that have one

        check_runner(f"Flow {name!r}", runner)
    text = getattr(target, "__doc__", None)  # a class may have a property of that name
    description = text.strip().partition("\n")[0] if isinstance(text, str) else ""
    module = getattr(target, "__module__", None) or ""
    declare(Declared(bounded_name(name), module, bounds, objective, description))


def declared(name: str) -> Declared | None:
    """Return what is declared of the flow called *name*."""
    return _declarations.flows.get(name)


def declared_flows() -> tuple[Declared, ...]:
    """Return every declared flow in the order of declaration."""
    with _declarations.lock:
        return tuple(_declarations.flows.values())
