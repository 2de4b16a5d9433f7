import ast

import pytest

from support.sources import changes_in, is_vague, locks_in, names_in


@pytest.mark.parametrize(
    "source",
    [
        "lock = threading.Lock()",
        "self.lock = threading.RLock()",
        "lock = field(default_factory=threading.Lock)",
        "changed = threading.Condition()",
        "from threading import Lock",
        "lock = _thread.allocate_lock()",
        "os.register_at_fork(before=print)",
    ],
)
def test_a_lock_of_its_own_is_found(source):
    assert len(locks_in(ast.parse(source))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "lock = forks.new_lock()",
        "changed = threading.Condition(forks.new_lock())",
        "def new() -> threading.Lock: ...",
        "if TYPE_CHECKING:\n    from _thread import RLock",
        "started = threading.Event()",
    ],
)
def test_a_lock_of_the_house_and_the_name_of_a_type_are_none(source):
    assert locks_in(ast.parse(source)) == []


@pytest.mark.parametrize(
    "source",
    [
        "thing = None\ndef change():\n    global thing\n    thing = 1",
        "thing = {}\ndef change():\n    thing[1] = 2",
        "thing = Counter()\ndef change():\n    thing[1] += 2",
        "thing: Final = set()\ndef change():\n    thing.add(1)",
        "thing = weakref.WeakSet[int]()\ndef change():\n    thing.add(1)",
        "thing = [1]\nclass Kind:\n    def change(self):\n        del thing[0]",
        "class thing: ...\ndef change():\n    thing.attribute = 1",
        "class thing:\n    inside = set()\ndef change():\n    thing.inside.add(1)",
        "class Kind: ...\nthing: Kind = Kind()\ndef change():\n    thing.attribute = 1",
    ],
)
def test_what_a_function_changes_in_its_module_is_found(source):
    ((_, name, _),) = changes_in(ast.parse(source))

    assert name == "thing"


@pytest.mark.parametrize(
    "source",
    [
        "thing = {1: 2}\ndef read():\n    return thing[1]",
        "thing = []\nthing.append(1)",
        "thing = {}\ndef change(thing):\n    thing[1] = 2",
        "thing = {}\ndef change():\n    thing = []\n    thing.append(1)",
        "class Kind(process.State): ...\nthing = Kind()\ndef change():\n    thing.attribute = 1",
        "class Kind(threading.local): ...\nthing = Kind()\ndef change():\n    thing.attribute = 1",
        "class Kind:\n    def __init__(self):\n        self.attribute = 1",
    ],
)
def test_what_is_constant_or_local_or_a_piece_of_state_is_no_change(source):
    assert changes_in(ast.parse(source)) == []


def test_names_are_those_that_are_made_and_not_those_that_are_used():
    source = "class Kind:\n    def _said(self, other, *more):\n        self.kept = value = wanted"

    names = [name for _, name in names_in(ast.parse(source))]

    assert sorted(names) == ["Kind", "_said", "kept", "more", "other", "self", "value"]
    assert [name for name in sorted(names) if is_vague(name)] == ["_said", "kept", "more", "other"]
