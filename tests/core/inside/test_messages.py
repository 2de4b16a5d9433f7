"""What a run says: log_*, loggers, prints; each as a message of the run where it was said."""

import contextvars
import io
import logging
import sys
import time

import pytest

from otelflow import Flow_Run__Config, flow, flow_events, get_run_logger, task
from otelflow._core.inside import messages
from otelflow._core.process import settings
from otelflow._core.runs.bounded import BoundedLog
from support.flows import run_of, total


def said(run):
    """The messages of a run, without the engine's own."""
    return [line.plain_text for line in run.log if line.level >= 20]


def test_each_way_of_saying_something_becomes_a_message_of_the_run_with_its_own_time(spans):
    @task
    def work(this_task=None, this_flow=None):
        print("printed")
        this_task.log_debug("whispered")
        this_task.log_info("told")
        this_task.log_warning("warned")
        this_flow.log_error("shouted")
        get_run_logger().info("logged %s", 1)

    @flow
    def talk():
        work()

    run = talk().execute()

    assert spans.messages("task work") == ["printed", "told", "warned", "shouted", "logged 1"]
    assert spans.messages("flow talk") == []
    assert said(run) == ["printed", "told", "warned", "shouted", "logged 1"]
    assert "whispered" in run.captured_logs()
    task_span = spans.one("task work")
    times = [event.timestamp for event in task_span.events]
    assert times == sorted(times)
    assert task_span.start_time <= times[0] < times[-1] <= task_span.end_time
    severities = [event.attributes["otelflow.message.severity"] for event in task_span.events]
    assert severities == ["INFO", "INFO", "WARNING", "ERROR", "INFO"]


def test_listeners_hear_a_message_at_once():
    heard = []

    def listen(event):
        heard.append(event.event_data.data.get("message_data", {}).get("message_text"))

    def body():
        print("one")
        return list(heard)

    flow_events.event_listeners.append(listen)
    try:
        run = run_of(body)
    finally:
        flow_events.event_listeners.remove(listen)

    assert run.flow_return_value[-1] == "one"


class Unprintable:
    def __str__(self):
        raise ValueError("no text")


def test_a_message_of_ten_megabytes_is_bounded_and_says_how_long_it_was(spans):
    def body(this_flow):
        this_flow.log_info("x" * 10_000_000)
        this_flow.log_info(b"\xff" * 10_000_000)

    run_of(body)

    first, second = spans.messages("flow body")
    assert first == "x" * 8192 + "… [cut, 10,000,000 characters]"
    assert second.endswith("… [cut, 10,000,000 characters]")
    assert len(second) < 9_000


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (b"caf\xe9", "caf\\xe9"),
        ("lone \udce4", "lone \\udce4"),
        (Unprintable(), "<Unprintable: str() raised ValueError>"),
        ("", ""),
        (None, "None"),
        ({"a": [1]}, "{'a': [1]}"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("nul\x00", "nul\x00"),
    ],
)
def test_any_message_becomes_a_text_that_can_be_exported(spans, message, text):
    run_of(lambda this_flow: this_flow.log_info(message))

    assert spans.messages("flow body") == [text]


def test_messages_are_off_when_logging_is_disabled(spans, capsys):
    def body(this_flow):
        print("x")
        this_flow.log_error("y")

    run = run_of(body, flow_config=Flow_Run__Config(logging_enabled=False))

    assert run.captured_logs() == []
    assert spans.messages("flow body") == []
    assert capsys.readouterr().out == "x\n"


def test_what_is_said_after_the_end_belongs_to_the_run_around_it(spans):
    late = []

    @task
    def work():
        late.append(contextvars.copy_context())

    def body():
        work()
        late[0].run(print, "after the task")

    run_of(body)

    assert spans.messages("flow body") == ["after the task"]


