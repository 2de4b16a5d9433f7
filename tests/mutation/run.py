"""Put small faults into the product, one at a time, and see whether the tests nearby fail.

``python tests/mutation/run.py``

Everything by default, which takes hours; paths narrow it, ``--since COMMIT`` takes the files that were changed since
then, their changed lines first, and ``--seconds`` ends it in time. A fault that no test notices is a survivor: write
the test that does, or, if nothing that anybody could see depends on it, its name and the reason into equivalent.txt.
``--again FILE`` tries once more those that FILE names, such as the output of a run before.

Why no library does it: mutmut puts all faults of a function side by side into the module, behind a function that
chooses one, and otelflow looks at signatures, frames and sources of functions, also in programs that tests start;
cosmic-ray starts Python anew for each fault, has one test command for all modules, and never leaves a statement out,
which is what a forgotten step looks like.
"""

import argparse
import functools
import json
import math
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import recording
from collected import BROKEN, Server, in_child, is_in_functions
from mutants import Mutant, mutants_of

ROOT = Path(__file__).resolve().parents[2]
EQUIVALENT = Path(__file__).parent / "equivalent.txt"
SOURCES = {"otelflow": "", "exporters/otelflow_exporters": "exporters"}  # and where their tests lie, below tests/
LEFT_OUT = ("otelflow/_version.py", "otelflow/__main__.py", "otelflow/_cli/__main__.py", "otelflow/_cli/demo/samples")

# Loaded once, before the first fault: each run of tests is a fork of this process. Nothing of ours is among them.
HEAVY = ("pytest", "hypothesis", "opentelemetry.sdk.trace.export", "opentelemetry.sdk._logs", "prometheus_client")

# A score of fewer faults says nothing: with 20 of 40 noticed by chance more or less, one test changes the picture.
SMALLEST_SAMPLE = 30
CERTAINTY = 1.96  # standard deviations: one false alarm in forty runs at most


@dataclass
class Tests:
    """What the tests near one module are, and which of them run which line of it."""

    own: str | None
    files: list[str]
    seconds: dict[str, float] = field(default_factory=dict)
    with_processes: set[str] = field(default_factory=set)
    lines: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    def at_line(self, mutant: Mutant) -> list[str]:
        """Return the tests that run the line of *mutant* in their own process."""
        return self.lines.get(mutant.path, {}).get(str(mutant.line), [])

    def of(self, mutant: Mutant, *, is_run_at_import: bool) -> list[str]:
        """Return the tests that can notice *mutant*, those of its own file before the others, quick ones first."""
        at_line = self.at_line(mutant)
        tests = set(self.seconds) if is_run_at_import else {*at_line, *self.with_processes}
        near = {name for name in tests if self.own and name.startswith(f"{self.own}::")}
        return sorted(tests, key=lambda name: (name not in at_line, name not in near, self.seconds[name]))


def main(arguments: Sequence[str] | None = None) -> int:
    options = parsed(arguments)
    began = time.monotonic()
    paths, changed = chosen_paths(options)
    equivalents = read_equivalents(EQUIVALENT.read_text())
    mutants = [mutant for path in paths for mutant in mutants_of(path, (ROOT / path).read_bytes())]
    tried = [mutant for mutant in mutants if mutant.name not in equivalents]
    if options.again:
        names = {line.strip() for line in Path(options.again).read_text().splitlines()}
        tried = [mutant for mutant in tried if mutant.name in names]
    print(f"{len(mutants)} faults in {len(paths)} files, {len(mutants) - len(tried)} of them equivalent")
    if options.list:
        print("\n".join(mutant.name for mutant in mutants))
        return 0
    if not tried:
        return 0
    if options.seconds:  # a sample: what was changed first, then by chance, the same chance for the same files
        random.Random(str(paths)).shuffle(tried)
        tried.sort(key=lambda mutant: mutant.line not in changed.get(mutant.path, ()))
    for name in HEAVY:
        __import__(name)
    end = began + options.seconds if options.seconds else math.inf
    with tempfile.TemporaryDirectory(prefix="otelflow-mutation-") as folder:
        outcomes = Trial(Path(folder).resolve()).outcomes(tried, end)
        results = list(told(outcomes, verbose=options.verbose))
    return report(results, len(tried), options.threshold, equivalents, mutants)


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("paths", nargs="*", help="files and folders of the product (all)")
    parser.add_argument("--since", metavar="COMMIT", help="only files that were changed since COMMIT")
    parser.add_argument("--seconds", type=float, default=0, help="end after so many seconds, with a sample (no limit)")
    parser.add_argument("--threshold", type=float, default=90, help="percent that must be noticed (90)")
    parser.add_argument("--list", action="store_true", help="only name the faults")
    parser.add_argument("--again", metavar="FILE", help="only faults that FILE names, such as what was printed before")
    parser.add_argument("--verbose", action="store_true", help="tell of each fault as it is tried")
    return parser.parse_args(arguments)


