"""A tree of runs in one line, ``shop > (charge[x3], email)``, and how it differs from what was."""

import difflib
import re
from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

from otelflow import semconv
from otelflow._core.text.hints import suggestion
from otelflow.errors import ConfigurationError

_QUOTES: Final = ("'", '"')
_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<sign>[>(),])|(?P<name>'[^']*'|"[^"]*"|[^>(),\[\]'"]+)(?P<marks>\[[^\]]*\])?)"""
)
_TIMES: Final = re.compile(r"x([1-9]\d*)")
_KINDS: Final = (semconv.FLOW_SPAN, semconv.TASK_SPAN)
_INDENT: Final = "  "


class Branch(NamedTuple):
    """A run, how it ended (that of spans that are no runs is success), and what ran inside, with how often it did."""

    name: str
    result: str
    inside: "tuple[tuple[Branch, int], ...]"


Branches = tuple[tuple[Branch, int], ...]


def counted(branches: "Counter[Branch]") -> Branches:
    """Return *branches* in an order of their own: runs at the same time have none."""
    return tuple(sorted(branches.items(), key=lambda item: (item[0].name, item[0].result != semconv.SUCCESS, item)))


def parse(pattern: str) -> Branches:
    """Return what *pattern* means. Raises ConfigurationError that shows where it goes wrong."""
    tokens = []
    position = 0
    while pattern[position:].strip():
        match = _TOKEN.match(pattern, position)
        if match is None:
            raise _wrong(pattern, position)
        tokens.append((position, match))
        position = match.end()
    parser = _Parser(pattern, tokens)
    branches = parser.siblings()
    if parser.place < len(tokens):
        raise _wrong(pattern, tokens[parser.place][0])
    return branches


def _wrong(pattern: str, position: int) -> ConfigurationError:
    return ConfigurationError(
        f"the tree {pattern!r} goes wrong at {pattern[position:].strip()[:20]!r}: write 'shop > (charge[x3], email)', "
        "'charge[failure]', and names with > ( ) , in quotes"
    )


class _Parser:
    """Reads a pattern from left to right; *place* is the next of its *tokens*."""

    def __init__(self, pattern: str, tokens: list[tuple[int, re.Match[str]]]) -> None:
        self.pattern = pattern
        self.tokens = tokens
        self.place = 0

    def siblings(self) -> Branches:
        branches: Counter[Branch] = Counter()
        while True:
            branch, times = self.branch()
            branches[branch] += times
            if not self.takes(","):
                return counted(branches)

    def branch(self) -> tuple[Branch, int]:
        match = self.tokens[self.place][1] if self.place < len(self.tokens) else None
        name = "" if match is None else (match["name"] or "").strip()
        if match is None or not name:
            raise _wrong(self.pattern, self.tokens[self.place][0] if match else len(self.pattern))
        self.place += 1
        result, times = self.marks((match["marks"] or "[]")[1:-1])
        return Branch(
            name[1:-1] if name[0] in _QUOTES else name, result, self.inside() if self.takes(">") else ()
        ), times

    def inside(self) -> Branches:
        if not self.takes("("):
            return (self.branch(),)
        branches = self.siblings()
        if not self.takes(")"):
            raise _wrong(self.pattern, len(self.pattern))
        return branches

    def marks(self, text: str) -> tuple[str, int]:
        result, times = semconv.SUCCESS, 1
        for mark in filter(None, (part.strip() for part in text.split(","))):
            count = _TIMES.fullmatch(mark)
            if count is not None:
                times = int(count[1])
            elif mark in semconv.RESULTS:
                result = mark
            else:
                hint = suggestion(mark, semconv.RESULTS)
                raise ConfigurationError(f"the tree {self.pattern!r} has {mark!r}, which is no result and no x3{hint}")
        return result, times

    def takes(self, sign: str) -> bool:
        is_next = self.place < len(self.tokens) and self.tokens[self.place][1]["sign"] == sign
        self.place += is_next
        return is_next


def names_of(branches: Branches) -> set[str]:
    """Return every name in *branches*."""
    return {name for branch, _ in branches for name in (branch.name, *names_of(branch.inside))}


def short_name(name: str, names: set[str]) -> str:
    """Return *name* as a pattern has it, which may leave out what kind of run it is."""
    bare = next((name.removeprefix(kind) for kind in _KINDS if name.startswith(kind)), name)
    return bare if bare in names and name not in names else name


def difference(expected: Branches, actual: Branches) -> str:
    """Return both trees in one, line by line: ``-`` is what was expected, ``+`` what was."""
    lines = difflib.ndiff(list(_lines(expected, 0)), list(_lines(actual, 0)))
    return "\n".join(line for line in lines if not line.startswith("?"))


def _lines(branches: Branches, depth: int) -> Iterator[str]:
    for branch, times in branches:
        result = "" if branch.result == semconv.SUCCESS else f" · {branch.result}"
        yield f"{_INDENT * depth}{branch.name}{result}{f' [x{times}]' if times > 1 else ''}"
        yield from _lines(branch.inside, depth + 1)