def test_the_messages_of_a_run_can_be_read_in_each_form(capsys):
    run = total(1).execute()
    run.log_debug("d")
    run.log_info("i", task_run_id="task")
    run.log_error("e")
    capsys.readouterr()

    assert run.log_messages() == run.captured_logs()
    assert run.log_messages_with_colors() == run.captured_exec_logs
    assert run.captured_logs() == [
        f"Executing flow run '{run.flow_id}'",
        "Executing task 'add'",
        "1 + 1",
        "Task return value: 2",
        "Flow return value: 2",
        "d",
        "i",
        "e",
    ]
    assert "\x1b[" in run.log_messages_with_colors()[0]
    run.print_log_messages(use_colors=False)
    assert capsys.readouterr().out.splitlines() == run.captured_logs()
    run.print_log_messages()
    assert capsys.readouterr().out.splitlines() == run.captured_exec_logs


@pytest.mark.parametrize("capture", [False, True])
def test_at_level_debug_a_value_is_on_a_span_only_where_the_program_asked_for_values(spans, capture):
    heard = []
    settings.configure(message_level="DEBUG")
    flow_events.event_listeners.append(heard.append)

    @task(capture_return_value=capture)
    def salary():
        return "a thousand"

    @flow(capture_return_value=capture)
    def pay():
        return salary()

    run = pay().execute()

    values = ["Task return value: a thousand", "Flow return value: a thousand"]
    on_spans = spans.messages("task salary") + spans.messages("flow pay")
    told = [
        event.event_data.data["message_data"]["message_text"]
        for event in heard
        if event.event_data.data.get("message_data")
    ]
    assert "Executing task 'salary'" in on_spans
    assert [text for text in on_spans if "value" in text] == (values if capture else [])
    assert [text for text in told if "value" in text] == values
    assert [text for text in run.captured_logs() if "value" in text] == values


class Broken(io.StringIO):
    """A terminal that is gone."""

    def write(self, _):
        raise OSError("gone")


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


class Odd(io.StringIO):
    """What a program has put in the place of a stream."""

    def isatty(self):
        raise RuntimeError("no such thing")

    def write(self, _):
        raise RuntimeError("not now")


@pytest.mark.parametrize("stream", [lambda: None, closed, Broken, Odd], ids=["none", "closed", "gone", "odd"])
def test_a_message_that_no_console_can_show_is_kept_all_the_same(spans, monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream())

    run = run_of(
        lambda this_flow: this_flow.log_info("said"),
        flow_config=Flow_Run__Config(log_to_console=True, print_logs=False),
    )

    assert spans.messages("flow body") == ["said"]
    assert "said" in run.captured_logs()


def test_a_message_is_on_the_console_unless_it_was_printed_there(capsys):
    def body(this_flow):
        print("printed")
        this_flow.log_info("said")

    run_of(body, flow_config=Flow_Run__Config(log_to_console=True, print_logs=False))

    written = capsys.readouterr()
    assert written.out == "printed\n"
    assert "said\n" in written.err
    assert "printed" not in written.err


def test_each_message_of_the_log_says_of_which_task_it_is_and_when_it_was_said():
    @task
    def works(this_task=None, this_flow=None):
        this_task.log_info("of the task")
        this_flow.log_info("of the flow")
        this_flow.log_info("of another", task_run_id="another")
        return this_task.task_id

    before = time.time_ns()
    run = run_of(lambda: works())

    lines = [line for line in run.log if line.message.startswith("of ")]
    assert [line.task_run_id for line in lines] == [run.flow_return_value, run.flow_return_value, "another"]
    assert before <= lines[0].time_ns <= lines[-1].time_ns <= time.time_ns()


@pytest.mark.parametrize(("log_to_memory", "omitted"), [(True, 48_000), (False, 0)])
def test_of_a_huge_print_the_log_counts_what_it_leaves_out_if_there_is_one(spans, capsys, log_to_memory, omitted):
    run = run_of(lambda: print("\n".join(["line"] * 50_000)), flow_config=Flow_Run__Config(log_to_memory=log_to_memory))

    assert run.log.omitted // 1_000 * 1_000 == omitted
    assert spans.one("flow body").attributes["otelflow.messages.omitted"] == 50_000 - 60


