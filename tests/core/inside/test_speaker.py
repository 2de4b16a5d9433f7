"""What flows and tasks log with."""

import logging

import pytest

from otelflow._core.inside.speaker import Speaker


class Noted(Speaker):
    def __init__(self):
        self.calls = []

    def _write_message(self, level, message, task_run_id):
        self.calls.append((level, message, task_run_id))


@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARNING", "ERROR"])
def test_each_level_has_a_method(level):
    noted, message = Noted(), object()
    log = getattr(noted, f"log_{level.lower()}")
    log(message)
    log(message, task_run_id="7")

    assert noted.calls == [(getattr(logging, level), message, None), (getattr(logging, level), message, "7")]


def test_whoever_speaks_says_where_it_goes():
    with pytest.raises(NotImplementedError):
        Speaker().log_info("nowhere")
