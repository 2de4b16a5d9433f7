"""A tree of runs in one line, ``shop > (charge[x3], email)``, and how it differs from what was."""

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from otelflow import semconv
from otelflow._core.text.hints import suggestion
from otelflow.errors import ConfigurationError

_QUOTES: Final = ("'", '"')
_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<sign>[>(),])|(?P<name>'[^']*'|"[^"]*"|[^>(),\[\]'"]+)(?P<marks>\[[^\]]*\])?)"""
)
_TIMES: Final = re.compile(r"x([1-9]\d*)")
_RESULTS: Final = (*semconv.RESULTS, semconv.SKIP)
_KINDS: Final = (semconv.FLOW_SPAN, semconv.TASK_SPAN)
_INDENT: Final = "  "
#: Of what is equal, so many lines are shown before and after a difference
_AROUND: Final = 20
_MOST_LINES: Final = 200
_DEEPEST: Final = 30


@dataclass(frozen=True, eq=False, slots=True)
class Branch:
    """A run, how it ended (that of spans that are no runs is success), and what ran inside, with how often it did.

    A ``Forest`` has it once, with its *number*: what is equal is the same, however deep.
    """

    name: str
    result: str
    inside: "Branches"
    number: int


Branches = tuple[tuple[Branch, int], ...]


class Forest:
    """The branches of all trees that are compared: a flow may call itself a thousand times, and Python may not."""

    def __init__(self) -> None:
        self._branches: dict[object, Branch] = {}

    def branch(self, name: str, result: str, inside: Branches) -> Branch:
        """Return the branch of a run with *inside* it, which is there once."""
        key = (name, result, tuple((branch.number, times) for branch, times in inside))
        return self._branches.setdefault(key, Branch(name, result, inside, len(self._branches)))

    def branches(self, roots: Iterable[Any]) -> Branches:
        """Return the branches of the tree of *roots*, each a ``Node``, named as those that are here already may be."""
        names = {branch.name for branch in self._branches.values()}
        nodes = list(roots)
        for node in nodes:  # which grows meanwhile, so that what is inside comes after it
            nodes += node.children
        branches: dict[int, Branch] = {}
        for node in reversed(nodes):
            inside = counted((branches[id(child)], 1) for child in node.children)
            branches[id(node)] = self.branch(short_name(node.name, names), node.result or semconv.SUCCESS, inside)
        return counted((branches[id(root)], 1) for root in roots)


def counted(branches: Iterable[tuple[Branch, int]]) -> Branches:
    """Return *branches* of one forest in an order of their own: runs at the same time have none."""
    numbers: Counter[int] = Counter()
    by_number = {}
    for branch, times in branches:
        numbers[branch.number] += times
        by_number[branch.number] = branch
    items = [(by_number[number], times) for number, times in numbers.items()]
    return tuple(sorted(items, key=lambda item: (item[0].name, item[0].result != semconv.SUCCESS, item[0].number)))


def parse(pattern: str, forest: Forest) -> Branches:
    """Return what *pattern* means. Raises ConfigurationError that shows where it goes wrong."""
    tokens = []
    position = 0
    while pattern[position:].strip():
        match = _TOKEN.match(pattern, position)
        if match is None:
            raise _wrong(pattern, position)
        tokens.append((position, match))
        position = match.end()
    parser = _Parser(pattern, tokens, forest)
    branches = parser.siblings()
    if parser.place < len(tokens):
        raise _wrong(pattern, tokens[parser.place][0])
    return branches


def _wrong(pattern: str, position: int) -> ConfigurationError:
    return ConfigurationError(
        f"the tree {pattern!r} goes wrong at {pattern[position:].strip()[:20]!r}: write 'shop > (charge[x3], email)', "
        "'charge[failure]', and names with > ( ) , in quotes"
    )


Head = tuple[str, str, int]


