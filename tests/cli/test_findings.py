"""What doctor and verify print of what they have found."""

from types import SimpleNamespace

import pytest

from otelflow._cli import _findings
from otelflow._cli.verify import Difference


class Stored:
    spans = (1, 2, 3)
    running = lost = ()
    traces = b""
    trace_id = "ab" * 16


@pytest.mark.parametrize("name", ["short", "line\n\x1b[31mnext\U000e0041" + "x" * 10_000])
def test_a_difference_is_one_line_that_ends_in_its_fault(monkeypatch, capsys, name):
    differences = [Difference("a" * 16, name, "was not recorded here")] * 30
    monkeypatch.setattr(_findings, "open_store", lambda: type("Store", (), {"load": lambda *_: Stored})())
    monkeypatch.setattr(_findings, "to_otlp_json", lambda _: {})
    monkeypatch.setattr(_findings, "verify", lambda *_, **__: differences)

    code = _findings.print_differences("ab", None, wait_seconds=0)

    first, *others, last = capsys.readouterr().err.splitlines()
    assert code == 1
    assert first.startswith(f"otelflow: span {'a' * 16} ({name[:4]}")
    assert first.endswith(") was not recorded here")
    assert len(first) < 200
    assert len(others) == 19
    assert last == f"otelflow: trace {Stored.trace_id}: 30 of 3 spans are not in Jaeger as recorded"


def test_a_trace_whose_process_is_gone_is_not_said_to_have_arrived_whole(monkeypatch, capsys):
    class Killed(Stored):
        lost = (SimpleNamespace(name="flow nightly"),)

    monkeypatch.setattr(_findings, "open_store", lambda: type("Store", (), {"load": lambda *_: Killed})())
    monkeypatch.setattr(_findings, "to_otlp_json", lambda _: {})
    monkeypatch.setattr(_findings, "verify", lambda *_, **__: [])

    code = _findings.print_differences("ab", "http://jaeger", wait_seconds=0)

    assert code == 0
    assert capsys.readouterr().err == (
        f"otelflow: trace {Stored.trace_id} is incomplete: the process of flow nightly is gone; what had ended before "
        f"arrived: 2 spans in http://jaeger/trace/{Stored.trace_id}\n"
    )
