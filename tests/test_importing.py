import importlib

import pytest

from otelflow._importing import import_for_user, load_file, text_of
from otelflow.errors import TargetNotFound, TargetNotImportable


def load(name):
    return import_for_user(lambda: importlib.import_module(name), name, lambda: f"there is no {name}")


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)

    def write(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        importlib.invalidate_caches()

    return write


def test_a_module_that_imports_is_returned():
    assert load("importlib") is importlib


@pytest.mark.parametrize("name", ["no_such_module_anywhere", "importlib.no_such_module", "no_such_package.module"])
def test_a_module_that_is_not_there_is_not_found(name):
    with pytest.raises(TargetNotFound, match=f"^there is no {name}$"):
        load(name)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("import not_there_at_all", "ModuleNotFoundError: No module named 'not_there_at_all' .*:1.; install it where"),
        ("import faulty_module_", "ModuleNotFoundError: No module named 'faulty_module_' .*:1.; install it where"),
        ("x = 1\nx / 0", "ZeroDivisionError: division by zero .*faulty_module.py:2.$"),
        ("def f(:", "SyntaxError: invalid syntax .*faulty_module.py:1.$"),
        ("raise SystemExit(3)", "SystemExit: 3 .*:1.; it ends itself when imported"),
        ("from . import x", "ImportError: .*; name it as package.module, not by its path, in the folder"),
        ("class E(Exception):\n  def __str__(self): 1 / 0\nraise E", r"E: \(its text cannot be made\)"),
    ],
)
def test_a_module_that_does_not_import_is_named_with_error_line_and_cure(write, monkeypatch, text, sentence):
    write("faulty_module", text)

    with pytest.raises(TargetNotImportable, match=f"^faulty_module does not import: {sentence}") as error:
        load("faulty_module")

    assert error.value.__cause__ is not None


def test_ctrl_c_during_an_import_comes_out(write):
    write("interrupted_module", "raise KeyboardInterrupt")

    with pytest.raises(KeyboardInterrupt):
        load("interrupted_module")


def test_the_text_of_an_exception_is_its_message():
    assert text_of(ValueError("five")) == "five"


@pytest.mark.parametrize(
    ("name", "end"), [("a.toml", "with .py; patterns in it are for --instrument"), ("a.txt", "with .py")]
)
def test_a_file_of_patterns_is_no_program_and_what_it_is_for_is_said(tmp_path, name, end):
    (tmp_path / name).write_text("")

    with pytest.raises(TargetNotFound) as refusal:
        load_file(tmp_path / name)
    assert str(refusal.value).endswith(end)
