"""``otelflow demo``: the flow in ``library.py``, with its progress in the terminal and its trace as a tree."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

import otelflow
from otelflow import Flow_Run__Event, semconv, settings
from otelflow._cli._console import is_terminal
from otelflow._cli.demo.library import read_library
from otelflow._cli.run import RunOptions, run


class _ProgressBar(otelflow.Listener):
    """Shows how far a flow is, by its progress artifact, and how many files failed."""

    def __init__(self) -> None:
        # A flow's own output is not to be redirected for the sake of a bar.
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("[red]{task.fields[failed]} failed"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._bar = self._progress.add_task("Reading the standard library", total=100, failed=0)
        self._failed = 0

    def __enter__(self) -> None:
        self._progress.start()
        otelflow.add_listener(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        otelflow.remove_listener(self)
        self._progress.stop()

    def on_artifact(self, event: Flow_Run__Event) -> None:
        """Move the bar to a new state of the progress."""
        artifact = event.event_data.data["artifact_data"]
        if artifact["type"] == "progress":
            self._progress.update(self._bar, completed=artifact["data"])

    def on_task_stop(self, event: Flow_Run__Event) -> None:
        """Count a file that could not be read."""
        if event.event_data.result == semconv.FAILURE and event.event_data.task_name == "read file":
            self._failed += 1
            self._progress.update(self._bar, failed=self._failed)


def run_demo(*, traceback: bool, strict_telemetry: bool) -> int:
    """Run the demo and return its exit code."""
    settings.check()
    progress = _ProgressBar() if is_terminal() else None
    options = RunOptions(tree=True, traceback=traceback, strict_telemetry=strict_telemetry)
    return run(read_library(), options, service_name="otelflow-demo", progress=progress)
