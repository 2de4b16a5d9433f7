"""What a file or an argument says of functions to instrument."""

import os

import pytest

from otelflow.errors import ConfigurationError
from otelflow.instrument._plan import new_plan, read


def rule(pattern):
    return new_plan({"tasks": [pattern]}, "here").rules[0]


@pytest.mark.parametrize(
    ("pattern", "module", "function", "is_meant"),
    [
        ("shop.jobs:nightly_*", "shop.jobs", "nightly_bill", True),
        ("shop.jobs:nightly_*", "shop.jobs", "weekly", False),
        ("shop.jobs:nightly_*", "shop.jobs.more", "nightly_bill", False),
        ("shop.*:run", "shop.jobs.more", "run", True),
        ("shop.*:run", "shop", "run", False),
        ("shop:*", "shop", "run", True),
        ("shop:*", "shop", "Client.charge", False),
        ("shop:*", "shop", "_private", False),
        ("shop:_*", "shop", "_private", True),
        ("shop:Client.*", "shop", "Client.charge", True),
        ("shop:Client.*", "shop", "Client.__init__", False),
        ("shop:Client.__init__", "shop", "Client.__init__", True),
        ("shop:*.charge", "shop", "Client.charge", True),
        ("shop:RUN", "shop", "run", False),
    ],
)
def test_a_pattern_means_these_functions(pattern, module, function, is_meant):
    assert (rule(pattern).is_of_module(module) and rule(pattern).is_of_function(function)) is is_meant


@pytest.mark.parametrize(
    "pattern", ["shop.jobs.nightly", "shop:", ":run", "*:run", "shop:a:b", "shop jobs:run", 3, None]
)
def test_what_is_no_pattern_is_refused_with_an_example(pattern):
    with pytest.raises(ConfigurationError, match=r"here: flows: .* is no pattern: write module:function, such as"):
        new_plan({"flows": [pattern]}, "here")


def test_a_pattern_of_all_modules_is_refused_with_the_reason():
    with pytest.raises(
        ConfigurationError, match=r"'\*:\*' is no pattern: .* with the first name of the module in full"
    ):
        new_plan({"flows": ["*:*"]}, "here")


WRONG = pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"flow": ["a:b"]}, "here has no key 'flow'; did you mean 'flows'?"),
        ({"flows": "a:b"}, "here: flows must be a list of patterns, not 'a:b'"),
        ({"flows": 3}, "here: flows must be a list of patterns, not 3"),
        (
            {"tasks": ["logging:Logger.*"]},
            "here: tasks, logging:Logger.*: telemetry itself goes through that: name a function that calls it",
        ),
        ({"strict": True}, 'here names no function: write flows = ["module:function"], or tasks'),
        (
            {"tasks": [{"pattern": "a:b", "task_nam": "x"}]},
            "here: tasks, a:b: @task has no keyword 'task_nam'; did you mean 'task_name'?",
        ),
        (
            {"tasks": [{"pattern": "a:b", "task_name": "{qualnam}"}]},
            "here: tasks, a:b: task_name has no field 'qualnam'; did you mean 'qualname'?",
        ),
        (
            {"flows": [{"pattern": "a:b", "flow_name": "{0.x} {}"}]},
            "here: flows, a:b: flow_name has no field ''; known: module, name, qualname",
        ),
        (
            {"flows": [{"pattern": "a:b", "objective": {"every": "1 fortnight"}}]},
            "here: flows, a:b: Objective: every",
        ),
        (
            {"flows": [{"name": "x"}]},
            "here: flows: {'name': 'x'} has no pattern: write {pattern = \"module:function\"",
        ),
        ({"flows": [{"pattern": None}]}, "here: flows: None is no pattern"),
        (
            {"otelflow": {"flows": ["a:b"]}},
            "here has no table [otelflow]: flows, tasks, listeners, strict stand",
        ),
        ({"tool": {"otelflow": {}}}, "here has no table [tool]: flows, tasks"),
        ({"flows": [{"pattern": "a:b", "retries": -1}]}, "here: flows, a:b: 'b': retries must be a whole number"),
        ({"tasks": [{"pattern": "a:b", "cache_expiration": 3}]}, "here: tasks, a:b: b: cache_expiration is of no use"),
        ({"flows": [{"pattern": "a:b", "execute_on_call": 3}]}, "here: flows, a:b: execute_on_call is not to be said"),
        ({"flows": ["a:b"], "listeners": "a:B"}, "here: listeners must be a list of names, not 'a:B'"),
        ({"flows": ["a:b"], "listeners": ["a.B"]}, "here: listeners: 'a.B' is no name: write module:Class"),
    ],
)


