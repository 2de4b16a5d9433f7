"""The example listeners, each run alone, as a reader would."""

import csv
import json
from pathlib import Path

import pytest

from support.programs import run_python
from support.receivers import Receiver

EXAMPLES = Path(__file__).parents[2] / "examples" / "listeners"


@pytest.fixture
def run(tmp_path, monkeypatch):
    for name in ("CHAT_WEBHOOK", "OTELFLOW_EVENTS"):
        monkeypatch.delenv(name, raising=False)

    def run_example(name, *arguments):
        return run_python("-W", "error", EXAMPLES / name, *arguments, check=True, cwd=tmp_path)

    return run_example


@pytest.fixture
def webhook():
    with Receiver() as receiver:
        yield receiver


def test_the_chat_notifier_posts_each_failed_flow_once_and_no_secret(run, webhook, monkeypatch):
    monkeypatch.setenv("CHAT_WEBHOOK", webhook.url)

    done = run("chat_notifier.py")

    assert done.stdout == "orders failed; the chat knows\n"
    (message,) = [json.loads(request.body) for request in webhook.requests]
    assert message["text"].startswith("nightly failure after 0.0 s: no route to the database of orders, password=[red")


def test_the_chat_notifier_shows_itself_without_a_webhook_and_survives_one_that_is_gone(run, monkeypatch):
    alone = run("chat_notifier.py")
    monkeypatch.setenv("CHAT_WEBHOOK", "http://127.0.0.1:9/")
    gone = run("chat_notifier.py")

    assert "chat: nightly failure" in alone.stdout
    assert gone.stdout == "orders failed; the chat knows\n"


def test_the_csv_ledger_has_a_line_for_each_run_and_goes_on_where_it_was(run, tmp_path):
    for _ in range(2):
        run("csv_ledger.py", "runs.csv")

    with (tmp_path / "runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["kind"], row["name"], row["result"]) for row in rows] == [
        ("task", "divide", "success"),
        ("task", "divide", "failure"),
        ("flow", "calculate", "success"),
    ] * 2
    assert rows[1]["error"] == "division by zero"
    assert all(float(row["seconds"]) >= 0 for row in rows)
    traces = [row["trace_id"] for row in rows]
    assert all(len(trace) == 32 and int(trace, 16) for trace in traces)
    assert (len(set(traces[:3])), len(set(traces))) == (1, 2)


def test_the_progress_line_follows_the_flow_on_stderr(run):
    done = run("progress_line.py")

    lines = done.stderr.splitlines()
    assert lines[:3] == [
        "[0 done, 0 failed] download",
        "[0 done, 0 failed] download 0 %",
        "[0 done, 0 failed] download 25 %",
    ]
    assert lines[-1].startswith("[2 done, 1 failed] fetch: success in 0.")
    assert done.stdout == ""
