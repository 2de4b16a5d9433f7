"""Which places of limits are held around here: a run inside needs no second place of the same limit."""

from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from otelflow._core.policies.places import Place


class _OthersPlace:
    """A place that the flow of a task holds, in its own process, until the task has ended."""

    is_held: Final = True


_ELSEWHERE: Final = _OthersPlace()
#: The places by the names of their limits
held_places: "Final[ContextVar[Mapping[str, Place | _OthersPlace]]]" = ContextVar("otelflow_held_places", default={})  # noqa: B039 never changed


def names_held() -> list[str]:
    """Return the names of the limits of which a place is held around here."""
    return [name for name, place in held_places.get().items() if place.is_held]


def hold_elsewhere(names: Iterable[str]) -> None:
    """Know from here on that a place of each limit in *names* is held by the process that waits for this one."""
    held_places.set({**held_places.get(), **dict.fromkeys(names, _ELSEWHERE)})


def shared_places() -> "list[Place]":
    """Return the places that are held around here, each of them held once more: to be released once more."""
    return [place for place in held_places.get().values() if not isinstance(place, _OthersPlace) and place.share()]
