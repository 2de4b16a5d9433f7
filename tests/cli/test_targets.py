import sys

import pytest

import otelflow
from otelflow import Flow, Task, flow, task
from otelflow._cli import _targets as targets
from otelflow.errors import TargetNotFound


def test_decorated_functions_are_told_apart_from_tasks_and_plain_functions():
    class Work(Flow):
        def main(self): ...

        @flow
        def by_method(self): ...

    @flow
    def by_function(): ...

    @flow(flow_name="named")
    async def with_arguments(): ...

    @flow
    @task
    def flow_over_task(): ...

    @task
    def step(): ...

    flows = [by_function, with_arguments, flow_over_task, Work, Work(), Work().by_method, Flow().setup(print).execute()]
    others = [step, print, Flow, Task, otelflow, 7, lambda: None]
    assert [targets.is_flow(one) for one in flows] == [True] * len(flows)
    assert [targets.is_flow(one) for one in others] == [False] * len(others)


def test_a_flow_that_a_file_runs_when_it_is_imported_is_told(tmp_path, capfd):
    (tmp_path / "guarded.py").write_text("import otelflow\n\n@otelflow.flow\ndef work(): ...\n")
    (tmp_path / "running.py").write_text(
        (tmp_path / "guarded.py").read_text() + "\nwork().execute()\nwork().execute()\n"
    )

    quiet = (targets.find(f"{tmp_path}/guarded.py"), capfd.readouterr().err)[1]
    told = (targets.find(f"{tmp_path}/running.py"), capfd.readouterr().err)[1]

    assert quiet == ""
    assert told == (
        f"otelflow: {tmp_path}/running.py has run flow 'work' itself when it was imported, which is no part of what "
        "follows; put that under if __name__ == '__main__':\n"
    )


def test_a_folder_is_told_as_one_with_and_without_its_slash(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "jobs_of_mine").mkdir()
    (tmp_path / "jobs_of_mine" / "nightly.py").touch()

    for target in ("jobs_of_mine", "jobs_of_mine/"):
        with pytest.raises(TargetNotFound, match=r"jobs_of_mine is a folder: name a file in it, such as .*nightly\.py"):
            targets.find(target)


def test_a_package_that_is_named_by_its_folder_is_told_by_the_name_of_a_module(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop" / "inner").mkdir(parents=True)
    for file in ("__init__.py", "__main__.py", "work.py", "inner/__init__.py", "inner/work.py"):
        (tmp_path / "shop" / file).touch()

    for target, module in (("shop/", "shop.work"), ("shop/inner/", "shop.inner.work")):
        with pytest.raises(TargetNotFound, match=f"is a folder: name a module in it, such as {module}$"):
            targets.find(target)


def test_a_package_without_a_file_that_lies_elsewhere_has_no_flow(tmp_path, monkeypatch):
    (tmp_path / "library" / "spread_out").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path / "library")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(TargetNotFound, match="spread_out has no flow"):
        targets.find("spread_out")


def test_a_windows_path_has_a_colon_of_its_own():
    assert targets.place_of(r"C:\flows\orders.py") == r"C:\flows\orders.py"
    assert targets.place_of(r"C:\flows\orders.py:total") == r"C:\flows\orders.py"
    assert targets.place_of("shop.orders:Total.run") == "shop.orders"


@pytest.mark.parametrize(
    ("target", "cure"),
    [
        ("shop.py:mian", "did you mean 'main'?"),
        ("shop:mian", "did you mean 'main'?"),
        ("shop.py::main", "'shop.py::main' has a colon too many: write shop.py:main"),
        ("night-shift:main", "no such file exists; did you mean night-shift.py?"),
        ("shpo.py:main", "did you mean 'shop.py'?"),
        ("shpo:main", "did you mean 'shop'?"),
        ("shop.main", "did you mean shop:main?"),
        ("packagee.flows:main", "did you mean 'package.flows'?"),
    ],
)
def test_a_slip_of_the_finger_is_answered_with_what_was_meant(tmp_path, monkeypatch, target, cure):
    (tmp_path / "shop.py").write_text("from otelflow import flow\n@flow\ndef main(): ...\n@flow\ndef other(): ...\n")
    (tmp_path / "night-shift.py").touch()
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "package" / "flows.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "argv", [*sys.argv])

    with pytest.raises(TargetNotFound) as raised:
        targets.find(target)

    monkeypatch.delitem(sys.modules, "shop", raising=False)
    assert cure in str(raised.value)


ODD_OBJECTS = """
from otelflow import flow

class Request:
    def __getattr__(self, name):
        raise RuntimeError("outside of a request")

class Settings:
    @property
    def __class__(self):
        raise ValueError("not configured")

class Comparison:
    def __eq__(self, other):
        return self
    def __bool__(self):
        raise TypeError("ambiguous")

class Column:
    def __getattr__(self, name):
        return Comparison()

class Member:
    def __get__(self, instance, owner):
        raise LookupError("no table")

class Model:
    rows = Member()

class Silent:
    def __repr__(self):
        raise ValueError("not loaded")

request, settings, column, silent = Request(), Settings(), Column(), Silent()

@flow
def main(): ...
"""


def test_a_flow_is_seen_between_objects_that_answer_oddly(tmp_path, monkeypatch):
    (tmp_path / "odd.py").write_text(ODD_OBJECTS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [*sys.argv])

    assert targets.find("odd.py").__name__ == "main"
    for name, kind in {"request": "Request", "settings": "Settings", "column": "Column", "silent": "Silent"}.items():
        with pytest.raises(TargetNotFound, match=f"^odd.py:{name} is {kind} .*, not a flow; its flows: main$"):
            targets.find(f"odd.py:{name}")
