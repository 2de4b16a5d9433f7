"""A pytest plugin that runs chosen tests in a chosen order, or writes down which test runs which lines of the product.

A test that starts another process runs lines there that are not seen here; it is written down as such a test.
"""

import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

_STARTS_OF_PROCESSES = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec"}


class Order:
    """Runs the tests with these ids, in this order."""

    def __init__(self, ids: list[str]) -> None:
        self.places = {name: place for place, name in enumerate(ids)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted((i for i in items if i.nodeid in self.places), key=lambda i: self.places[i.nodeid])


class Recorder:
    """Writes to *output*: for each test its seconds and whether it starts processes; for each line its tests."""

    def __init__(self, root: Path, sources: list[str], output: Path) -> None:
        import coverage  # only needed to write down, and not installed everywhere

        self.root = root
        self.output = output
        self.coverage = coverage.Coverage(
            data_file=None, include=[str(root / source) for source in sources], config_file=False
        )
        self.seconds: dict[str, float] = {}
        self.with_processes: set[str] = set()
        self.test = ""
        sys.addaudithook(self.hear)
        self.coverage.start()  # before anything of the product is imported

    def hear(self, event: str, _arguments: tuple[object, ...]) -> None:
        if event in _STARTS_OF_PROCESSES and self.test:
            self.with_processes.add(self.test)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.test = item.nodeid
        self.coverage.switch_context(item.nodeid)
        try:
            return (yield)
        finally:
            self.coverage.switch_context("")
            self.test = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration

    def pytest_sessionfinish(self) -> None:
        self.coverage.stop()
        with warnings.catch_warnings():  # that nothing was run in this process: all tests of a room may start others
            warnings.simplefilter("ignore")
            data = self.coverage.get_data()
        lines = {
            str(Path(path).relative_to(self.root)): data.contexts_by_lineno(path) for path in data.measured_files()
        }
        record = {"seconds": self.seconds, "with_processes": sorted(self.with_processes), "lines": lines}
        self.output.write_text(json.dumps(record))
