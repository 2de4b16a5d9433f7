"""What to say of a mistake: its type and text, what would fit, what was meant, and where in the user's code it is."""

from collections.abc import Iterable
from typing import Final


def nearest(name: str, names: Iterable[str], *, alike: float = 0.6) -> str | None:
    """Return the one of *names* that is most like *name*, or None when none is *alike*: 1 is the same."""
    import difflib  # noqa: PLC0415 only for mistakes

    return next(iter(difflib.get_close_matches(name, sorted(names), n=1, cutoff=alike)), None)


def suggestion(name: str, names: Iterable[str]) -> str:
    """Return the end of a sentence: ``; did you mean 'x'?`` for the nearest of *names*, or else all of them."""
    names = sorted(names)
    return question(name, names) or (f"; known: {', '.join(names)}" if names else "")


def question(name: str, names: Iterable[str]) -> str:
    """Return the one of *names* that may have been meant as a question, without the list of all names; or nothing."""
    similar = nearest(name, names)
    return f"; did you mean {similar!r}?" if similar else ""


_IN_WORDS: Final = {
    "bool": ("True", "False"),
    "int": ("a whole number",),
    "float": ("a number",),
    "str": ("a text",),
    "NoneType": ("None",),
    "tuple": ("a tuple",),
    "list": ("a list",),
    "Sequence": ("a list",),
    "Mapping": ("a dict",),
    "MutableMapping": ("a dict",),
    "Callable": ("a function",),
    "Collection": ("a set",),
}


def in_words(kinds: Iterable[type]) -> str:
    """Return what fits *kinds* as a user calls it: ``a text or None``, ``True or False``."""
    words: list[str] = []
    for kind in kinds:
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        words += _IN_WORDS.get(kind.__name__, (f"{article} {kind.__name__}",))
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def quotes_in(value: str) -> str:
    """Return the end of a sentence for a *value* in quotes, which a file of variables took for a part of it."""
    is_quoted = len(value) > 1 and value[0] in "\"'" and value[-1] == value[0]
    return f": the quotes are a part of it; write {value[1:-1]} without them" if is_quoted else ""


def place_of(error: BaseException) -> str:
    """Return file:line of the innermost frame of *error* that is the user's own, or nothing."""
    import os  # noqa: PLC0415 only for errors
    import sysconfig  # noqa: PLC0415
    import traceback  # noqa: PLC0415

    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120 pathlib takes long
    internal = (package + os.sep, f"{package}_exporters{os.sep}", "<frozen importlib")
    libraries = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(internal)]
    own = [frame for frame in frames if not frame.filename.startswith((*libraries, "<"))]
    innermost = (own or frames)[-1:]
    return f"{innermost[0].filename}:{innermost[0].lineno}" if innermost else ""
