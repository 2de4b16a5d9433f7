"""What to say beside a mistake: the name that was meant, and the place in the user's code."""

from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the closest of *known*, or a list of them, or nothing."""
    names = sorted(known)
    import difflib  # noqa: PLC0415 only for mistakes

    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(names)}" if names else ""


def place_of(error: BaseException) -> str:
    """Return file:line of the innermost frame of *error* that is the user's own, or nothing."""
    import os  # noqa: PLC0415 only for errors
    import sysconfig  # noqa: PLC0415
    import traceback  # noqa: PLC0415

    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 pathlib takes long
    ours = (here + os.sep, f"{here}_exporters{os.sep}", "<frozen importlib")
    libraries = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    frames = [one for one in traceback.extract_tb(error.__traceback__) if not one.filename.startswith(ours)]
    own = [one for one in frames if not one.filename.startswith((*libraries, "<"))]
    chosen = (own or frames)[-1:]
    return f"{chosen[0].filename}:{chosen[0].lineno}" if chosen else ""
