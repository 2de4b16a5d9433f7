"""Who is told of which module, and what is left in the interpreter afterwards."""

import importlib
import sys

import pytest

pytest.importorskip("wrapt")

from otelflow.instrument._import_hook import ImportHook


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Three modules that nobody has imported."""
    names = [f"hooked_{letter}" for letter in "abc"]
    for name in names:
        (tmp_path / f"{name}.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield names
    for name in names:
        sys.modules.pop(name, None)


def test_of_a_module_that_is_wanted_it_is_told_once_and_of_no_other(modules):
    told = []
    hook = ImportHook(lambda name: name == modules[0], lambda module: told.append((module.__name__, module.value)))

    for name in [*modules, *modules]:
        importlib.import_module(name)
    hook.remove()

    assert told == [(modules[0], 1)]


def test_a_module_that_is_removed_and_imported_anew_is_told_of_again(modules):
    told = []
    hook = ImportHook(modules.__contains__, lambda module: told.append(module.__name__))

    importlib.import_module(modules[0])
    del sys.modules[modules[0]]
    importlib.import_module(modules[0])
    hook.remove()

    assert told == [modules[0]] * 2


def test_who_is_removed_is_told_nothing_and_leaves_the_finders_of_others(modules):
    told = []
    before = list(sys.meta_path)
    hook, other = (ImportHook(modules.__contains__, lambda module: told.append(module.__name__)) for _ in range(2))

    hook.remove()
    hook.remove()
    left = [finder for finder in sys.meta_path if isinstance(finder, ImportHook) and finder not in before]
    importlib.import_module(modules[1])
    other.remove()
    importlib.import_module(modules[2])

    assert left == [other]
    assert told == [modules[1]]
    assert [finder for finder in sys.meta_path if finder in before] == before
    assert hook not in sys.meta_path
    assert other not in sys.meta_path
