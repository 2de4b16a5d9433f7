"""The demo's flow: read every file of the installed Python's standard library.

Run it like any other flow: ``otelflow run otelflow._cli.demo.library:read_library --param limit=100``.
"""

import io
import symtable
import sysconfig
import tokenize
import warnings
from collections import Counter
from pathlib import Path
from typing import Any, Final, NamedTuple

from otelflow import INJECTED, Flow, flow, task

SAMPLES: Final = Path(__file__).parent / "samples"
_FOREIGN: Final = frozenset({"site-packages", "dist-packages", "__pycache__"})
_LARGEST: Final = 10
_EXPRESSIONS: Final = frozenset({"lambda", "genexpr", "listcomp", "setcomp", "dictcomp"})


class Counts(NamedTuple):
    """What one file holds."""

    package: str
    lines: int
    functions: int
    classes: int


@flow(flow_name="read the standard library")
def read_library(limit: int | None = None, this_flow: Flow[Any] = INJECTED) -> dict[str, int]:
    """Count lines, functions and classes of at most *limit* files, and of the samples that do not parse."""
    root = Path(sysconfig.get_path("stdlib"))
    files = [*sorted(SAMPLES.glob("*.txt")), *find_files(root)[:limit]]
    this_flow.log_info(f"{len(files):,} files in {root}")
    progress = this_flow.add_flow_artifact(key="files-read", artifact_type="progress", data=0)
    counts_of_files: list[Counts] = []
    for number, file in enumerate(files, start=1):
        counts = read_file(file, root)
        if counts is not None:
            counts_of_files.append(counts)
        if number * 100 // len(files) != (number - 1) * 100 // len(files):
            progress.update(number * 100 // len(files))
    if len(counts_of_files) < len(files):
        this_flow.log_warning(
            f"{len(files) - len(counts_of_files)} files could not be read; the flow goes on without them"
        )
    return summarise(counts_of_files, this_flow)


@task(task_name="find files")
def find_files(root: Path) -> list[Path]:
    """Return every Python file below *root*, without what was installed there later."""
    return sorted(path for path in root.rglob("*.py") if not _FOREIGN.intersection(path.parts))


@task(task_name="read file", raise_on_error=False, capture_parameters=["path"])
def read_file(path: Path, root: Path) -> Counts:
    """Return the counts of one file; one that does not parse fails, and the flow goes on."""
    content = path.read_bytes()
    try:
        text = decode(content, "utf-8-sig")  # a file may begin with a byte order mark
    except UnicodeDecodeError:
        text = decode(content, named_encoding(content))
    kinds = parse(text, path.name)
    package = path.relative_to(root).parts[0] if path.is_relative_to(root) else "samples"
    return Counts(
        package.removesuffix(".py"),
        text.count("\n") + 1,
        kinds["function"],
        kinds["class"],
    )


@task
def decode(content: bytes, encoding: str) -> str:
    """Return *content* as text."""
    return content.decode(encoding)


def named_encoding(content: bytes) -> str:
    """Return the encoding that the first lines name."""
    return tokenize.detect_encoding(io.BytesIO(content).readline)[0]


def parse(text: str, name: str) -> Counter[str]:
    """Return how many functions and classes stand at the top of a file and of its classes.

    The symbol table takes half the time of a syntax tree, and refuses what Python would not run.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what old code is warned of is not our subject
        top = symtable.symtable(text, name, "exec").get_children()
    inner = [child for table in top if table.get_type() == "class" for child in table.get_children()]
    return Counter(str(table.get_type()) for table in [*top, *inner] if table.get_name() not in _EXPRESSIONS)


@task
def summarise(files: list[Counts], this_flow: Flow[Any]) -> dict[str, int]:
    """Leave a table of the largest packages, and return the totals."""
    packages: dict[str, Counter[str]] = {}
    for counts in files:
        packages.setdefault(counts.package, Counter()).update(
            files=1, lines=counts.lines, functions=counts.functions, classes=counts.classes
        )
    largest = sorted(packages.items(), key=lambda item: -item[1]["lines"])[:_LARGEST]
    rows = [{"package": name, **counted} for name, counted in largest]
    this_flow.add_flow_artifact(f"The {len(rows)} largest packages", "largest-packages", rows, "table")
    total: Counter[str] = Counter()
    for counted in packages.values():
        total.update(counted)
    return dict(total)
