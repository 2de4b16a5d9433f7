"""Make pages of docstrings, which are written for ``help()``: examples become code, computed values attributes."""

import re
from typing import Any, Final

import griffe

# A descriptor of ours that turns a method into a value
_OF_A_VALUE: Final = "state_value"
_EXAMPLE: Final = re.compile(r"^>>> .*(?:\n.+)*", re.MULTILINE)
_DRAWING: Final = re.compile(r"^(=====.*\n)(?:.*\n)+?\1|^\w+\n(?:[├└].*\n?)+", re.MULTILINE)


class Pages(griffe.Extension):
    """Change what griffe has read before mkdocstrings draws it."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Put fences around what must keep its lines, and name sections as griffe does."""
        if obj.docstring is None:
            return
        text = f"{obj.docstring.value}\n"
        if "Example:\n" in text:
            text = text.replace("Example:\n", "Examples:\n")
        else:
            text = _EXAMPLE.sub(r"```pycon\n\g<0>\n```", text)
        obj.docstring.value = _DRAWING.sub(r"```text\n\g<0>```\n", text)

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        """Turn methods that are read like values into attributes."""
        for name, member in list(cls.members.items()):
            if isinstance(member, griffe.Function) and any(
                str(decorator.value).endswith(_OF_A_VALUE) for decorator in member.decorators
            ):
                value = griffe.Attribute(name, annotation=member.returns, docstring=member.docstring, parent=cls)
                value.labels.add("property")
                cls.set_member(name, value)
