"""Which modules a program could import, and what stands in their files, found without importing one."""

import itertools
import sys
from collections.abc import Iterable, Iterator
from importlib.machinery import BuiltinImporter, ModuleSpec, PathFinder
from pathlib import Path
from typing import Any, Final

_MOST_MODULES: Final = 5_000


def modules_of(root: str) -> dict[str, str] | None:
    """Return the module *root* and those inside of it, by name, each with its file; None if nobody can tell."""
    loaded = sys.modules.get(root)
    spec = spec_of(root) if loaded is None else getattr(loaded, "__spec__", None)
    return None if spec is None else dict(_modules(root, spec.origin, list(spec.submodule_search_locations or ())))


def spec_of(root: str) -> ModuleSpec | None:
    """Return where the module *root* lies, which has no package around it; a package that is edited has a finder."""
    finders: list[Any] = [PathFinder, BuiltinImporter, *sys.meta_path]
    specs = (finder.find_spec(root, None) for finder in finders if hasattr(finder, "find_spec"))
    return next(filter(None, specs), None)


def _modules(root: str, origin: str | None, folders: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the module *root* and those inside of it, each with its file."""
    yield root, origin or ""
    for folder in map(Path, folders):
        for file in itertools.islice(sorted(_files_in(folder)), _MOST_MODULES):
            parts = [root, *file.relative_to(folder).with_suffix("").parts]
            if parts[-1] == "__init__":
                parts.pop()
            if all(part.isidentifier() for part in parts):
                yield ".".join(parts), str(file)


def _files_in(folder: Path) -> Iterable[Path]:
    """Return the files of Python in *folder*, which may lie in an archive (a zipapp, say), or be one."""
    archive = _archive_of(folder / "file")
    if archive is None:
        return folder.rglob("*.py")
    import zipfile  # noqa: PLC0415 some milliseconds for each child of a program

    with zipfile.ZipFile(archive) as content:
        files = [archive / name for name in content.namelist() if name.endswith(".py")]
    return [file for file in files if file.is_relative_to(folder)]


def text_of(file: Path) -> bytes:
    """Return what stands in *file*. Raises OSError, or LookupError for one that an archive does not have."""
    archive = _archive_of(file)
    if archive is None:
        return file.read_bytes()
    import zipfile  # noqa: PLC0415 as above

    with zipfile.ZipFile(archive) as content:
        return content.read(file.relative_to(archive).as_posix())


def _archive_of(path: Path) -> Path | None:
    return next((parent for parent in path.parents if parent.is_file()), None)
