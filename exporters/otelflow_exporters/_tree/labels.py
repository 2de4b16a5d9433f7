"""The line of a span: its name, the name of the run, its captured parameters, and what it returned."""

import re
from typing import Final, NamedTuple

from rich.cells import cell_len
from rich.text import Text

from otelflow import semconv as names
from otelflow._core.text.durations import in_words
from otelflow._core.text.visible import one_line
from otelflow_exporters._otlp.model import Span
from otelflow_exporters._tree.forest import SpanNode
from otelflow_exporters._tree.lines import cut_left
from otelflow_exporters._tree.wording import local_time

_PARAMETER: Final = names.RUN_PARAMETER.format(name="")
_LITERAL: Final = re.compile(r"[-+]?[\d.][\w.+\-]*|True|False|None|[\[({<].*", re.DOTALL)
_LONGEST_NAME: Final = 500
_LONGEST_VALUE: Final = 2_000
_WHOLE_VALUE: Final = 1_000_000_000
# A value that would be cut to less than this says nothing
_SHORTEST_VALUE: Final = 10


class Label(NamedTuple):
    """The text of the line, and what has no room on it."""

    text: Text
    below: list[str]
    #: Whether a value is not there whole
    is_cut: bool


def label_of(node: SpanNode, room: int, style: str, *, is_whole: bool) -> Label:
    """Return the label of *node* for *room* cells: what follows the name is shortened, or stands below.

    What *is_whole* is not shortened.
    """
    span = node.span
    longest = _WHOLE_VALUE if is_whole else _LONGEST_NAME
    text = Text(one_line(span.name, longest) or "(no name)", "bold red" if node.is_failed else "bold")
    run_name = run_name_of(span)
    if run_name:
        text.append(f" {one_line(run_name, longest)}", style="bold")
    text.append(tries(span), style="bold")
    if span.kind not in ("internal", "unspecified"):
        text.append(f" {span.kind}", style="dim")
    if span.is_open:
        text.append(f" running since {local_time(span.start):%H:%M:%S}", style=style)
    elif span.result not in (names.SUCCESS, names.FAILURE):
        text.append(f" {one_line(span.result)}", style=style)
    if node.is_orphan:
        text.append(" (its parent is missing)", style="yellow")
    below = []
    is_cut = False
    longest = _WHOLE_VALUE if is_whole else _LONGEST_VALUE
    parameters = {
        one_line(key.removeprefix(_PARAMETER), 60): _quoted(value, longest)
        for key, value in span.attributes.items()
        if key.startswith(_PARAMETER)
    }
    value = span.attributes.get(names.RUN_RETURN_VALUE)
    returned = {} if value is None else {"": _quoted(value, longest)}  # it has no name
    for values in filter(None, (parameters, returned)):
        whole = f"= {values['']}" if "" in values else _call(values)
        space = room - cell_len(text.plain) - 1
        addition = fitting(values, whole, space) if not is_whole or cell_len(whole) <= space else ""
        if addition:
            text.append(f" {addition}", style="cyan")
        else:
            below.append(whole)
        is_cut = is_cut or (addition or whole) != whole or any(len(value) > _LONGEST_VALUE for value in values.values())
    # The error is described at the span that raised it; here it stands only if there is room.
    if node.error_from_below and cell_len(text.plain) + 1 + len(node.error_from_below) <= room:
        text.append(f" {one_line(node.error_from_below)}", style="red")
    return Label(text, below, is_cut and not is_whole)


def tries(span: Span) -> str:
    """Return of one attempt which it is, and how long was waited before it; of the whole how many there were."""
    number, delay = span.attributes.get(names.ATTEMPT_NUMBER), span.attributes.get(names.ATTEMPT_DELAY)
    count, waited = span.attributes.get(names.RUN_ATTEMPTS), span.attributes.get(names.RUN_RETRY_DELAY)
    if isinstance(number, int):
        return f" #{number}{_time(' after', delay)}"
    return f" {count} attempts{_time(', waited', waited)}" if isinstance(count, int) and count > 1 else ""


def _time(word: str, seconds: object) -> str:
    return f"{word} {in_words(seconds)}" if isinstance(seconds, int | float) and seconds > 0 else ""


def run_name_of(span: Span) -> str:
    """Return what the name of the run adds to that of its task or flow, with which it may begin, too."""
    run_name = str(span.attributes.get(names.TASK_RUN_NAME) or span.attributes.get(names.FLOW_RUN_NAME) or "")
    own_name = str(span.attributes.get(names.TASK_NAME) or span.attributes.get(names.FLOW_NAME) or "")
    rest = run_name.removeprefix(own_name)
    is_repeated = rest != run_name and not (rest[:1].isalnum() or rest[:1] == "_")
    return rest.lstrip(" :") if is_repeated else run_name


def _quoted(value: object, longest: int) -> str:
    text = one_line(value, longest)
    return text if _LITERAL.fullmatch(text) else f"'{text}'"


def _call(parameters: dict[str, str]) -> str:
    return f"({', '.join(f'{name}={value}' for name, value in parameters.items())})"


def fitting(values: dict[str, str], whole: str, room: int) -> str:
    """Return *whole*, or the same with the values cut from the left, where they are most alike; or nothing."""
    if cell_len(whole) <= room:
        return whole
    if "" in values:
        return ""
    spare = room - cell_len(_call(dict.fromkeys(values, "")))
    longest = max(spare, 0)  # the largest length to which the long values can be cut, so that all fit
    while longest and sum(min(longest, cell_len(value)) for value in values.values()) > spare:
        longest -= 1
    if longest < _SHORTEST_VALUE:
        return ""
    return _call({name: cut_left(value, longest) for name, value in values.items()})
