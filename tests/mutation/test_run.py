"""The faults that are put into the product, how a sample is judged, and that no argued exception is out of date."""

import json
from importlib.util import find_spec

import collected
import pytest
import run
from mutants import mutants_of

from support.programs import run_python


def changes(source):
    """Return the lines of *source* with each fault in it."""
    return [mutant.applied(source.encode()).decode() for mutant in mutants_of("otelflow/x.py", source.encode())]


@pytest.mark.parametrize(
    ("source", "faulty"),
    [
        ("a < b", ["a <= b"]),
        ("(a) is not (b)", ["(a) is (b)"]),
        ("f(a) in {b}", ["f(a) not in {b}"]),
        ("a and (b or c)", ["a or (b or c)", "a and (b and c)"]),
        ("x = 1", ["x = 2"]),
        ("x = True", ["x = False"]),
        ("x = 'a' + b", ["x = 'a' - b"]),
        ("x += y", ["pass", "x -= y"]),
        ("x = max(y, z)", ["x = min(y, z)"]),
        ("f(a, b, c)", ["f(b, a, c)", "pass"]),
        ("self.x = y", ["pass"]),
        ("x = y if z else w", ["x = y if not (z) else w"]),
        ("def f():\n    return a", ["def f():\n    return None"]),
        (
            "try:\n    pass\nexcept E:\n    raise",
            ["try:\n    pass\nexcept ():\n    raise", "try:\n    pass\nexcept E:\n    pass"],
        ),
        ("x: Literal[1] = y", []),
        ("@decorated(1)\ndef f(): 'says 1'", []),
        ("if TYPE_CHECKING:\n    import a\n    f(1)", []),
        ("'%s' % x", []),
    ],
)
def test_each_operator_puts_its_fault_in_and_leaves_the_rest_as_it_was(source, faulty):
    assert sorted(changes(source)) == sorted(faulty)


def test_a_fault_keeps_its_name_when_the_module_moves_on_and_loses_it_with_its_line():
    (before,) = mutants_of("otelflow/x.py", b"def f(a):\n    g(a)\n")
    (moved,) = mutants_of("otelflow/x.py", b"import g\n\n\ndef f(a):\n    g(a)\n")
    (edited,) = mutants_of("otelflow/x.py", b"def f(a):\n    g(b)\n")

    assert before.name == moved.name == "otelflow/x.py :: f :: g(a) :: removed"
    assert edited.name != before.name


def test_the_tests_of_a_module_are_at_its_path_below_tests():
    assert run.tests_near("otelflow/_core/runs/engine.py", run.ROOT).own == "tests/core/runs/test_engine.py"
    assert run.tests_near("otelflow/metrics/_counts.py", run.ROOT).own == "tests/metrics/test_counts.py"
    assert (
        run.tests_near("exporters/otelflow_exporters/_store/reader.py", run.ROOT).own
        == "tests/exporters/store/test_reader.py"
    )
    assert "tests/core/runs/test_spans.py" in run.tests_near("otelflow/_core/runs/bounded.py", run.ROOT).files


@pytest.mark.parametrize(
    ("before", "after", "is_late"),
    [
        ("def f():\n    return 1", "def f():\n    return 2", True),
        ("def f():\n    return lambda a=1: a", "def f():\n    return lambda a=2: a", True),
        ("def f(a=1): ...", "def f(a=2): ...", False),
        ("class A:\n    a = 1", "class A:\n    a = 2", False),
        ("class A:\n    def f(self): return 1", "class A:\n    def f(self): return True", True),
        ("a = 1", "a = 2", False),
        ("def f(a):\n    return lambda: a", "def f(a):\n    return lambda: None", False),  # another closure
        ("f = (lambda: 1, lambda: 2)", "f = (lambda: 1, lambda: 3)", False),  # two of one name on one line
    ],
)
def test_a_fault_can_be_put_into_functions_that_are_there_if_nothing_else_changes(before, after, is_late):
    assert collected.is_in_functions(before, after) is is_late