class _Parser:
    """Reads a pattern from left to right; *place* is the next of its *tokens*."""

    def __init__(self, pattern: str, tokens: list[tuple[int, re.Match[str]]], forest: Forest) -> None:
        self.pattern = pattern
        self.tokens = tokens
        self.forest = forest
        self.place = 0

    def siblings(self) -> Branches:
        # Around each open bracket: the branches before it, and the heads of the branch that it is inside of.
        around: list[tuple[list[tuple[Branch, int]], list[Head]]] = []
        branches: list[tuple[Branch, int]] = []
        while True:
            heads = [self.head()]
            while self.takes(">"):
                if self.takes("("):
                    around.append((branches, heads))
                    branches, heads = [], []
                heads.append(self.head())
            branches.append(self.branch(heads, ()))
            while around and self.takes(")"):
                outer, heads = around.pop()
                outer.append(self.branch(heads, counted(branches)))
                branches = outer
            if not self.takes(","):
                break
        if around:
            raise _wrong(self.pattern, len(self.pattern))
        return counted(branches)

    def branch(self, heads: list[Head], inside: Branches) -> tuple[Branch, int]:
        """Return the branch in which each of *heads* is inside of the one before it, and *inside* in the last."""
        for name, result, times in reversed(heads[1:]):
            inside = ((self.forest.branch(name, result, inside), times),)
        name, result, times = heads[0]
        return self.forest.branch(name, result, inside), times

    def head(self) -> Head:
        """Return the name that is next, with what it is marked with."""
        match = self.tokens[self.place][1] if self.place < len(self.tokens) else None
        name = "" if match is None else (match["name"] or "").strip()
        if match is None or not name:
            raise _wrong(self.pattern, self.tokens[self.place][0] if match else len(self.pattern))
        self.place += 1
        return name[1:-1] if name[0] in _QUOTES else name, *self.marks((match["marks"] or "[]")[1:-1])

    def marks(self, text: str) -> tuple[str, int]:
        result, times = semconv.SUCCESS, 1
        for mark in filter(None, (part.strip() for part in text.split(","))):
            count = _TIMES.fullmatch(mark)
            if count is not None:
                times = int(count[1])
            elif mark in _RESULTS:
                result = mark
            else:
                hint = suggestion(mark, _RESULTS)
                raise ConfigurationError(f"the tree {self.pattern!r} has {mark!r}, which is no result and no x3{hint}")
        return result, times

    def takes(self, sign: str) -> bool:
        is_next = self.place < len(self.tokens) and self.tokens[self.place][1]["sign"] == sign
        self.place += is_next
        return is_next


def short_name(name: str, names: set[str]) -> str:
    """Return *name* as a pattern has it, which may leave out what kind of run it is."""
    bare = next((name.removeprefix(kind) for kind in _KINDS if name.startswith(kind)), name)
    return bare if bare in names and name not in names else name


def difference(expected: Branches, actual: Branches) -> str:
    """Return both trees in one, line by line: ``-`` is what was expected, ``+`` what was; of large ones a part."""
    before, after = list(_lines(expected)), list(_lines(actual))
    lines: list[str] = []
    for group in difflib.SequenceMatcher(None, before, after).get_grouped_opcodes(_AROUND):
        lines += ["  …"] if group[0][1] or group[0][3] else []
        for kind, first, last, begin, end in group:
            lines += [f"{'  ' if kind == 'equal' else '- '}{line}" for line in before[first:last]]
            lines += [f"+ {line}" for line in after[begin:end] if kind != "equal"]
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES:] = [f"… {len(lines) - _MOST_LINES} lines more"]
    return "\n".join(lines)


def _lines(branches: Branches) -> Iterator[str]:
    waiting = [(item, 0) for item in reversed(branches)]
    while waiting:
        (branch, times), depth = waiting.pop()
        result = "" if branch.result == semconv.SUCCESS else f" · {branch.result}"
        place = _INDENT * depth if depth <= _DEEPEST else f"{_INDENT * _DEEPEST}({depth} levels) "
        yield f"{place}{branch.name}{result}{f' [x{times}]' if times > 1 else ''}"
        waiting += [(item, depth + 1) for item in reversed(branch.inside)]
