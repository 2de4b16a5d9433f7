import ast
import importlib
import re
from pathlib import Path

import pytest

import otelflow
import otelflow_exporters
from otelflow._core.text import redaction, secret_notations, secret_patterns, secret_places
from pattern_costs import read

FUNCTIONS = ("compile", "search", "match", "fullmatch", "sub", "subn", "split", "findall", "finditer", "lazy_compile")

# Of what looks at a text from one place only, with a text that is short: a value of 200 characters, a name, a cell.
NOT_SEARCHED_FOR = {
    "BETWEEN", "BLOCK", "DATE", "FILE", "HEADING_OF_CELLS", "HEADING_OF_LINES", "KEY_END", "PHRASE", "PLACEHOLDER",
    "PORTS", "QUOTES", "SCHEME_WORD", "TECHNICAL", "VARIABLE", "WORDED", "WORDS",
}  # fmt: skip
# What all repetitions of a pattern could do at once, for each character; no text makes them, and what is seen at worst
# is some hundred times less.
MOST_STEPS = 2_500
# Of these the bound says nothing: at most three lines of sixty characters, of which each place is reached once; and
# words of a sentence, of which one at a time fits.
BOUNDED_BY_HAND = {"SPOKEN", "HOLDER_BEHIND", "HELD after BETWEEN"}

# They are searched for in what is short, a name, or has matched another pattern whole, which leaves nothing to search.
IN_WHAT_IS_KNOWN = {"otelflow._core.text.secret_values", "otelflow._testing.counted_runs"}
# Patterns of users, patterns that are tested with redaction, and words of ours.
MADE_IN_FUNCTIONS = {
    "otelflow._cli._conversion",
    "otelflow._core.inside.listener_checks",
    "otelflow._core.process.settings",
    "otelflow._core.text.redaction",
    "otelflow._core.text.regex",
    "otelflow._core.text.secret_columns",
}


def patterns_of_redaction():
    for piece, place in secret_places.PLACES:
        yield f"place {piece} {place[:30]}", redaction._ending_in_secret(place)
    for command, option in secret_places.COMMANDS:
        yield f"option of {command} {option}", redaction._ending_in_secret(option)
    yield "COMMAND", re.compile(secret_places.COMMAND)
    for stem, rest in secret_patterns.TOKEN_SHAPES:
        yield f"shape {stem}", redaction._shape(stem, rest)
    yield "HELD", re.compile(secret_notations.HELD, re.IGNORECASE)
    yield "HELD after BETWEEN", re.compile(secret_notations.BETWEEN + secret_notations.HELD, re.IGNORECASE)
    for name, pattern in vars(secret_notations).items():
        if name.isupper() and name != "HELD":
            yield name, re.compile(pattern)


def calls_in_modules():
    """Return each call of ``re`` in the sources: its module, and what is done with the pattern."""
    for package in (otelflow, otelflow_exporters):  # wherever they are installed
        folder = Path(package.__file__).parents[1]
        for path in sorted(Path(package.__file__).parent.rglob("*.py")):
            source = path.read_text()
            if "re." not in source and "lazy_compile" not in source:
                continue
            module = ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__")
            tree = ast.parse(source)
            parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
            for node in ast.walk(tree):
                called = ast.unparse(node.func) if isinstance(node, ast.Call) and node.args else ""
                if called == "lazy_compile" or (called.removeprefix("re.") in FUNCTIONS and called.startswith("re.")):
                    yield module, node, uses(node, parents, source)


def uses(node, parents, source):
    called = ast.unparse(node.func)
    if called not in ("re.compile", "lazy_compile"):
        return {called.removeprefix("re.")}
    parent = parents[node]
    if isinstance(parent, ast.Attribute):
        return {parent.attr}
    if isinstance(parent, ast.AnnAssign):
        return set(re.findall(rf"\b{ast.unparse(parent.target)}\.(\w+)", source)) - {"pattern"}
    return {"search"}


def compiled(module, node):
    """Return the pattern of a call, or nothing if only its function knows it."""
    names = vars(importlib.import_module(module))
    called = ast.unparse(node.func).removeprefix("re.")
    keywords = {one.arg: one.value for one in node.keywords}
    flags = keywords.get(
        "flags", node.args[1] if called in ("compile", "lazy_compile") and len(node.args) > 1 else None
    )
    parts = [node.args[0], *([flags] if flags is not None else [])]
    try:
        return re.compile(*(eval(ast.unparse(part), {"re": re, **names}) for part in parts))
    except NameError:
        return None


@pytest.mark.parametrize(
    ("name", "pattern"), list(patterns_of_redaction()), ids=lambda one: one if isinstance(one, str) else ""
)
def test_no_pattern_of_redaction_reads_a_text_again_from_each_place_in_it(name, pattern):
    reading = read(pattern)

    assert reading.ambiguous == []
    assert name in NOT_SEARCHED_FOR or reading.read_again == []
    assert name in BOUNDED_BY_HAND or reading.steps_per_character <= MOST_STEPS


def test_no_other_pattern_of_the_house_reads_a_text_again_from_each_place_in_it():
    slow, unread = {}, set()
    for module, node, done in calls_in_modules():
        pattern = compiled(module, node)
        if pattern is None:
            unread.add(module)
            continue
        reading = read(pattern)
        if reading.ambiguous or (reading.read_again and not done <= {"match", "fullmatch"}):
            slow.setdefault(module, []).append((ast.unparse(node), reading))

    assert slow.keys() == IN_WHAT_IS_KNOWN, slow
    assert unread == MADE_IN_FUNCTIONS


@pytest.mark.parametrize(
    "pattern",
    [
        r"bind\w*\(",
        r"(?i)echo \w+(?=[^\n]*chpasswd)",
        r"[^\n]*x",
        r"a\s+b|[a-z]+\s*=",
        r"\bmariadb[\w\-]* -p",
        r"(?:\d+,)*",
        r'"[a-z ]*[^"]*!',
        r'"(?:[a-z ]*)[^"]*!',
        r"(?m)^[ ]*\s*b",
        r"(?=.*[0-9])[a-z]",
        r"(?s)\x1b\].*?(?:\x07|\x1b\\)",
    ],
)
def test_a_pattern_that_takes_quadratic_time_is_seen(pattern):
    assert read(re.compile(pattern)).read_again


@pytest.mark.parametrize("pattern", [r"(a+)+b", r"(?:a|ab|b)*c", r"(?:\d+\s*)+x", r"(?:a|a)*b"])
def test_a_pattern_that_takes_exponential_time_is_seen(pattern):
    assert read(re.compile(pattern)).ambiguous


@pytest.mark.parametrize(
    "pattern",
    [
        r"\w+",
        r"(?<![\w.])[\w.]++=",
        r"\bkey\w*\s*=",
        r"(?m)^[^\n]*x",
        r'"[^"\n]*"',
        r"<[^<>]*>",
        r"bind\w{0,30}\(",
        r"(?:[^\\]|\\.)*+",
        r"'(?:[^'\\]|\\.)*+'?",
        r"(?:(?!end).)*+(?:end)?",
        r"(?:\d,)*+",
    ],
)
def test_a_pattern_that_takes_linear_time_is_not_taken_for_a_slow_one(pattern):
    reading = read(re.compile(pattern))

    assert (reading.read_again, reading.ambiguous) == ([], [])
