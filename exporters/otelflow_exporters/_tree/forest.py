"""Spans become trees, also when some are missing, doubled or wrong; long runs of equal siblings become one fold."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from otelflow import semconv
from otelflow_exporters._otlp.model import Span, is_inside_run
from otelflow_exporters._tree.view import USUAL, TreeView

FOLD_FROM: Final = 6
FAILED_SHOWN: Final = 5
_SIBLINGS_HEAD: Final = 40
_SIBLINGS_TAIL: Final = 10
#: What an event is called when it is counted
NOUNS: Final = {semconv.MESSAGE_EVENT: "message", semconv.ARTIFACT_EVENT: "artifact", semconv.RESULT_EVENT: "result"}


@dataclass(slots=True, eq=False)
class SpanNode:
    """One span and the spans under it; the counts are of the whole tree that it is the root of."""

    span: Span
    children: "list[SpanNode]" = field(default_factory=list)
    is_orphan: bool = False
    failures: int = 0
    size: int = 1
    messages: int = 0

    @property
    def is_failed(self) -> bool:
        """Return whether the span itself failed."""
        return self.span.is_error or self.span.result in semconv.FAILED_RESULTS

    @property
    def error_from_below(self) -> str:
        """Return the type of an error that a span below has raised and describes, or nothing."""
        span = self.span
        kind = str(span.attributes.get(semconv.ERROR_TYPE, ""))
        if any(event.name == semconv.EXCEPTION_EVENT for event in span.events) or not self.is_failed:
            return ""
        words = span.status_message  # none where it was allowed to fail: then its kind must do
        is_from_below = any(
            child.span.is_error and bool(child.span.status_message) and words.endswith(child.span.status_message)
            if words
            else child.is_failed and child.span.attributes.get(semconv.ERROR_TYPE) == kind
            for child in self.children
        )
        return kind if is_from_below else ""


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

    def hidden(self) -> Counter[str]:
        """Return what the siblings that are not drawn hold: spans below them, messages, artifacts, results."""
        examples = {id(node) for node in self.examples}
        counts: Counter[str] = Counter()
        for sibling in self.nodes:
            if id(sibling) in examples:
                continue
            for node in walk(sibling):
                counts["span" if node is not sibling else "call"] += 1
                counts.update(NOUNS[event.name] for event in node.span.events if event.name in NOUNS)
        return counts


@dataclass(slots=True, eq=False)
class Rest:
    """Siblings that are only counted, with what is below them."""

    count: int
    failed: int
    start: int = 0


@dataclass(slots=True, eq=False)
class Forest:
    """A trace's trees on their common time line."""

    roots: list[SpanNode]
    nodes: dict[str, SpanNode]
    start: int
    end: int

    @property
    def failures(self) -> int:
        """Return how many spans failed."""
        return sum(root.failures for root in self.roots)

    @property
    def failed_runs(self) -> int:
        """Return how many runs failed, each once however often it was tried, and spans of others; as the list does."""
        spans = (node.span for node in self.nodes.values() if node.is_failed)
        return sum(not is_inside_run(span.name, span.attributes) for span in spans)


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
    roots += cut_cycles(ordered, roots)
    for root in roots:
        # Children before their parents.
        for node in reversed(list(walk(root))):
            node.failures = node.is_failed + sum(child.failures for child in node.children)
            node.size = 1 + sum(child.size for child in node.children)
            node.messages = sum(event.name == semconv.MESSAGE_EVENT for event in node.span.events)
            node.messages += sum(child.messages for child in node.children)
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


def fold(nodes: Sequence[SpanNode], view: TreeView = USUAL) -> "list[SpanNode | Fold | Rest]":
    """Return *nodes* in the order of their starts, with siblings of one name folded, as far as *view* lets them."""
    if view.failed_only:
        failed = [node for node in nodes if node.failures]
        others = [node for node in nodes if not node.failures]
        rest = [Rest(sum(node.size for node in others), 0, others[0].span.start)] if others else []
        return sorted([*failed, *rest], key=start_of)
    if view.full:
        return [*nodes]
    by_name: defaultdict[str, list[SpanNode]] = defaultdict(list)
    for node in nodes:
        by_name[node.span.name].append(node)
    items: list[SpanNode | Fold | Rest] = []
    for name, alike in by_name.items():
        if len(alike) < FOLD_FROM:
            items.extend(alike)
            continue
        # First those that failed themselves, then those that hide a failure.
        failures = sorted((node for node in alike if node.failures), key=lambda node: not node.is_failed)
        others_failed = sum(node.failures for node in failures[FAILED_SHOWN:])
        examples = sorted(failures[:FAILED_SHOWN], key=start_of)
        if view.logs:
            examples, others_failed = [node for node in alike if node.messages or node.failures], 0
        # A fold that hides nothing would be one more line only.
        items.append(Fold(name, alike, examples, others_failed)) if len(examples) < len(alike) else items.extend(alike)
    items.sort(key=start_of)
    return items if view.logs else bounded(items)


def start_of(item: "SpanNode | Fold | Rest") -> int:
    """Return when *item* began, in nanoseconds since 1970."""
    if isinstance(item, Rest):
        return item.start
    return (item if isinstance(item, SpanNode) else item.nodes[0]).span.start


def bounded(items: "list[SpanNode | Fold | Rest]") -> "list[SpanNode | Fold | Rest]":
    """Return of very many siblings with different names the first, the last and a few failed ones."""
    if len(items) <= _SIBLINGS_HEAD + _SIBLINGS_TAIL + 1:
        return items
    middle = items[_SIBLINGS_HEAD:-_SIBLINGS_TAIL]
    examples = [item for item in middle if not isinstance(item, SpanNode) or item.failures][:_SIBLINGS_TAIL]
    example_ids = {id(item) for item in examples}
    remaining = [item for item in middle if isinstance(item, SpanNode | Fold) and id(item) not in example_ids]
    hidden = [node for item in remaining for node in (item.nodes if isinstance(item, Fold) else [item])]
    rest = Rest(sum(node.size for node in hidden), sum(node.failures for node in hidden), start_of(middle[-1]))
    return [*items[:_SIBLINGS_HEAD], *examples, rest, *items[-_SIBLINGS_TAIL:]]


def cut_cycles(ordered: Sequence[SpanNode], roots: Sequence[SpanNode]) -> list[SpanNode]:
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
