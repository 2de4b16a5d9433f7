"""What a command line starts, and where that finds its modules."""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

_PYTHONS: Final = ("python", "pypy")
#: Options of Python's, of which the rest of the word, or else the next one, is the value
_WITH_VALUE: Final = "mcWX"


class Program(NamedTuple):
    """What Python runs: the *module* of ``-m``, or the file *script*; neither, if it is told a text, or nothing."""

    module: str = ""
    script: str = ""


def program_of(command: Sequence[str]) -> Program | None:
    """Return what *command* has Python run, or None where it starts something else."""
    if not command or not Path(command[0]).name.startswith(_PYTHONS):
        return None
    words = iter(command[1:])
    for word in words:
        if not word.startswith("-"):
            return Program(script=word)
        if word == "-":  # what it is told
            break
        if word == "--check-hash-based-pycs":
            next(words, "")
        if word.startswith("--"):
            continue
        place = next((place for place, letter in enumerate(word) if letter in _WITH_VALUE), None)
        if place is not None:
            value = word[place + 1 :] or next(words, "")
            if word[place] in "mc":
                return Program(module=value if word[place] == "m" else "")
    return Program()


@contextlib.contextmanager
def seen_from(command: Sequence[str]) -> Iterator[None]:
    """Inside, modules are looked for where *command* will find them: beside its program, here, in what it names."""
    before = list(sys.path)
    program = program_of(command)
    folders = [] if program is None or not program.script else _folders(program.script, is_program=True)
    folders.append(str(Path.cwd()))
    for word in command:  # `--app-dir src`, `--chdir=src`, `PYTHONPATH=src`, `coverage run src/main.py`
        folders += _folders(word.rpartition("=")[2])
    sys.path[:0] = dict.fromkeys(folders)
    try:
        yield
    finally:
        sys.path[:] = before


def _folders(word: str, *, is_program: bool = False) -> list[str]:
    import zipfile  # noqa: PLC0415 some milliseconds for each child of a program

    is_file = os.path.isfile(word)  # noqa: PTH113 a text may be longer than a path can be
    if os.path.isdir(word) or (is_file and not word.endswith(".py") and zipfile.is_zipfile(word)):  # noqa: PTH112 as above
        return [str(Path(word).absolute())]
    if is_program or (is_file and word.endswith(".py")):
        return [str(Path(word).absolute().parent)]
    return []
