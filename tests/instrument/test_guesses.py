"""A pattern that means nothing is answered with what would mean something: where a method was written, what has it."""

import pytest

from otelflow.instrument._plan import new_plan
from otelflow.instrument._survey import survey

SHELVES = """
import abc
from typing import Protocol

class Shelf(abc.ABC):
    @abc.abstractmethod
    def load(self): ...
    def count(self): return 1
    @abc.abstractmethod
    def close(self): print("closed")

class Speaker(Protocol):
    def speak(self) -> str:
        \"\"\"Says something.\"\"\"
        raise NotImplementedError
    def whisper(self): return "psst"
"""

PACKAGE = """
from .shelves import Shelf as Board
import store.shelves as boards

class Disk(Board):
    def load(self): return 2

class Fast(Disk): ...

class Tape(boards.Shelf): ...

class Loop(Loop): ...
"""


@pytest.fixture
def store(tmp_path, monkeypatch):
    for folder in ("store", "store/inner"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").touch()
    (tmp_path / "store/shelves.py").write_text(SHELVES)
    (tmp_path / "store/disks.py").write_text(PACKAGE)
    (tmp_path / "store/inner/__init__.py").write_text("from ..disks import Fast\nfrom . import tools\n")
    (tmp_path / "store/inner/tools.py").write_text("class Tool:\n    def turn(self): ...\n")
    (tmp_path / "store/jobs.py").write_text("def nightly(): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def fault_of(pattern):
    (match,) = survey(new_plan({"tasks": [pattern]}, "here"))
    return match.fault


@pytest.mark.parametrize(
    ("pattern", "origin"),
    [
        ("store.disks:Board.count", "store.shelves:Shelf.count"),  # imported, by another name
        ("store.disks:Disk.count", "store.shelves:Shelf.count"),  # inherited
        ("store.disks:Fast.load", "store.disks:Disk.load"),
        ("store.disks:Fast.count", "store.shelves:Shelf.count"),
        ("store.disks:Tape.count", "store.shelves:Shelf.count"),
        ("store.inner:Fast.count", "store.shelves:Shelf.count"),
        ("store.inner:tools.Tool.turn", "store.inner.tools:Tool.turn"),
    ],
)
def test_a_method_that_a_class_only_has_is_answered_with_where_it_was_written(store, pattern, origin):
    module, _, name = pattern.partition(":")

    assert fault_of(pattern) == f"no function of {module} is called {name!r}: name it where it is written, {origin}"
    assert fault_of(origin) == ""


def test_classes_that_lead_in_a_circle_or_nowhere_are_left_alone(store):
    assert fault_of("store.disks:Loop.count").startswith("no function of store.disks is called 'Loop.count'")
    assert fault_of("store.disks:Board.missing").startswith("no function of store.disks is called 'Board.missing'")


@pytest.mark.parametrize(
    ("pattern", "meant"),
    [
        ("store:*", "store.*:*"),
        ("store:nightly", "store.jobs:nightly"),
        ("store:*.load", "store.*:*.load"),
        ("store.disks.Disk:load", "store.disks:Disk.load"),
        ("store.disks.Disk:*", "store.disks:Disk.*"),
    ],
)
def test_a_package_or_a_class_that_was_taken_for_a_module_is_answered_with_the_pattern_that_was_meant(
    store, pattern, meant
):
    assert fault_of(pattern).endswith(f"; did you mean {meant!r}?")
    assert fault_of(meant) == ""


@pytest.mark.parametrize(("pattern", "others"), [("Shelf.load", "*.load"), ("Speaker.speak", "*.speak")])
def test_an_abstract_method_is_no_run_of_anything(store, pattern, others):
    assert fault_of(f"store.shelves:{pattern}") == (
        f"it is abstract, and what overrides it is called: name that, such as store.shelves:{others}"
    )
    assert fault_of("store.*:*.load") == ""


@pytest.mark.parametrize("pattern", ["Shelf.close", "Shelf.count", "Speaker.whisper"])
def test_what_does_something_in_an_abstract_class_may_be_named(store, pattern):
    assert fault_of(f"store.shelves:{pattern}") == ""
