import logging
import re

import pytest

from otelflow._cli import _console as console
from otelflow._core.text.own_logger import LINES_VARIABLE


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("http://user:secret@host:4318/v1", "http://user:[redacted]@host:4318/v1"),
        ("http://:secret@host", "http://:[redacted]@host"),
        ("http://user:s:e/c@ret@host", "http://user:[redacted]@host"),
        ("http://user:12345@host", "http://user:[redacted]@host"),
        ("http:/user:secret@host", "http:/user:[redacted]@host"),
        ("errors resolving user:open@secret@host:1: no", "errors resolving user:[redacted]@host:1: no"),
        ("//user:secret@host", "//user:[redacted]@host"),
        ("ENDPOINT=user:secret@host:4317 is none", "ENDPOINT=user:[redacted]@host:4317 is none"),
        ("METRICS=push:http://user:secret@host", "METRICS=push:http://user:[redacted]@host"),
        ("a 'http://u:secret@h' and http://v:secret@i", "a 'http://u:[redacted]@h' and http://v:[redacted]@i"),
        ("http://host:4318/x?mail=a@b", "http://host:4318/x?mail=a@b"),
        ("failed: ask bob@example.com", "failed: ask bob@example.com"),
        ("flows.py:3 @ noon", "flows.py:3 @ noon"),
    ],
)
def test_the_password_of_an_address_is_hidden_and_nothing_else(text, printed):
    assert console.hide_passwords(text) == printed


def test_a_line_is_written_without_passwords(capsys):
    console.say("OTLP=user:secret@host is no endpoint")

    assert capsys.readouterr().err == "otelflow: OTLP=user:[redacted]@host is no endpoint\n"


def test_a_traceback_is_written_without_passwords(capsys):
    try:
        raise ValueError("http://user:secret@host")
    except ValueError as error:
        console.print_traceback(error)

    printed = capsys.readouterr().err
    assert "ValueError: http://user:[redacted]@host" in printed
    assert "secret" not in printed.replace('raise ValueError("http://user:secret@host")', "")


@pytest.mark.parametrize("trouble", [RuntimeError, SystemExit, GeneratorExit])
def test_an_exception_without_a_text_is_described(trouble):
    class Silent(Exception):
        def __str__(self):
            raise trouble

    assert console.describe(Silent()) == "Silent: (its text cannot be made)"


def test_a_long_text_of_an_error_leaves_room_for_its_place(capsys):
    try:
        raise ValueError("no " * 2_000)
    except ValueError as error:
        console.say(console.describe(error))

    printed = capsys.readouterr().err
    assert printed.startswith("otelflow: ValueError: no no no")
    assert re.search(r"no…? \(\S+test_console\.py:\d+\)\n$", printed)


@pytest.mark.parametrize("length", range(485, 500))
def test_a_password_at_the_end_of_a_long_text_is_hidden_before_that_is_cut(length):
    text = "x" * length + " http://user:secret@host" + "y" * 500

    assert "secret" not in console.describe(ValueError(text))
    assert "sec" not in console.describe(ValueError(text))


def test_the_traceback_of_an_exception_with_thousands_of_causes_is_written(capsys):
    error = ValueError("the first")
    for number in range(2_000):
        later = ValueError(f"number {number}")
        later.__cause__ = error
        error = later

    console.print_traceback(error)

    printed = capsys.readouterr().err
    assert "ValueError: the first\n" in printed
    assert printed.endswith("ValueError: number 1999\n")


@pytest.mark.parametrize("with_tracebacks", [False, True])
def test_a_malformed_header_is_reported_without_its_value(capsys, with_tracebacks, logger_of_headers):
    console.show_warnings(with_tracebacks=with_tracebacks)

    logger_of_headers.warning("Header format invalid! %s", "secret")

    assert capsys.readouterr().err == "otelflow: Header format invalid! (hidden)\n"


@pytest.mark.parametrize("with_tracebacks", [False, True])
def test_a_warning_is_a_line_of_ours_with_and_without_its_traceback(capsys, with_tracebacks, logger_of_headers):
    console.show_warnings(with_tracebacks=with_tracebacks)
    logger = logging.getLogger("otelflow")

    logger.warning("Attempt %d failed", 1)
    try:
        raise ValueError("x")
    except ValueError:
        logger.warning("A listener raised", exc_info=True)

    first, second, *others = capsys.readouterr().err.splitlines()
    assert (first, second) == ("otelflow: Attempt 1 failed", "otelflow: A listener raised: ValueError: x")
    assert others[-1:] == (["ValueError: x"] if with_tracebacks else [])


@pytest.fixture
def logger_of_headers(monkeypatch):
    monkeypatch.setenv(LINES_VARIABLE, "")  # which show_warnings() sets for the workers of a command
    names = ("opentelemetry.util.re", "otelflow", "otelflow_exporters", "opentelemetry.exporter")
    before = {name: (logging.getLogger(name).handlers[:], logging.getLogger(name).propagate) for name in names}
    yield logging.getLogger("opentelemetry.util.re")
    for name, (handlers, propagate) in before.items():
        logging.getLogger(name).handlers[:] = handlers
        logging.getLogger(name).propagate = propagate


def test_a_traceback_controls_no_terminal(capsys):
    try:
        raise ValueError("\x1b]0;title\x07red\u202e")
    except ValueError as error:
        console.print_traceback(error)

    assert capsys.readouterr().err.endswith("\nValueError: red\n")


def test_what_is_shown_on_a_page_has_no_secrets_and_nothing_to_obey():
    assert console.for_page("a\x1b]0;title\x07b\u202ec\n[d]  password=hunter2") == "abc [d]  password=[redacted]"


def test_no_line_of_an_exceptions_text_passes_for_another(capsys):
    error = ValueError("one\notelflow: flow shop: success\n\nTraceback (most recent call last):\nforged")
    error.add_note("\nThe above exception was the direct cause of the following exception:\n\notelflow: forged")
    syntax = SyntaxError("two\notelflow: forged", ("flows.py\notelflow: forged", 3, 1, "code\notelflow: forged"))
    try:
        raise syntax from error
    except SyntaxError as raised:
        console.print_traceback(raised)

    lines = [line for line in capsys.readouterr().err.splitlines() if line and not line.startswith(" ")]
    assert lines == [
        "ValueError: one",
        "The above exception was the direct cause of the following exception:",
        "Traceback (most recent call last):",
        "SyntaxError: two",
    ]
