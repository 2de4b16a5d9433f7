"""What each setting of a flow does, seen from outside."""

import re

import pytest

from otelflow import Flow, Flow_Run__Config, flow, flow_events, task
from otelflow.errors import ConfigurationError


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


@task
def quiet():
    return None


@task
def speak(this_task=None):
    print("hello")
    this_task.log_info("told")
    return 1


@flow
def plain():
    speak()
    quiet()
    return 2


def run_with(**fields):
    plain_flow = plain()
    plain_flow.flow_config = Flow_Run__Config(**fields)
    return plain_flow.execute()


def failing(**fields):
    @flow(flow_config=Flow_Run__Config(**fields))
    def fails():
        raise ValueError("boom")

    return fails()


def test_add_task_to_self_keeps_the_tasks():
    on, off = run_with(add_task_to_self=True), run_with(add_task_to_self=False)

    assert [one.task_name for one in on.executed_tasks] == ["speak", "quiet"]
    assert len(off.executed_tasks) == 0


def test_log_to_console_writes_each_message_to_stderr_as_it_comes(capsys):
    run_with(log_to_console=False)
    off = capsys.readouterr()
    run_with(log_to_console=True)
    on = capsys.readouterr()

    assert (off.out, off.err) == ("hello\n", "")
    assert on.out == "hello\n"
    assert "told\n" in on.err
    assert "hello" not in on.err


def test_log_to_memory_keeps_the_messages(spans):
    on, off = run_with(log_to_memory=True), run_with(log_to_memory=False)

    assert "told" in on.captured_logs()
    assert off.captured_logs() == []
    assert [span.events[1].attributes["otelflow.message.text"] for span in spans.named("task speak")] == ["told"] * 2


def test_logging_enabled_switches_all_messages_off(spans):
    heard = []
    flow_events.event_listeners.append(heard.append)
    try:
        off = run_with(logging_enabled=False)
    finally:
        flow_events.event_listeners.remove(heard.append)

    assert off.captured_logs() == []
    assert spans.messages("task speak") == []
    assert "flow_message" not in {event.event_type.value for event in heard}


def test_print_logs_prints_the_messages_at_the_end(capsys):
    run_with(print_logs=True)

    printed = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    assert printed.startswith("hello\nCreated flow run")
    assert printed.count("hello\n") == 2
    assert printed.rstrip().endswith("Flow return value: 2")


def test_print_none_return_value_has_a_message_for_none():
    on, off = run_with(print_none_return_value=True), run_with(print_none_return_value=False)

    assert "Task return value: None" in on.captured_logs()
    assert "Task return value: None" not in off.captured_logs()


def test_a_none_that_is_asked_for_stands_on_the_spans_of_flow_and_task(spans):
    @task(capture_return_value=True)
    def nothing():
        pass

    @flow(capture_return_value=True, flow_config=Flow_Run__Config(print_none_return_value=True))
    def empty():
        nothing()

    empty().execute()

    shown = {span.name: span.attributes.get("otelflow.run.return_value") for span in spans.spans}
    assert shown == {"flow empty": "None", "task nothing": "None"}


def test_print_finished_message_has_a_message_for_each_end():
    on, off = run_with(print_finished_message=True), run_with(print_finished_message=False)

    assert "Finished task 'speak'" in on.captured_logs()
    assert f"Finished flow run '{on.flow_id}'" in on.captured_logs()
    assert not [text for text in off.captured_logs() if text.startswith("Finished")]


def test_print_error_stack_trace_writes_the_traceback_to_stderr(capsys):
    for wanted in (True, False):
        with pytest.raises(ValueError, match="boom"):
            failing(print_error_stack_trace=wanted).execute()

    assert capsys.readouterr().err.count("ValueError: boom") == 1


def test_print_error_stack_trace_writes_the_traceback_of_a_task_whose_exception_stays_inside(capsys, spans):
    @task(raise_on_error=False)
    def stays():
        raise LookupError("inside")

    @task
    def comes_out():
        raise ValueError("boom")

    @flow(flow_config=Flow_Run__Config(print_error_stack_trace=True, raise_flow_error=False))
    def body():
        stays()
        comes_out()

    run = body().execute()

    written = capsys.readouterr().err
    assert written.count("\nLookupError: inside\n") == written.count("\nValueError: boom\n") == 1
    assert not [text for text in run.log_messages() if "Traceback" in text]
    assert spans.messages("task stays") == []


def test_raise_flow_error_decides_whether_execute_raises():
    with pytest.raises(ValueError, match="boom"):
        failing(raise_flow_error=True).execute()
    kept = failing(raise_flow_error=False).execute()

    assert (kept.status, str(kept.flow_error), kept.flow_return_value) == ("failure", "boom", None)


def test_flow_data_capture_events_keeps_the_events_for_json():
    on, off = run_with(flow_data__capture_events=True), run_with(flow_data__capture_events=False)

    kinds = [event["event_type"] for event in on.json()["flow_data"]["events"]]
    assert (kinds[0], kinds[-1]) == ("flow_start", "flow_stop")
    assert {"task_start", "task_stop", "flow_message", "new_result"} < set(kinds)
    assert off.json()["flow_data"]["events"] == []


def test_the_defaults_are_those_that_people_know():
    assert Flow_Run__Config().json() == {
        "add_task_to_self": True,
        "log_to_console": False,
        "log_to_memory": True,
        "logging_enabled": True,
        "print_logs": False,
        "print_none_return_value": False,
        "print_finished_message": False,
        "print_error_stack_trace": False,
        "raise_flow_error": True,
        "flow_data__capture_events": False,
    }


def test_a_flow_wins_over_the_process(monkeypatch):
    monkeypatch.setenv("OTELFLOW_PRINT_FINISHED_MESSAGE", "true")

    given, left = run_with(print_finished_message=False), run_with()

    assert not [text for text in given.captured_logs() if text.startswith("Finished")]
    assert [text for text in left.captured_logs() if text.startswith("Finished")]


def test_a_field_that_does_not_exist_names_the_nearest():
    with pytest.raises(ConfigurationError, match="has no field 'log_to_consol'; did you mean 'log_to_console'"):
        Flow_Run__Config(log_to_consol=True)
    with pytest.raises(ConfigurationError, match="did you mean 'print_logs'"):
        Flow_Run__Config().print_log = True
    with pytest.raises(ConfigurationError, match="log_to_console must be True or False, not 'yes'"):
        Flow_Run__Config(log_to_console="yes")
    with pytest.raises(AttributeError, match="did you mean 'print_logs'"):
        _ = Flow_Run__Config().print_log


def test_what_a_subclass_says_as_a_class_holds_for_the_whole_run(capsys):
    class Loud(Flow_Run__Config):
        print_logs = True
        print_finished_message = True
        raise_flow_error = False

    def main(this_flow=None):
        this_flow.log_info("hello")
        raise ValueError

    run = Flow(flow_config=Loud()).setup(main).execute()

    assert run.status == "failure"
    assert "hello" in capsys.readouterr().out
    assert run.log_messages()[-1].startswith("Finished flow run")
