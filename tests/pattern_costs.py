"""What a regular expression costs at worst: how many characters are looked at for each one at which it may begin.

A pattern that is searched for takes quadratic time where it reads a long stretch from each of many places in it, and
then fails. It cannot where each repetition without a bound is one of these:

- everything after it matches whatever comes: what was read is a match, and is read once;
- few places lie in front of each stretch: something that cannot be in the stretch has to stand before it, or the
  pattern begins with what looks back (``(?<![\\w.])``, ``^``, ``\\b``) and finds none inside the stretch.

A repetition of what may match one text in several ways, and that is not possessive, takes exponential time.

Repetitions with a bound cost at most their bounds, multiplied where one may end at several places. ``read`` says of a
pattern what breaks these rules, and how many steps it takes for a character: a bound, mostly far above what is seen.
"""

import math
import re
import re._constants as words  # what ``re`` itself reads patterns with; no other module of Python does
import re._parser as parser
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

# Of each kind of characters that patterns distinguish, some.
ALPHABET = frozenset(map(chr, range(128))) | frozenset("\x85\xa0äÄßéΩя密パ는\uff1a\u0663\u2003\u0301")
BACKREFERENCES = (words.GROUPREF, words.GROUPREF_EXISTS, words.GROUPREF_IGNORE)
REPEATS = (words.MAX_REPEAT, words.MIN_REPEAT, words.POSSESSIVE_REPEAT)
# Where the parts of a node are that is made of others, one after the other.
INSIDE = {
    **dict.fromkeys(REPEATS, lambda argument: argument[2]),
    words.SUBPATTERN: lambda argument: argument[3],
    words.ATOMIC_GROUP: lambda argument: argument,
    words.ASSERT: lambda argument: argument[1],
}

Node = tuple[Any, Any]
Characters = frozenset[str]


class After(NamedTuple):
    """What comes after a part of a pattern: how it may begin, and whether it can be nothing or fail.

    What *is_given_up* was read without becoming part of a match, though nothing after it need have failed: what is
    looked at ahead.
    """

    first: Characters = frozenset()
    is_nullable: bool = True
    may_fail: bool = False
    is_given_up: bool = False
    distance: int = 1  # between two places at which it may begin


class Cost(NamedTuple):
    """The steps of a part of a pattern from one place, and at how many places it may end.

    There is no bound to these if it *is_open*: what follows is tried anew within a stretch of any length.
    """

    steps: float
    ends: float
    is_open: bool = False


@dataclass
class Reading:
    """What is to be said about one pattern."""

    steps_per_character: float = 0.0
    read_again: list[str] = field(default_factory=list)
    ambiguous: list[str] = field(default_factory=list)


def read(pattern: re.Pattern[str] | re.Pattern[bytes]) -> Reading:
    """Return what searching for *pattern* costs at worst."""
    source = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    flags = pattern.flags & ~re.UNICODE if isinstance(pattern.pattern, bytes) else pattern.flags
    nodes = list(parser.parse(source, flags))
    reader = _Reader(flags)
    cost = reader.sequence(nodes, After(), reader.behind(nodes), [])
    return Reading(cost.steps / distance(reader.fixed(nodes)), unique(reader.read_again), unique(reader.ambiguous))


