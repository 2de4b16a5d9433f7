"""What IPython, and so a notebook, shows of a flow; in a process of its own, since a shell is one for each."""

import json
import re
import textwrap

import pytest

from support.programs import python

pytest.importorskip("IPython", reason="the extra hosts")

PROGRAM = """
import json
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_cell('''
import otelflow
from otelflow import flow, task

@task(raise_on_error=False, capture_parameters=["number"])
def load(number):
    print("loading", number)
    if number == 2:
        raise ValueError("bad <row>")

@flow
def inner():
    load(7)

@flow
def nightly():
    for number in range(3):
        load(number)
    inner().execute()
    return "done"

@flow
def failing():
    raise LookupError("no such order")

shown = lambda flow: get_ipython().display_formatter.format(flow)[0]
''')
result = shell.run_cell('''
PART
''')
result.raise_error()
print("JSON:" + json.dumps(shell.user_ns["bundles"]))
"""


def bundles(part):
    done = python(PROGRAM.replace("PART", part), options=("-W", "ignore"))
    assert "JSON:" in done.stdout, done.stdout + done.stderr
    return json.loads(done.stdout.rpartition("JSON:")[2])


def test_a_flow_that_ran_is_a_tree_as_text_and_as_html_and_before_it_is_what_it_was():
    before, after = bundles("run = nightly(); bundles = [shown(run)]; run.execute(); bundles.append(shown(run))")

    text, html = after["text/plain"], after["text/html"]
    assert list(before) == ["text/plain"]
    assert before["text/plain"].endswith("not run>")
    for words in ("✓ flow nightly", "✓ task load (number=0)", "✗ task load (number=2)", "✓ flow inner", "· loading 7"):
        assert words in text
    assert text.index("flow inner") < text.index("(number=7)")
    assert "ValueError: bad <row>" in text
    assert "= result flow-return-value: done" in text
    assert html.startswith("<pre")
    assert "bad &lt;row&gt;" in html
    assert "<row>" not in html


def test_a_flow_that_failed_has_its_traceback():
    (bundle,) = bundles(
        "run = failing()\ntry:\n    run.execute()\nexcept LookupError:\n    pass\nbundles = [shown(run)]"
    )

    assert "✗ flow failing" in bundle["text/plain"]
    assert bundle["text/plain"].count("LookupError: no such order") == 2
    assert "Traceback (most recent call last):" in bundle["text/plain"]


def test_each_attempt_that_failed_tells_where_also_when_its_exception_is_gone():
    (bundle,) = bundles(
        "@task(retries=3, raise_on_error=False)\ndef fetch():\n    raise OSError('no line')\n"
        "@flow\ndef tries():\n    fetch()\n"
        "run = tries().execute()\nbundles = [shown(run)]"
    )

    text = bundle["text/plain"]
    assert text.count("OSError: no line") == 4
    assert len(re.findall(r"at <ipython-input-\S+>:\d+, in fetch|at \S+:\d+, in fetch", text)) == 4


def test_an_inner_flow_is_its_own_part_of_the_tree():
    (bundle,) = bundles("run = inner().execute(); nightly().execute(); bundles = [shown(run)]")

    assert "✓ flow inner" in bundle["text/plain"]
    assert "nightly" not in bundle["text/plain"]
    assert bundle["text/plain"].count("task load") == 1


MUCH = """
from otelflow import Flow, INJECTED

@task(capture_parameters=True, capture_return_value=True, task_run_name="page {number}")
def page(number):
    return {"number": number}

@task
def pages():
    yield from (1, 2)

@flow(capture_parameters=True, capture_return_value=True, flow_run_name="of {day}")
def much(day, this_flow: Flow = INJECTED):
    page(1)
    for number in pages():
        break
    how_far = this_flow.add_flow_artifact("How far", key="p", data=0, artifact_type="progress")
    how_far.update(50)
    this_flow.log_debug("not on a span")
    for number in range(300):
        this_flow.log_info(f"line {number}.")
    return 5

run = much("tuesday").execute()
bundles = [shown(run)["text/plain"]]
"""
FROM_SPANS = f"""
from otelflow.testing import flow_trace
from otelflow_exporters import TreeView, render_trace

with flow_trace() as trace:
{textwrap.indent(MUCH, "    ")}
bundles.append(render_trace(trace.spans, width=100, view=TreeView(tracebacks="causes")))
"""


def without_times(text):
    """Return the lines of a tree without its head, its bars and times."""
    tree = text[text.index("✓ flow") :]
    return [
        " ".join(re.sub(r"[━╸]|[\d.]+ [mµ]?s$|\d\d:\d\d:\d\d\.\d+", "", line).split()) for line in tree.splitlines()
    ]


def test_it_is_the_tree_that_a_terminal_shows_with_and_without_a_provider():
    in_notebook, from_spans = bundles(FROM_SPANS)
    (without_provider,) = bundles(MUCH)

    assert "= {'number': 1}" in from_spans
    assert "page 1 (number=1)" in from_spans
    assert "240 more messages were not recorded" in from_spans
    assert "its consumer closed it before its end" in from_spans
    assert without_times(in_notebook) == without_times(from_spans)
    closed = ["│ … its consumer closed it before its end"]  # what only a span is told
    assert without_times(without_provider) == [line for line in without_times(from_spans) if line not in closed]


def test_of_very_many_runs_it_is_told_that_some_are_not_shown():
    (shown,) = bundles("""
for _ in range(2):
    @flow
    def many():
        for number in range(2_100):
            load(number + 3)
run = many().execute()
bundles = [shown(run)["text/plain"]]
""")

    assert "of many runs the first 2,000; 101 are not shown" in shown


def test_a_run_that_begins_while_ipython_is_being_imported_is_a_run_like_any_other():
    done = python(
        """
        import sys, types
        import otelflow

        sys.modules["IPython"] = types.ModuleType("IPython")
        print(otelflow.flow()(lambda: 7)().execute().flow_return_value)
        """
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "7\n", "")


def test_outside_of_ipython_nothing_is_remembered_of_a_run():
    program = """
    from otelflow import flow
    @flow
    def nightly():
        print("hello")
    run = nightly().execute()
    print(run.flow_state.tree, run._repr_mimebundle_())
    """

    assert python(program, check=True).stdout == "hello\nNone {}\n"


def test_a_flow_whose_tasks_run_in_processes_is_a_tree_too(tmp_path):
    (tmp_path / "squares.py").write_text("from otelflow import task\n\n@task\ndef square(x):\n    return x * x\n")
    part = """
import sys; sys.path.insert(0, FOLDER)
from squares import square
run = flow(task_runner="processes")(lambda: square.map([1, 2]).result())().execute(); bundles = [shown(run)]
""".replace("FOLDER", repr(str(tmp_path)))
    done = python(PROGRAM.replace("PART", part), options=("-W", "ignore"))

    assert "raised" not in done.stderr
    (bundle,) = json.loads(done.stdout.rpartition("JSON:")[2])
    assert bundle["text/plain"].count("✓ task square") == 2