def chosen_paths(options: argparse.Namespace) -> tuple[list[str], dict[str, set[int]]]:
    """Return the files to put faults into, and of each file that was changed the numbers of its changed lines."""
    changed = changed_lines(options.since) if options.since else {}
    folders = [Path(path).resolve() for path in options.paths] or [ROOT / source for source in SOURCES]
    files = [file for folder in folders for file in ([folder] if folder.is_file() else sorted(folder.rglob("*.py")))]
    paths = [file.relative_to(ROOT).as_posix() for file in files]
    return [
        path
        for path in dict.fromkeys(paths)
        if not path.startswith(LEFT_OUT) and (options.since is None or path in changed)
    ], changed


def changed_lines(commit: str) -> dict[str, set[int]]:
    """Return the lines of each file that differ from *commit*, or from where this branch left it."""
    git = ("git", "-C", str(ROOT))
    base = subprocess.run([*git, "merge-base", commit, "HEAD"], capture_output=True, text=True, check=True).stdout
    command = [*git, "diff", "--unified=0", "--no-color", "--no-ext-diff", base.strip(), "--", *SOURCES]
    lines: dict[str, set[int]] = {}
    path = ""
    for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines():
        if line.startswith("+++ b/") and line.endswith(".py"):
            path = line.removeprefix("+++ b/")
            lines[path] = set()
        elif line.startswith("+++ "):
            path = ""
        elif path and (hunk := re.match(r"@@ -\S+ \+(\d+)(?:,(\d+))? @@", line)):
            first, count = int(hunk[1]), int(hunk[2] or 1)
            lines[path].update(range(first, first + count))
    command = [*git, "ls-files", "--others", "--exclude-standard", "--", *SOURCES]
    for path in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines():
        if path.endswith(".py"):
            lines[path] = set(range(1, 100_000))
    return lines


def read_equivalents(text: str) -> dict[str, str]:
    """Return the reason of each equivalent: a name on a line, the reason below it, indented."""
    reasons: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        if line.startswith(" "):
            reasons[name] = f"{reasons[name]} {line.strip()}".strip()
        else:
            name = line.strip()
            reasons[name] = ""
    return reasons


def tests_near(path: str, root: Path) -> Tests:
    """Return the tests at the same path below tests/ of *root*: the file of the module, and all of its folder."""
    source = next(source for source in SOURCES if path.startswith(f"{source}/"))
    *folders, module = (part.lstrip("_") for part in Path(path).relative_to(source).with_suffix("").parts)
    room = Path("tests", SOURCES[source], *folders)
    if module == "init__":
        module = room.name if folders else Path(source).name
    own = room / f"test_{module}.py"
    files = sorted(file.relative_to(root).as_posix() for file in (root / room).glob("test_*.py"))
    return Tests(own.as_posix() if (root / own).exists() else None, files)