def test_a_fault_is_put_into_every_function_that_was_made_from_the_file():
    before = "def outer(a):\n    def inner():\n        return a + 1\n    return inner\n"
    names = {}
    exec(compile(before, "/a/module.py", "exec"), names)
    made_before = names["outer"](1)
    collected.put_in(before.replace("+", "-"), "/a/module.py")

    assert (made_before(), names["outer"](1)()) == (0, 0)


@pytest.mark.parametrize(
    ("killed", "tried", "number", "code"),
    [
        (0, run.SMALLEST_SAMPLE - 1, 500, 0),  # says nothing
        (26, 30, 500, 0),  # 87 %, which 90 % of all may well look like
        (20, 30, 500, 1),
        (89, 100, 100, 1),  # no sample: all of them
        (90, 100, 100, 0),
    ],
)
def test_a_sample_fails_only_when_its_score_cannot_be_an_accident(killed, tried, number, code):
    (mutant,) = mutants_of("otelflow/x.py", b"a < b")
    outcomes = [(mutant, "killed")] * killed + [(mutant, "survived")] * (tried - killed)

    assert run.report(outcomes, number, 90, {}, []) == code


@pytest.mark.skipif(not (run.ROOT / "otelflow").is_dir(), reason="no sources here: the wheel is tested")
@pytest.mark.timeout(300)  # it reads all these files, fault by fault
def test_every_equivalent_fault_is_there_still_and_says_why_nobody_can_notice_it():
    reasons = run.read_equivalents(run.EQUIVALENT.read_text())
    paths = {name.partition(" :: ")[0] for name in reasons}
    names = {mutant.name for path in paths for mutant in mutants_of(path, (run.ROOT / path).read_bytes())}

    assert [name for name in reasons if name not in names] == []
    assert [name for name, reason in reasons.items() if len(reason) < 20] == []


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("coverage"), reason="coverage is not installed: pip install 'otelflow[check]'")
def test_a_fault_is_tried_on_the_tests_that_run_its_line(tmp_path):
    project = tmp_path / "project"
    (project / "otelflow").mkdir(parents=True)
    (project / "otelflow" / "__init__.py").touch()
    (project / "otelflow" / "pytest_plugin.py").touch()
    (project / "otelflow" / "tiny.py").write_text(
        "class Sizes:\n    least = 1\n\n\ndef larger(a, b=1):\n    return a > b\n\n\ndef unseen():\n    return f()\n"
    )
    (project / "tests").mkdir()
    (project / "tests" / "test_tiny.py").write_text(
        "from otelflow.tiny import Sizes, larger\n\n\n"
        "def test_larger():\n    assert larger(2, 1)\n    assert Sizes.least == 1\n"
    )
    (project / "pyproject.toml").write_text("[tool.pytest.ini_options]\naddopts = ['--import-mode=importlib']\n")
    program = tmp_path / "program.py"
    program.write_text(
        f"import json, sys\nsys.path.insert(0, {str(run.EQUIVALENT.parent)!r})\nimport run\nfrom pathlib import Path\n"
        f"run.ROOT = Path({str(project)!r})\nsource = (run.ROOT / 'otelflow/tiny.py').read_bytes()\n"
        "mutants = run.mutants_of('otelflow/tiny.py', source)\n"
        f"outcomes = run.Trial(Path({str(tmp_path)!r})).outcomes(mutants, float('inf'))\n"
        "print(json.dumps([[mutant.operator, outcome] for mutant, outcome in outcomes]))\n"
    )

    done = run_python(program)

    assert json.loads(done.stdout.splitlines()[-1]) == [
        ["constant", "killed"],
        ["constant", "survived"],
        ["return", "killed"],
        ["comparison", "survived"],
        ["return", "survived: no test runs it"],
    ], done.stderr
