"""What IPython, and so a notebook, shows of a flow; in a process of its own, since a shell is one for each."""

import json

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


def test_an_inner_flow_is_its_own_part_of_the_tree():
    (bundle,) = bundles("run = inner().execute(); nightly().execute(); bundles = [shown(run)]")

    assert "✓ flow inner" in bundle["text/plain"]
    assert "nightly" not in bundle["text/plain"]
    assert bundle["text/plain"].count("task load") == 1


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
