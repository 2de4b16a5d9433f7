"""Keep a ledger of every run in a CSV file: when, what, how it ended, how long it took, and in which trace.

python csv_ledger.py [ledger.csv]
"""

import csv
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

from otelflow import Listener, add_listener, configure, flow, remove_listener, task

COLUMNS = ("ended", "kind", "name", "run_id", "result", "seconds", "error", "trace_id")


class CsvLedger(Listener):
    """Adds one line for each run that ends; runs of several threads do not mix their lines."""

    def __init__(self, path):
        self.path = Path(path)
        self._lock = threading.Lock()
        if not self.path.exists():
            self._add(COLUMNS)

    def on_flow_stop(self, event):
        self._add(row("flow", event.event_data.flow_name, event.event_data.flow_run_id, event))

    def on_task_stop(self, event):
        self._add(row("task", event.event_data.task_name, event.event_data.task_run_id, event))

    def _add(self, values):
        with self._lock, self.path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(values)


def row(kind, name, run_id, event):
    data = event.event_data
    ended = datetime.fromtimestamp(event.time_unix_nano / 1e9, UTC).isoformat(timespec="milliseconds")
    trace = f"{data.span_context.trace_id:032x}" if data.span_context is not None else ""
    return ended, kind, name, run_id, data.result, f"{data.duration:.6f}", data.error_message or "", trace


@task(raise_on_error=False)
def divide(a, b):
    return a / b


@flow
def calculate():
    divide(1, 2)
    divide(1, 0)


def main(path):
    configure(service_name="ledger")  # without it there are no traces, and the last column stays empty
    ledger = CsvLedger(path)
    add_listener(ledger)
    calculate().execute()
    remove_listener(ledger)
    print(ledger.path.read_text(encoding="utf-8"), end="")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "ledger.csv")
