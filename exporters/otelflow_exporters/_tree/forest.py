"""Spans become trees, also when some are missing, doubled or wrong; long runs of equal siblings become one fold."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from otelflow import semconv
from otelflow_exporters._otlp.model import Span

FOLD_FROM: Final = 6
FAILED_SHOWN: Final = 5
_SIBLINGS_HEAD: Final = 40
_SIBLINGS_TAIL: Final = 10
_BAD: Final = frozenset({semconv.FAILURE, semconv.TIMEOUT, semconv.ERROR})


@dataclass(slots=True, eq=False)
class SpanNode:
    """One span and the spans under it."""

    span: Span
    children: "list[SpanNode]" = field(default_factory=list)
    is_orphan: bool = False
    failures: int = 0

    @property
    def is_failed(self) -> bool:
        """Return whether the span itself failed."""
        return self.span.is_error or self.span.result in _BAD


@dataclass(slots=True, eq=False)
class Fold:
    """Many siblings of one name; ``examples`` are a few that failed or hide a failure, and are drawn below it."""

    name: str
    nodes: list[SpanNode]
    examples: list[SpanNode]
    other_failures: int

    @property
    def failed(self) -> int:
        """Return how many of the siblings failed."""
        return sum(node.is_failed for node in self.nodes)

    @property
    def durations(self) -> tuple[float, int]:
        """Return the median and the longest duration."""
        lengths = [node.span.end - node.span.start for node in self.nodes]
        return statistics.median(lengths), max(lengths)


@dataclass(slots=True, eq=False)
class Rest:
    """Siblings that are only counted."""

    count: int
    failed: int


@dataclass(slots=True, eq=False)
class Forest:
    """A trace's trees on their common time line."""

    roots: list[SpanNode]
    nodes: dict[str, SpanNode]
    start: int
    end: int

    @property
    def failed(self) -> int:
        """Return how many spans failed."""
        return sum(root.failures for root in self.roots)


def grow(spans: Iterable[Span]) -> Forest:
    """Return the trees of *spans*: orphans and one span of each cycle become roots of their own."""
    nodes: dict[str, SpanNode] = {}
    for span in spans:
        nodes.setdefault(span.span_id, SpanNode(span))
    ordered = sorted(nodes.values(), key=lambda node: node.span.start)
    roots = []
    for node in ordered:
        parent = nodes.get(node.span.parent_id)
        if parent is None:
            node.is_orphan = not node.span.is_local_root
            roots.append(node)
        else:
            parent.children.append(node)
    roots += _cut_cycles(ordered, roots)
    for root in roots:
        # Children before their parents.
        for node in reversed(list(walk(root))):
            node.failures = node.is_failed + sum(child.failures for child in node.children)
    return Forest(
        sorted(roots, key=lambda node: node.span.start),
        nodes,
        min((node.span.start for node in ordered), default=0),
        max((node.span.end for node in ordered), default=0),
    )


def walk(root: SpanNode) -> Iterator[SpanNode]:
    """Yield *root* and all below it, parents first, without recursion: a trace may be 50,000 deep."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(node.children)


def fold(nodes: Sequence[SpanNode]) -> "list[SpanNode | Fold | Rest]":
    """Return *nodes* with siblings of one name folded, in the order of their starts, and bounded."""
    by_name: defaultdict[str, list[SpanNode]] = defaultdict(list)
    for node in nodes:
        by_name[node.span.name].append(node)
    items: list[SpanNode | Fold] = []
    for name, alike in by_name.items():
        if len(alike) < FOLD_FROM:
            items.extend(alike)
            continue
        failures = [node for node in alike if node.failures]
        others = sum(node.failures for node in failures[FAILED_SHOWN:])
        items.append(Fold(name, alike, failures[:FAILED_SHOWN], others))
    items.sort(key=lambda item: (item if isinstance(item, SpanNode) else item.nodes[0]).span.start)
    if len(items) <= _SIBLINGS_HEAD + _SIBLINGS_TAIL + 1:
        return [*items]
    # Of very many siblings with different names the first, the last and a few failed ones stay.
    middle = items[_SIBLINGS_HEAD:-_SIBLINGS_TAIL]
    examples = [item for item in middle if isinstance(item, Fold) or item.failures][:_SIBLINGS_TAIL]
    example_ids = {id(item) for item in examples}
    remaining = [item for item in middle if id(item) not in example_ids]
    rest = Rest(
        sum(len(item.nodes) if isinstance(item, Fold) else 1 for item in remaining),
        sum(item.failed if isinstance(item, Fold) else item.is_failed for item in remaining),
    )
    return [*items[:_SIBLINGS_HEAD], *examples, rest, *items[-_SIBLINGS_TAIL:]]


def _cut_cycles(ordered: Sequence[SpanNode], roots: Sequence[SpanNode]) -> list[SpanNode]:
    """Return one node of each cycle, cut from its parent, so that every node hangs under some root."""
    reached = {id(node) for root in roots for node in walk(root)}
    cut: list[SpanNode] = []
    by_id = {node.span.span_id: node for node in ordered}
    for node in ordered:
        if id(node) in reached:
            continue
        by_id[node.span.parent_id].children.remove(node)
        node.is_orphan = True
        cut.append(node)
        reached.update(id(below) for below in walk(node))
    return cut