class Trial:
    """A copy of the checkout, in which faults are put and tests are run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.copy = folder / "checkout"
        self.output = folder / "output.txt"
        ignored = shutil.ignore_patterns(".git", "__pycache__", ".*_cache", "*.pyc")
        shutil.copytree(ROOT, self.copy, ignore=ignored, symlinks=True)
        self.rooms: dict[tuple[str, ...], Tests] = {}
        self.servers: dict[tuple[str, ...], Collected] = {}

    def outcomes(self, mutants: list[Mutant], end: float) -> Iterator[tuple[Mutant, str]]:
        """Try one fault after the other until *end*, a point in monotonic time; yield how each came out."""
        paths = {mutant.path for mutant in mutants}
        for mutant in mutants:
            if time.monotonic() > end:
                return
            tests = self.measured(tests_near(mutant.path, self.copy), paths)
            if tests is None:
                yield mutant, "tests fail without it"
            else:
                yield mutant, self.outcome(mutant, tests, end)

    def measured(self, near: Tests, paths: set[str]) -> Tests | None:
        """Return the tests *near* a module with what they run, or None if they fail as it is."""
        key = tuple(near.files)
        if key not in self.rooms:
            output = self.folder / "record.json"
            output.unlink(missing_ok=True)
            plugin = recording.Recorder(self.copy, sorted(paths), output)
            code = self.in_child(functools.partial(self.pytest, near.files, plugin, writes_bytecode=True), 900)
            if code == 0:
                record = json.loads(output.read_text())
            else:
                record = {"seconds": {}, "with_processes": [], "lines": {}}
                print(f"The tests in {Path(near.files[0]).parent} fail as they are:")
                print("\n".join(self.output.read_text(errors="replace").splitlines()[-30:]), flush=True)
            room = Tests(None, near.files, record["seconds"], set(record["with_processes"]), record["lines"])
            self.rooms[key] = room
        room = self.rooms[key]
        return Tests(near.own, near.files, room.seconds, room.with_processes, room.lines) if room.seconds else None

    def outcome(self, mutant: Mutant, tests: Tests, end: float) -> str:
        """Run the tests that can notice *mutant* with it in its place."""
        path = self.copy / mutant.path
        source = path.read_bytes()
        faulty = mutant.applied(source)
        at_line = tests.at_line(mutant)
        is_late = "" not in at_line and is_in_functions(source.decode(), faulty.decode())
        # Of what was imported before the first test, no line was seen
        ids = tests.of(mutant, is_run_at_import="" in at_line or not (at_line or is_late))
        if not ids:
            return "survived: no test runs it"
        for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
            compiled.unlink()  # it has the size and the second of the file with a fault in it, now and then
        server = self.server(tests.files) if is_late else None
        path.write_bytes(faulty)  # also for the programs that tests start
        try:
            limit, left = 10 + 4 * sum(tests.seconds[name] for name in ids), end - time.monotonic()
            seconds = max(1.0, min(limit, left))
            if server is not None:
                code = server.run({name: tests.seconds[name] for name in ids}, str(path), faulty.decode(), seconds)
            else:
                code = self.in_child(functools.partial(self.pytest, ids, recording.Order(ids)), seconds)
        finally:
            path.write_bytes(source)
        if code is None:
            return "unfinished" if left < limit else "killed: no end"
        if code == BROKEN:
            raise RuntimeError(self.output.read_text(errors="replace")[-10_000:])
        return "killed" if code else "survived"

    def server(self, files: list[str]) -> "Collected":
        """Return the process that has collected the tests in *files*."""
        if tuple(files) not in self.servers:
            self.servers[tuple(files)] = Collected(self, files)
        return self.servers[tuple(files)]

    def in_child(self, action: Callable[[], int], seconds: float) -> int | None:
        """Run *action* in a fork of this process, its output in a file."""

        def quiet() -> int:
            self.redirect()
            return action()

        return in_child(quiet, seconds)

    def redirect(self) -> None:
        """Let this process, a child, write into a file."""
        output = os.open(self.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)

    def pytest(self, tests: list[str], plugin: object, *, writes_bytecode: bool = False) -> int:
        """Run *tests*, in a child: files, or the ids of tests."""
        import pytest

        os.chdir(self.copy)
        places = [str(self.copy), str(self.copy / "exporters")]
        sys.path[:0] = places
        os.environ["PYTHONPATH"] = os.pathsep.join(places)
        if not writes_bytecode:
            sys.dont_write_bytecode = True
            os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        files = list(dict.fromkeys(name.partition("::")[0] for name in tests))
        temporary = f"--basetemp={self.folder / 'temporary'}"
        options = ["-q", "-x", "--no-header", "-p", "no:cacheprovider", "-m", "not slow and not stack"]
        # Without the plugins of other packages, which take longer to load than most tests take to run
        options += ["--disable-plugin-autoload", "-p", "pytest_timeout", "-p", "otelflow.pytest_plugin"]
        return int(pytest.main([*options, "--tb=short", "--timeout=60", temporary, *files], plugins=[plugin]))


class Collected:
    """A process that has collected the tests of one folder; it ends when this one does."""

    def __init__(self, trial: Trial, files: list[str]) -> None:
        requests, self.requests = os.pipe()
        self.answers, answers = os.pipe()
        if not os.fork():
            try:
                os.close(self.requests)
                os.close(self.answers)
                trial.redirect()
                trial.pytest(files, Server(requests, answers))
            finally:
                os._exit(0)
        os.close(requests)
        os.close(answers)

    def run(self, tests: dict[str, float], path: str, source: str, seconds: float) -> int | None:
        """Run *tests* (and their seconds) with *source* as that of the file at *path*, as ``in_child`` does."""
        request = {"tests": tests, "path": path, "source": source, "seconds": seconds}
        os.write(self.requests, json.dumps(request).encode() + b"\n")
        answer = os.read(self.answers, 100)
        return json.loads(answer) if answer else BROKEN


def told(outcomes: Iterator[tuple[Mutant, str]], *, verbose: bool) -> Iterator[tuple[Mutant, str]]:
    """Print each survivor, or each outcome, as it comes."""
    for mutant, outcome in outcomes:
        if verbose or not outcome.startswith(("killed", "tests fail")):
            print(f"{outcome}: {mutant.path}:{mutant.line}\n    {mutant.name}", flush=True)
        yield mutant, outcome


def report(
    results: list[tuple[Mutant, str]],
    number: int,
    threshold: float,
    equivalents: dict[str, str],
    mutants: list[Mutant],
) -> int:
    """Print a table, say whether the score is high enough, and return the exit code."""
    counts: dict[str, Counter[str]] = {}
    for mutant, outcome in results:
        counts.setdefault(mutant.path, Counter())[outcome.partition(":")[0]] += 1
    same = Counter(mutant.path for mutant in mutants if mutant.name in equivalents)
    print(f"\n{'module':58} {'killed':>7} {'survived':>9} {'equivalent':>11}")
    for path, count in sorted(counts.items()):
        print(f"{path:58} {count['killed']:7} {count['survived']:9} {same[path]:11}")
    killed = sum(count["killed"] for count in counts.values())
    tried = killed + sum(count["survived"] for count in counts.values())
    failing = sorted(path for path, count in counts.items() if count["tests fail without it"])
    if failing:
        print(f"The tests near these fail without any fault: {', '.join(failing)}")
        return 1
    if not tried:
        print("No fault was tried.")
        return 0
    highest = 100 * upper_bound(killed, tried)
    print(f"{killed} of {tried} noticed ({100 * killed / tried:.1f} %), {number - tried} of {number} not tried")
    if tried < SMALLEST_SAMPLE:
        print(f"Fewer than {SMALLEST_SAMPLE}: no judgement.")
        return 0
    if (100 * killed / tried if tried == number else highest) >= threshold:
        return 0
    print(f"Less than {threshold:g} %: write tests that notice, or argue in {EQUIVALENT.relative_to(ROOT)}")
    return 1


def upper_bound(killed: int, tried: int) -> float:
    """Return the highest share of all faults that *killed* of *tried* still fits (Wilson's interval).

    A sample fails only when its bad score cannot be an accident of what was in it.
    """
    share, square = killed / tried, CERTAINTY**2
    middle = share + square / (2 * tried)
    width = CERTAINTY * math.sqrt(share * (1 - share) / tried + square / (4 * tried**2))
    return (middle + width) / (1 + square / tried)


if __name__ == "__main__":
    sys.exit(main())