@WRONG
def test_what_says_nothing_usable_is_refused_and_named(content, message):
    with pytest.raises(ConfigurationError) as refused:
        new_plan(content, "here")

    assert str(refused.value).startswith(message)


@WRONG
@pytest.mark.parametrize("key", [True, False])
def test_a_lenient_plan_has_what_can_be_used_and_says_what_cannot(content, message, key):
    more = {**content, "tasks": [*content.get("tasks", ()), "shop:run"]}
    plan = new_plan(more | {"strict": False}, "here") if key else new_plan(more, "here", is_strict=False)

    assert not plan.is_strict
    assert [rule.pattern for rule in plan.rules if rule.role == "task"] == ["shop:run"]
    said = [f"here: {fault}".replace("here: has", "here has") for fault in plan.faults]
    assert [text.startswith(message) for text in said] == [True] * ("names no function" not in message)


def test_a_lenient_plan_may_have_no_function_left():
    plan = new_plan({"flows": ["a.b"], "strict": False}, "here")
    empty = new_plan({"strict": False}, "here")

    assert (plan.rules, len(plan.faults)) == ((), 1)
    assert (empty.rules, empty.faults[0].partition(":")[0]) == ((), "names no function")


def test_a_word_for_strict_that_is_none_is_refused():
    with pytest.raises(ConfigurationError, match=r"here: strict must be true or false, not 'yes'"):
        new_plan({"flows": ["a:b"], "strict": "yes"}, "here")


def test_a_mark_before_the_text_as_some_editors_put_it_is_none_of_it(tmp_path):
    (tmp_path / "otelflow.toml").write_text('flows = ["shop:run"]\n', encoding="utf-8-sig")

    assert [rule.pattern for rule in read(tmp_path / "otelflow.toml").rules] == ["shop:run"]


def test_a_file_and_a_table_of_a_project_say_the_same(tmp_path):
    text = 'flows = ["shop:run"]\ntasks = [{pattern = "shop:*", task_name = "step"}]\nstrict = false\n'
    (tmp_path / "otelflow.toml").write_text(text)
    (tmp_path / "pyproject.toml").write_text(f"[tool.otelflow.instrument]\n{text}")

    plans = [read(tmp_path / name) for name in ("otelflow.toml", "pyproject.toml")]

    said = [([(rule.role, rule.pattern) for rule in plan.rules], plan.is_strict) for plan in plans]
    assert said == [([("flow", "shop:run"), ("task", "shop:*")], False)] * 2


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("otelflow.toml", None, "cannot be read: .*No such file"),
        ("otelflow.toml", "flows = [", "cannot be read: "),
        ("otelflow.toml", "\x00", "cannot be read: "),
        ("pyproject.toml", "[tool.other]\n", r"has no table \[tool.otelflow.instrument\]"),
        ("pyproject.toml", "tool = 3\n", r"has no table \[tool.otelflow.instrument\]"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text)

    with pytest.raises(ConfigurationError, match=f"{name}.*{message}"):
        read(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
@pytest.mark.parametrize("kind", ["fifo", "folder"])
def test_what_is_no_regular_file_is_an_error_and_blocks_nobody(tmp_path, kind):
    path = tmp_path / "otelflow.toml"
    os.mkfifo(path) if kind == "fifo" else path.mkdir()

    with pytest.raises(
        ConfigurationError, match=r"otelflow\.toml (of functions .* it is no regular file|is a folder: name)"
    ):
        read(path)
