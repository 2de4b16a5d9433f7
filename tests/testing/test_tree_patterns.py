import contextlib
import re

import pytest

from otelflow import flow, task
from otelflow._core.process import provider
from otelflow.errors import ConfigurationError


@task(raise_on_error=False)
def charge(amount=1):
    receipt()
    if amount > 2:
        raise LookupError(amount)


@task
def receipt():
    pass


@task
def email():
    pass


@flow
def shop(count=3):
    for amount in range(count):
        charge(amount)
    email()


@pytest.mark.parametrize(
    "pattern",
    [
        "shop > (charge[x3] > receipt, email)",
        "flow shop>(email,task charge[x3]>task receipt)",
        "shop > (charge[x2] > receipt, charge > receipt, email)",
        "'flow shop' > (charge[x3, success] > 'receipt', email)",
    ],
)
def test_a_tree_in_one_line_is_the_tree_whatever_its_order(spans, pattern):
    shop().execute()

    spans.assert_tree(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "shop",
        "shop > (charge[x2] > receipt, email)",
        "shop > (charge[x3], email)",
        "shop > charge[x3] > (receipt, email)",
        "shop[failure] > (charge[x3] > receipt, email)",
        "task shop > (charge[x3] > receipt, email)",
        "shop > (charge[x3] > receipt, email), shop",
    ],
)
def test_any_other_tree_is_not(spans, pattern):
    shop().execute()

    with pytest.raises(AssertionError):
        spans.assert_tree(pattern)


def test_a_failure_must_be_said(spans):
    shop(4).execute()

    with pytest.raises(AssertionError):
        spans.assert_tree("shop > (charge[x4] > receipt, email)")
    spans.assert_tree("shop > (charge[x3] > receipt, charge[failure] > receipt, email)")


def test_the_difference_is_read_at_a_glance(spans):
    shop(4).execute()

    with pytest.raises(AssertionError) as wrong:
        spans.assert_tree("shop > (charge[x4] > receipt, mail)")

    assert str(wrong.value).splitlines() == [
        "the runs are not shop > (charge[x4] > receipt, mail) (- expected, + there)",
        "  shop",
        "-   charge [x4]",
        "+   charge [x3]",
        "      receipt",
        "-   mail",
        "+   charge · failure",
        "+     receipt",
        "+   task email",
    ]


def test_a_task_that_was_not_run_is_marked_as_skipped(spans):
    @task
    def broken():
        raise LookupError

    @flow
    def chain():
        email.submit(wait_for=[broken.submit()])

    chain().execute()

    spans.assert_tree("chain > (broken[failure], email[skip])")


def test_nothing_ran(spans):
    with pytest.raises(AssertionError, match="shop"):
        spans.assert_tree("shop")


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("", "goes wrong at ''"),
        ("shop >", "goes wrong at ''"),
        ("shop > (a, b", "goes wrong at ''"),
        ("shop > (a b)) c", r"goes wrong at '\) c'"),
        ("shop, > a", "goes wrong at '> a'"),
        ("shop > a] b", "goes wrong at '] b'"),
        ("shop[failed]", "has 'failed', which is no result and no x3"),
        ("shop[x0]", "has 'x0', which is no result"),
        ("shop[sucess]", "did you mean 'success'"),
    ],
)
def test_what_is_no_tree_is_refused(spans, pattern, words):
    with pytest.raises(ConfigurationError, match=words):
        spans.assert_tree(pattern)


def test_names_with_signs_stand_in_quotes(spans):
    flow(flow_name="GET /orders/<fruit>")(email)().execute()

    spans.assert_tree("'GET /orders/<fruit>' > email")


def test_a_name_with_an_apostrophe_stands_in_double_quotes(spans):
    flow(flow_name="the customer's order (1)")(email)().execute()

    spans.assert_tree('"the customer\'s order (1)" > email')


DEEP = 5_000


def test_a_tree_may_be_deeper_than_python_calls_itself(spans):
    with contextlib.ExitStack() as stack:
        for _ in range(DEEP):
            stack.enter_context(provider._chosen.override.get_tracer("deep").start_as_current_span("call"))

    spans.assert_tree(" > ".join(["call"] * DEEP))
    spans.assert_tree("call > (" * (DEEP - 1) + "call" + ")" * (DEEP - 1))
    with pytest.raises(AssertionError) as wrong:
        spans.assert_tree(" > ".join(["call"] * (DEEP - 1)))
    lines = str(wrong.value).splitlines()
    assert lines[1].strip() == "…"
    assert lines[-1].endswith(f"({DEEP - 1} levels) call")
    assert len(lines) < 30


def test_of_a_large_difference_a_part_is_shown(spans):
    shop(1).execute()

    with pytest.raises(AssertionError) as wrong:
        spans.assert_tree(",".join(f"run {number}" for number in range(500)))

    lines = str(wrong.value).splitlines()
    assert len(lines) == 202
    assert re.fullmatch(r"… \d+ lines more", lines[-1])
