"""The pages of README and docs/: their blocks of code, run as a reader would run them, and the parts that are made.

A block of ``python`` with a title is a file of that name; those without one are one program, from top to bottom, but
for those with a mark (``<!-- cell -->``), which have a test of their own. A ``console`` block is a session: what
follows ``$`` is typed, the rest is what it prints; one with the mark ``<!-- jaeger -->`` needs a Jaeger.
``<!-- made: NAME -->`` begins a part that is made of the product's own tables, and ``<!-- end -->`` ends it.
"""

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import weakref
from pathlib import Path
from typing import NamedTuple

from support.programs import clean_environment

ROOT = Path(__file__).parents[2]
WIDTH = 88
PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in (
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / folder / "README.md" for folder in ("deploy", "examples")),
    )
)

_BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>[\w ]+) -->\n)?```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_PART = re.compile(r"<!-- made: ([\w -]+) -->\n.*?<!-- end -->", re.DOTALL)
_END_OF_COMMAND = "\x1e"
# What differs from one run to the next, and between machines
_CHANGES = re.compile(
    r"\b[0-9a-f]{32}\b"
    r"|(?:\b|(?<=_id__))[0-9a-f]{16}\b"
    r"|\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d+)?Z?"
    r"|\b\d\d:\d\d:\d\d(?:[.,]\d+)?\b"
    r"|(?<![\w.])\+?\d+(?:\.\d+)? ?(?:ns|µs|ms|s)\b"
    r"|(?<=\d)  +\d+\.\d\d(?=  )"
    r"|\([\d.]+ (?:bytes|kB|MB)\)"
    r"|[━╸─]|[~^]{2,}"
)


class Block(NamedTuple):
    page: str
    line: int
    language: str
    title: str
    mark: str
    text: str
    start: int
    end: int

    def __str__(self):
        return f"{self.page}:{self.line}"


def blocks_of(page, language=None):
    """Return the blocks of a *page* (a path below the checkout), of one *language* or of all."""
    source = (ROOT / page).read_text(encoding="utf-8")
    blocks = [
        Block(
            page,
            source.count("\n", 0, match.start("text")),
            match["language"],
            match["title"] or "",
            match["mark"] or "",
            match["text"],
            match.start("text"),
            match.end("text"),
        )
        for match in _BLOCK.finditer(source)
    ]
    return [block for block in blocks if language in (None, block.language)]


def commands_of(block):
    """Return what a console block types, and what each prints, as (command, output)."""
    commands = []
    for line in block.text.splitlines(keepends=True):
        if line.startswith("$ "):
            commands.append([line.removeprefix("$ ").rstrip("\n"), ""])
        else:
            commands[-1][1] += line
    return [tuple(command) for command in commands]


def without_changes(output):
    """Return the lines of *output* without ids, times, bars and the spaces beside them."""
    lines = [" ".join(_CHANGES.sub(" ", line).split()) for line in output.splitlines()]
    return [line for line in lines if line]


def missing_modules(blocks):
    """Return the packages that programs of *blocks* import and that are not installed."""
    own = {Path(block.title).parts[0].removesuffix(".py") for block in blocks if block.title}
    names = set()
    for block in blocks:
        for node in ast.walk(ast.parse(block.text)) if block.language == "python" and not block.mark else ():
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
    return sorted(name for name in names - own if importlib.util.find_spec(name) is None)


class Workplace:
    """A reader's machine: an empty home, and the files of one page in the folder ``shop`` there.

    *addresses* say where the servers really are whose addresses the page names.
    """

    def __init__(self, page, addresses=None):
        self.page = page
        self.addresses = addresses or {}
        self.blocks = blocks_of(page)
        # As short as a reader's own, and always of one length: what is drawn depends on how long a path is.
        self.home = Path(tempfile.mkdtemp(prefix="me", dir="/tmp" if Path("/tmp").is_dir() else None))
        self.remove = weakref.finalize(self, shutil.rmtree, self.home, ignore_errors=True)
        self.folder = self.home / "shop"
        self.folder.mkdir()
        for block in self.blocks:
            if block.title:
                path = self.folder / block.title
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.text, encoding="utf-8")

    @property
    def environment(self):
        scripts = sysconfig.get_path("scripts")
        return clean_environment(
            HOME=self.home,
            XDG_DATA_HOME=self.home / ".local/share",
            XDG_STATE_HOME=self.home / ".local/state",
            PATH=f"{scripts}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            COLUMNS=WIDTH,
            PYTHONUNBUFFERED=1,
            PYTHONDONTWRITEBYTECODE=1,
            PYTHONWARNINGS="error::RuntimeWarning",
            NO_COLOR=1,
            TZ="UTC",
        )

    def run(self, *command, timeout=300):
        """Run *command* in the folder; return the exit code and all that it prints, with the reader's own paths."""
        done = subprocess.run(
            [str(word) for word in command],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            timeout=timeout,
            check=False,
        )
        # Where the environment lies in the checkout, `otelflow config` names the checkout's project, too.
        output = re.sub(rf"^{re.escape(str(ROOT))}/pyproject\.toml: .*\n\n?", "", done.stdout, flags=re.MULTILINE)
        return done.returncode, output.replace(str(self.home), "/home/me")

    def run_programs(self):
        """Run the program that the page's blocks without a title are, and the files that nothing else runs."""
        plain = (block for block in self.blocks if block.language == "python" and not (block.title or block.mark))
        program = "\n".join(block.text for block in plain)
        files = [block.title for block in self.blocks if block.language == "python" and self.is_left(block)]
        if program.strip():
            (self.folder / "page.py").write_text(program, encoding="utf-8")
            files.append("page.py")
        return {file: self.run(sys.executable, file) for file in files}

    def is_left(self, block):
        """Tell whether a file is run by no command of the page and imported by no other file."""
        name = block.title.removesuffix(".py").replace("/", ".")
        others = "\n".join(other.text for other in self.blocks if other is not block)
        is_imported = re.search(rf"^(?:from|import) {re.escape(name)}\b", others, re.MULTILINE)
        return bool(block.title) and not is_imported and not self.is_named(block)

    def is_named(self, block):
        return any(
            block.title in command or re.search(rf"\b{Path(block.title).stem}\b", command)
            for other in self.blocks
            if other.language in ("console", "sh")
            for command in other.text.splitlines()
            if other.language == "sh" or command.startswith("$ ")
        )

    def run_session(self, block):
        """Type the commands of a console *block* into one shell; return (command, output, exit code) of each."""
        commands = [command for command, _ in commands_of(block)]
        script = "".join(f"{command}\nprintf '{_END_OF_COMMAND}%s\\n' $?\n" for command in commands)
        for shown, real in self.addresses.items():
            script = script.replace(shown, real)
        code, output = self.run("bash", "-c", script)
        for shown, real in self.addresses.items():
            output = output.replace(real, shown)
        parts = re.split(rf"{_END_OF_COMMAND}(\d+)\n", output)
        assert len(parts) == 2 * len(commands) + 1, f"{block}: the session ended early ({code}): {output}"
        return list(zip(commands, parts[::2], map(int, parts[1::2]), strict=False))


def sessions_of(place, mark=""):
    """Return what the commands of each console block with that *mark* print."""
    blocks = [block for block in place.blocks if block.language == "console" and block.mark == mark]
    return {block: place.run_session(block) for block in blocks}


def with_sessions(source, sessions, *, with_all=False):
    """Return the *source* of a page with what *sessions* print, where that is another thing; or everywhere."""
    for block, outcomes in reversed(sessions.items()):
        text = session(outcomes)
        if with_all or without_changes(text) != without_changes(block.text):
            source = source[: block.start] + text + source[block.end :]
    return source


def session(outcomes):
    """Return the text of a console block with what its commands printed."""
    return "".join(
        f"$ {command}\n" + "".join(f"{line.rstrip()}\n" for line in output.splitlines())
        for command, output, _ in outcomes
    )


def with_parts(source, parts):
    """Return *source* with its made parts as *parts*, functions by name, make them."""
    return _PART.sub(lambda match: f"<!-- made: {match[1]} -->\n\n{parts[match[1]]()}\n<!-- end -->", source)


def parts_of(source):
    return [match[1] for match in _PART.finditer(source)]
