"""What may stand in a label: few values, none of them an id."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from otelflow._core.process import losses
from otelflow._core.text.labels import LONGEST, label
from otelflow._core.text.safe_str import bounded_name

K = TypeVar("K")
N = TypeVar("N", int, float)


def label_of(name: object) -> str:
    """Return *name* as a label, and say once if that is another text because of an id in it."""
    text = label(name)
    if text != name and "{id}" in text and text != bounded_name(name):
        losses.warn_once(
            f"metrics id {text[:LONGEST]}",
            "The name %r contains an id, and metrics cannot have a series for every run: it is counted as %r. "
            "Give the flow or task a fixed name; ids belong into attributes and artifacts",
            bounded_name(name)[:LONGEST],
            text[:LONGEST],
        )
    return text


def by_label(counts: Mapping[K, N], label: Callable[[K], K]) -> dict[K, N]:
    """Return *counts* by the labels of their names, of which several may be one: an id is in no label."""
    labelled: dict[K, N] = {}
    for name, count in dict(counts).items():
        key = label(name)
        labelled[key] = labelled.get(key, 0) + count
    return labelled
