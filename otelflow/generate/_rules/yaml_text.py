"""Plain data as YAML that people read, and that every reader takes for the same texts."""

from typing import Any

import yaml


def to_yaml(document: Any, *comments: str) -> str:
    """Return *document* (dicts, lists, texts, numbers) as YAML below *comments*."""
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=float("inf"))
    return "".join(f"# {comment}\n" for comment in comments) + text


class _Dumper(yaml.SafeDumper):
    """Writes lists further in than their keys, and whatever occurs twice, twice."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: object) -> bool:
        return True

    def write_double_quoted(self, text: str, split: bool = True) -> None:
        """Escape what cannot be seen, too: PyYAML leaves as it is what turns the direction of a text."""
        self.allow_unicode = False
        super().write_double_quoted(text, split)
        self.allow_unicode = True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Write several lines as a block, and in quotes what some reader would take for a number or a truth value."""
        lines = text.split("\n")
        if not all(line.isprintable() for line in lines):
            style = '"'  # where everything can be escaped
        elif len(lines) > 1:
            style = "|"
        else:
            # Go's YAML knows 1e3 and y as something else, which PyYAML does not know.
            style = "" if text[:1].isalpha() and len(text) > 1 else "'"
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style or None)


_Dumper.add_representer(str, _Dumper.represent_text)
