"""What is in force where nobody has set anything, and which values a setting takes."""

from pathlib import Path

import pytest

from otelflow._core.process.settings_table import RUN_SETTINGS, SETTINGS, SETTINGS_OF_TASKS, Settings
from otelflow.errors import ConfigurationError

OF_RUNS = {
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
OF_PROCESSES = {
    "events": "span",
    "message_level": "INFO",
    "value_limit": 8192,
    "capture_loggers": (),
    "redact": (),
    "store": "",
    "span": "otelflow",
    "results": "",
    "results_max_age_days": 30,
    "results_max_bytes": 1024 * 1024 * 1024,
    "spool": "auto",
    "spool_dir": "",
    "trace_url": "",
    "note_trace": False,
    "mark_start": False,
    "instrument": "",
    "metrics": "",
    "metrics_series": 2_000,
    "metrics_certificate": "",
    "metrics_key": "",
    "metrics_client_ca": "",
}
#: What decides where data goes, or what a program does: no stranger's file may set it
NOT_HARMLESS = {
    "raise_flow_error", "redact", "store", "spool", "spool_dir", "trace_url", "note_trace", "instrument",
    "metrics", "metrics_certificate", "metrics_key", "metrics_client_ca",
    "results", "results_max_age_days", "results_max_bytes",
}  # fmt: skip

#: What makes telemetry, and where that goes: the process of a flow does that for its workers
OF_DELIVERY = {
    "store", "span", "spool", "spool_dir", "mark_start", "instrument",
    "metrics", "metrics_series", "metrics_certificate", "metrics_key", "metrics_client_ca",
}  # fmt: skip


def test_each_setting_has_its_default_and_says_in_words_what_it_means():
    assert {name: setting.default for name, setting in RUN_SETTINGS.items()} == OF_RUNS
    assert {name: setting.default for name, setting in SETTINGS.items()} == {**OF_RUNS, **OF_PROCESSES}
    assert [name for name, setting in SETTINGS.items() if " " not in setting.meaning] == []
    assert {name for name, setting in SETTINGS.items() if setting.name != name} == set()


def test_every_setting_but_those_of_delivery_goes_with_a_task_to_another_process():
    assert {name for name, setting in SETTINGS.items() if setting.is_of_delivery} == OF_DELIVERY
    assert set(SETTINGS_OF_TASKS) == set(SETTINGS) - OF_DELIVERY


def test_a_file_of_a_stranger_may_set_what_is_harmless_only():
    assert {name for name, setting in SETTINGS.items() if not setting.is_harmless} == NOT_HARMLESS


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("value_limit", 1, 1),
        ("value_limit", 2, 2),
        ("log_to_console", True, True),
        ("redact", ["a", "b"], ("a", "b")),
        ("redact", (), ()),
        ("store", "folder", "folder"),
        ("spool_dir", Path("folder"), "folder"),
        ("message_level", "debug", "DEBUG"),
    ],
)
def test_a_value_that_says_something_usable_is_kept(name, value, kept):
    assert SETTINGS[name].check(value, "here") == kept


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("value_limit", 0, "here: value_limit must be at least 1, not 0"),
        ("value_limit", -1, "here: value_limit must be at least 1, not -1"),
        ("value_limit", True, "here: value_limit must be a whole number, not True"),
        ("value_limit", "many", "here: value_limit must be a whole number, not 'many'"),
        ("value_limit", [1], r"here: value_limit must be a whole number, not \[1\]"),
        ("log_to_console", 1, "here: log_to_console must be True or False, not 1"),
        ("redact", ["a", 1], r"here: redact must be a list of texts, not \['a', 1\]"),
        ("redact", "text", "here: redact must be a list of texts, not 'text'"),
        ("store", ("a",), r"here: store must be a text, not \('a',\)"),
        ("store", ["x" * 99], rf"here: store must be a text, not \['{'x' * 58}$"),
        ("store", "~nobody-of-that-name/x", "here: store='~nobody-of-that-name/x' is no usable path: whose home"),
        ("spool_dir", '"/spool"', "is no usable path: the quotes are a part of it; write /spool without them"),
        ("instrument", "a\0b", "is no usable path: it holds a NUL character"),
        ("metrics_key", "'key.pem'", "is no usable path: the quotes are a part of it; write key.pem without them"),
        ("events", "spam", "here: events must be one of span, log, both, not 'spam'; did you mean 'span'?"),
        ("events", "zzzzzz", "here: events must be one of span, log, both, not 'zzzzzz'$"),
    ],
)
def test_a_value_that_says_nothing_usable_is_refused_with_its_place(name, value, says):
    with pytest.raises(ConfigurationError, match=says):
        SETTINGS[name].check(value, "here")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("log_to_console", "Yes", True),
        ("log_to_console", "off", False),
        ("log_to_console", "maybe", "maybe"),
        ("value_limit", "12", 12),
        ("value_limit", "-12", -12),
        ("value_limit", "1.5", "1.5"),
        ("value_limit", "²", "²"),
        ("value_limit", "9" * 5_000, "9" * 5_000),
        ("capture_loggers", " a, ,b ", ["a", "b"]),
        ("redact", "[0-9]{8,16},b", ["[0-9]{8,16}", "b"]),
        ("store", "off", "off"),
    ],
)
def test_a_variable_says_it_in_words(name, text, value):
    parsed = SETTINGS[name].parse(text)

    assert (parsed, type(parsed)) == (value, type(value))


def test_settings_in_force_are_the_values_and_for_the_rest_the_defaults():
    settings = Settings({"value_limit": 5}, {"value_limit": "configure()"})
    of_a_flow = settings.with_fields({"log_to_console": True})

    assert {name: getattr(settings, name) for name in SETTINGS} == {**OF_RUNS, **OF_PROCESSES, "value_limit": 5}
    assert (of_a_flow.value_limit, of_a_flow.log_to_console, settings.log_to_console) == (5, True, False)
    assert [of_a_flow.origin(name) for name in ("value_limit", "store")] == ["configure()", "default"]
