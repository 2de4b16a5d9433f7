"""Which flows a program has, before any of them has run: filled by ``@flow`` and by subclasses of ``Flow``.

Metrics begin at 0 for each of them, and ``otelflow generate`` reads their objectives. Only names and numbers are kept.
"""

from typing import Final, NamedTuple

from otelflow._core.flows.objective import Objective
from otelflow._core.process import forks

_MOST: Final = 1_000


class Declared(NamedTuple):
    """A flow as its decorator or class declares it."""

    name: str
    module: str
    buckets: tuple[float, ...] | None = None
    objective: Objective | None = None
    description: str = ""


_lock: Final = forks.new_lock()
_flows: Final[dict[str, Declared]] = {}


def declare(flow: Declared) -> None:
    """Remember *flow*; of two with one name the later counts, and of very many the first."""
    with _lock:
        if flow.name in _flows or len(_flows) < _MOST:
            _flows[flow.name] = flow


def declared(name: str) -> Declared | None:
    """Return what is declared of the flow called *name*."""
    return _flows.get(name)


def declared_flows() -> tuple[Declared, ...]:
    """Return every declared flow in the order of declaration."""
    with _lock:
        return tuple(_flows.values())
