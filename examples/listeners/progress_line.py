"""Show one line on the terminal that follows what a flow does: its task, its progress, its end.

python progress_line.py
"""

import sys

from otelflow import Listener, add_listener, flow, remove_listener, task


class ProgressLine(Listener):
    """Redraws a line on stderr, so that stdout stays the program's; without a terminal, one line for each change."""

    def __init__(self, stream=None):
        self.stream = stream if stream is not None else sys.stderr
        self.done = self.failed = 0

    def on_task_start(self, event):
        self._show(event.event_data.task_name)

    def on_task_stop(self, event):
        self.done += 1
        self.failed += event.event_data.result in ("failure", "timeout", "error")

    def on_artifact(self, event):
        artifact = event.event_data.data["artifact_data"]
        if artifact["type"] == "progress":
            self._show(f"{event.event_data.task_name} {artifact['data']:.0f} %")

    def on_flow_stop(self, event):
        self._show(f"{event.event_data.flow_name}: {event.event_data.result} in {event.event_data.duration:.1f} s")
        if self.stream.isatty():
            self.stream.write("\n")

    def _show(self, text):
        line = f"[{self.done} done, {self.failed} failed] {text}"
        self.stream.write(f"\r\x1b[K{line}" if self.stream.isatty() else f"{line}\n")
        self.stream.flush()


@task
def download(this_task=None):
    progress = this_task.add_task_artifact("how far it is", "download", 0, "progress")
    for percent in (25, 50, 75, 100):
        progress.update(percent)


@task(raise_on_error=False)
def check():
    raise ValueError("checksum differs")


@flow
def fetch():
    download()
    check()


if __name__ == "__main__":
    line = ProgressLine()
    add_listener(line)
    fetch().execute()
    remove_listener(line)