def test_a_huge_print_of_a_task_outside_of_flows_is_counted_on_its_span(spans, capsys):
    @task
    def prints():
        print("\n".join(["line"] * 50_000))

    prints()

    assert spans.one("task prints").attributes["otelflow.messages.omitted"] == 50_000 - 60


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "no_color", "is_coloured"), [(Screen, "", True), (Screen, "1", False), (io.StringIO, "", False)]
)
def test_messages_have_colours_on_a_terminal_that_wants_them_only(monkeypatch, stream, no_color, is_coloured):
    out, err = stream(), stream()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setenv("NO_COLOR", no_color)

    run_of(lambda: None, flow_config=Flow_Run__Config(log_to_console=True, print_logs=True))

    for written in (out.getvalue(), err.getvalue()):
        assert "Executing flow run" in written
        assert ("\x1b[" in written) is is_coloured


def test_the_log_in_memory_keeps_the_first_and_the_last_thousand_messages_and_a_thousand_errors():
    log = BoundedLog(messages.BOUNDS)
    for number in range(5_000):
        level = logging.ERROR if 1_500 <= number < 2_700 else logging.INFO
        log.append(messages.Line((0, level, str(number), "", None)))

    numbers = [int(line.message) for line in log]
    assert numbers == [*range(1_000), *range(1_500, 2_500), *range(4_000, 5_000)]
    assert log.omitted == 2_000


def test_a_stream_that_is_none_or_closed_shows_no_colours():
    assert [messages.shows_colors(stream) for stream in (None, closed(), io.StringIO(), Odd())] == [False] * 4


def test_whatever_is_given_as_the_id_of_a_task_run_is_a_text():
    class Odd:
        def __bool__(self):
            raise RuntimeError("no truth")

        def __str__(self):
            return "odd"

    run = run_of(lambda this_flow: (this_flow.log_info("%s of it", Odd()), this_flow.log_info("said", task_run_id=7)))

    assert [line.task_run_id for line in run.log if line.message in ("%s of it", "said")] == ["odd", "7"]


def test_what_otelflow_writes_to_a_console_makes_it_obey_nothing_but_colours(capsys):
    hostile = "\x1b]0;title\x07\x1b[2Jone\u202e \x1b[31mtwo\U000e0068\rthree"
    config = Flow_Run__Config(
        log_to_console=True, print_logs=True, print_error_stack_trace=True, raise_flow_error=False
    )

    def fails(this_flow):
        this_flow.log_info(hostile)
        raise ValueError(hostile)

    run = run_of(fails, flow_config=config)
    run.print_log_messages()

    out, err = capsys.readouterr()
    assert out.count("one two\nthree\n") == 2
    assert err.count("one two\nthree\n") == 3
    assert "one \x1b[31mtwo\nthree\x1b[0m\n" in out
    assert not set("\x07\u202e\U000e0068\r") & set(out + err)
    assert "\x1b[2J" not in out + err


def test_what_is_said_in_a_flow_inside_a_flow_or_of_another_belongs_to_that_flow_alone(spans):
    flows = {}

    @task
    def say(text, this_flow=None):
        get_run_logger().info(text)

    def inner(this_flow):
        flows["inner"] = this_flow
        this_flow.log_info("inner said")
        print("inner printed")
        say("inner task")
        flows["outer"].log_info("of the outer one")

    def outer(this_flow):
        flows["outer"] = this_flow
        run_of(inner, flow_name="inner")
        this_flow.log_info("outer said")
        say("outer task")

    run_of(outer, flow_name="outer")

    said = {"inner said", "inner printed", "inner task", "outer said", "outer task", "of the outer one"}
    logs = {name: said.intersection(found.captured_logs()) for name, found in flows.items()}
    assert logs["inner"] == {"inner said", "inner printed", "inner task"}
    assert logs["outer"] == {"outer said", "outer task", "of the outer one"}