def unique(texts: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def distance(fixed: Sequence[Characters]) -> int:
    """Return how many characters lie between two places, at least, from which *fixed* matches: of "bind" four."""
    return next(
        (n for n in range(1, len(fixed)) if all(one & other for one, other in zip(fixed, fixed[n:], strict=False))),
        max(1, len(fixed)),
    )


class _Reader:
    def __init__(self, flags: int) -> None:
        self.flags = flags
        self.read_again: list[str] = []
        self.ambiguous: list[str] = []

    def sequence(self, nodes: Sequence[Node], after: After, behind: Characters, before: list[Characters]) -> Cost:
        """Return the cost of *nodes* one after the other; *behind* never precedes a match, *before* stands in front."""
        steps, ends, is_open = 0.0, 1.0, False
        before = list(before)
        for n, node in enumerate(nodes):
            behind |= self.behind([node])
            cost = self.node(node, self.joined(nodes[n + 1 :], after), behind, before)
            steps += ends * cost.steps
            ends *= cost.ends
            is_open |= cost.is_open
            before += self.mandatory(node)
            if cost.is_open:
                before, behind = [], frozenset()
        return Cost(steps, ends, is_open)

    def node(self, node: Node, after: After, behind: Characters, before: list[Characters]) -> Cost:
        kind, argument = node
        if kind in REPEATS:
            return self.repeat(node, after, behind, before)
        if kind is words.SUBPATTERN:
            return self.sequence(argument[3], after, behind, before)
        if kind is words.ATOMIC_GROUP:
            return Cost(self.sequence(argument, self.alone(after), behind, before).steps, 1)
        if kind is words.BRANCH:
            branches = [list(branch) for branch in argument[1]]
            costs = [self.sequence(branch, after, behind, before) for branch in branches]
            together = max(
                sum(cost.ends for cost, other in zip(costs, branches, strict=True) if self.may_both(branch, other))
                for branch in branches
            )
            return Cost(sum(cost.steps for cost in costs), together, any(cost.is_open for cost in costs))
        if kind in (words.ASSERT, words.ASSERT_NOT):
            # What is looked at ahead is never a match: it may be looked at again from the next place.
            return Cost(self.sequence(argument[1], After(is_given_up=True), behind, before).steps, 1)
        return Cost(1, 1)

    def repeat(self, node: Node, after: After, behind: Characters, before: list[Characters]) -> Cost:
        kind, (least, most, body) = node
        first, is_nullable = self.first(body)
        is_possessive = kind is words.POSSESSIVE_REPEAT
        inside = self.alone(after) if is_possessive else after
        if most != 1:
            inside = inside._replace(first=first | inside.first, may_fail=inside.may_fail or least > 1)
        cost = self.sequence(body, inside, behind, before)
        ends_once = is_possessive or not after.may_fail or not (after.is_nullable or is_nullable or first & after.first)
        is_read_again = self.is_read_again(body, after, behind, before)
        if most is words.MAXREPEAT:
            if is_read_again:
                self.read_again.append(self.text(node))
            if cost.ends > 1 and not is_possessive:
                self.ambiguous.append(self.text(node))
        if most is words.MAXREPEAT or (cost.ends == 1 and not is_read_again):
            # Each stretch is read a bounded number of times: what is counted is the cost of each of its characters.
            return Cost(2 * cost.steps, 1 if ends_once else 2, not ends_once and most is words.MAXREPEAT)
        if cost.ends > 1 and not is_possessive:
            paths = sum(cost.ends**n for n in range(most + 1))
            return Cost(cost.steps * paths, paths)
        return Cost(most * cost.steps, 1 if ends_once else math.ceil((most - least + 1) / after.distance))

    def alone(self, after: After) -> After:
        """Return what comes after a part that is never tried a second time, before *after*."""
        return After(is_given_up=after.may_fail or after.is_given_up)

    def is_read_again(self, body: Sequence[Node], after: After, behind: Characters, before: list[Characters]) -> bool:
        """Tell whether many beginnings of a match may lie in, or before, one stretch that *body* repeats."""
        stretch = self.characters(body)
        is_kept_off = any(not (one & stretch) for one in before) or stretch <= behind
        return (after.may_fail or after.is_given_up) and not is_kept_off

    def joined(self, nodes: Sequence[Node], after: After) -> After:
        """Return what comes after a part that is followed by *nodes*, and then by *after*."""
        first, is_nullable = self.first(nodes)
        may_fail = after.may_fail or not self.always_matches(nodes)
        if is_nullable:
            return after._replace(first=first | after.first, may_fail=may_fail, distance=1 if nodes else after.distance)
        return After(first, False, may_fail, after.is_given_up, distance(self.fixed(nodes)))

    def always_matches(self, nodes: Sequence[Node]) -> bool:
        for kind, argument in nodes:
            if kind in REPEATS and argument[0] == 0:
                continue
            if kind is words.SUBPATTERN and self.always_matches(argument[3]):
                continue
            if kind is words.BRANCH and any(map(self.always_matches, argument[1])):
                continue
            return False
        return True

    def first(self, nodes: Sequence[Node]) -> tuple[Characters, bool]:
        """Return what *nodes* may begin with, and whether they may be nothing."""
        first: Characters = frozenset()
        for n, (kind, argument) in enumerate(nodes):
            if kind is words.ASSERT_NOT and argument[0] > 0 and self.is_one_character(argument[1]):
                following, is_nullable = self.first(nodes[n + 1 :])
                return first | ((ALPHABET if is_nullable else following) - self.characters(argument[1])), False
            one, is_nullable = self.first_of((kind, argument))
            first |= one
            if not is_nullable:
                return first, False
        return first, True

    def first_of(self, node: Node) -> tuple[Characters, bool]:
        kind, argument = node
        if kind is words.BRANCH:
            alternatives = [self.first(branch) for branch in argument[1]]
            first: Characters = frozenset().union(*(alternative for alternative, _ in alternatives))
            return first, any(is_nullable for _, is_nullable in alternatives)
        if kind is words.AT and argument in (words.AT_END, words.AT_END_STRING):
            return frozenset("\n" if argument is words.AT_END else ""), False
        if kind in INSIDE and not (kind is words.ASSERT and argument[0] < 0):
            first, is_nullable = self.first(INSIDE[kind](argument))
            return first, is_nullable or (kind in REPEATS and argument[0] == 0)
        if kind in (words.ASSERT, words.ASSERT_NOT, words.AT):
            return frozenset(), True
        return (ALPHABET, True) if kind in BACKREFERENCES else (self.one_character(node), False)

    def is_one_character(self, nodes: Sequence[Node]) -> bool:
        return len(nodes) == 1 and nodes[0][0] in (words.LITERAL, words.NOT_LITERAL, words.IN, words.ANY)

    def characters(self, nodes: Iterable[Node]) -> Characters:
        """Return every character that may be anywhere in what *nodes* match."""
        result: Characters = frozenset()
        for kind, argument in nodes:
            if kind is words.BRANCH:
                result = result.union(*map(self.characters, argument[1]))
            elif kind in BACKREFERENCES:
                result |= ALPHABET
            elif kind in INSIDE and kind is not words.ASSERT:
                result |= self.characters(INSIDE[kind](argument))
            elif kind not in (words.ASSERT, words.ASSERT_NOT, words.AT):
                result |= self.one_character((kind, argument))
        return result

    def mandatory(self, node: Node) -> list[Characters]:
        """Return what characters stand before, or in, *node* at any rate, one set for each."""
        kind, argument = node
        if (kind in REPEATS and argument[0] == 0) or (kind is words.ASSERT and argument[0] > 0):
            return []
        if kind in INSIDE:
            return [one for item in INSIDE[kind](argument) for one in self.mandatory(item)]
        if kind is words.BRANCH:
            branches = [[one for item in branch for one in self.mandatory(item)] for branch in argument[1]]
            if not all(branches):
                return []
            # Of each branch the last: one of them stands there.
            return [frozenset().union(*(branch[-1] for branch in branches))]
        if kind is words.AT and argument is words.AT_BEGINNING_STRING:
            return [frozenset()]
        if kind in (words.ASSERT_NOT, words.AT, *BACKREFERENCES):
            return []
        return [self.one_character(node)]

    def behind(self, nodes: Sequence[Node]) -> Characters:
        """Return the characters of which none stands just before a match."""
        behind: Characters = frozenset()
        for n, (kind, argument) in enumerate(nodes):
            if kind is words.AT and argument in (words.AT_BEGINNING, words.AT_BEGINNING_STRING):
                is_line = argument is words.AT_BEGINNING and self.flags & re.MULTILINE
                behind |= ALPHABET - {"\n"} if is_line else ALPHABET
            elif kind is words.AT and argument is words.AT_BOUNDARY:
                first, is_nullable = self.first(nodes[n + 1 :])
                if not is_nullable and all(re.match(r"\w", one) for one in first):
                    behind |= {one for one in ALPHABET if re.match(r"\w", one)}
            elif kind is words.ASSERT_NOT and argument[0] < 0 and len(argument[1]) == 1:
                behind |= self.characters(argument[1])
            elif kind is words.SUBPATTERN:
                behind |= self.behind(argument[3])
                break
            elif kind not in (words.ASSERT, words.ASSERT_NOT, words.AT):
                break
        return behind

    def may_both(self, branch: Sequence[Node], other: Sequence[Node]) -> bool:
        """Tell whether *branch* and *other* may match at one place."""
        pairs = zip(self.fixed(branch), self.fixed(other), strict=False)
        return all(one & another for one, another in pairs)

    def fixed(self, nodes: Sequence[Node]) -> list[Characters]:
        """Return the characters that *nodes* begin with, one set for each, as far as their number is fixed."""
        result = []
        for node in nodes:
            kind, argument = node
            if kind is words.SUBPATTERN:
                inner = self.fixed(argument[3])
                result += inner
                if len(inner) < len(argument[3]):
                    break
            elif kind is words.ASSERT and argument[0] > 0:
                first, is_nullable = self.first(argument[1])
                result += [] if is_nullable else [first]
                break
            elif kind in (words.ASSERT, words.ASSERT_NOT, words.AT):
                continue
            elif kind in REPEATS or kind in (words.BRANCH, words.ATOMIC_GROUP, *BACKREFERENCES):
                if kind in REPEATS and argument[0] and len(argument[2]) == 1:
                    first, is_nullable = self.first(argument[2])
                    result += [] if is_nullable else [first]
                elif kind is words.BRANCH:
                    first, is_nullable = self.first([node])
                    result += [] if is_nullable else [first]
                break
            else:
                result.append(self.one_character(node))
        return result

    def one_character(self, node: Node) -> Characters:
        kind, argument = node
        if kind is words.ANY:
            return ALPHABET if self.flags & re.DOTALL else ALPHABET - {"\n"}
        items = argument if kind is words.IN else [node]
        is_negated = bool(items) and items[0][0] is words.NEGATE
        result: set[str] = set()
        for item, value in items:
            if item is words.LITERAL:
                result |= {chr(value)}
            elif item is words.NOT_LITERAL:
                result |= ALPHABET - {chr(value)}
            elif item is words.RANGE:
                result |= {one for one in ALPHABET if value[0] <= ord(one) <= value[1]}
            elif item is words.CATEGORY:
                result |= {one for one in ALPHABET if re.match(_CATEGORIES[value], one)}
        if self.flags & re.IGNORECASE:
            result |= {one for one in ALPHABET if one.lower() in result or one.upper() in result}
        return ALPHABET - result if is_negated else frozenset(result)

    def text(self, node: Node) -> str:
        _, (least, _, body) = node
        stretch = self.characters(body)
        shown = stretch if len(stretch) < 64 else ALPHABET - stretch
        return f"{'' if shown is stretch else 'all but '}{''.join(sorted(shown))!r} from {least} times on"


_CATEGORIES = {
    words.CATEGORY_DIGIT: r"\d",
    words.CATEGORY_NOT_DIGIT: r"\D",
    words.CATEGORY_SPACE: r"\s",
    words.CATEGORY_NOT_SPACE: r"\S",
    words.CATEGORY_WORD: r"\w",
    words.CATEGORY_NOT_WORD: r"\W",
}
