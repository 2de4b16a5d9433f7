import pytest

from otelflow._core.text.regex import lazy_compile, split_patterns


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        (r"ACME-\d+", [r"ACME-\d+"]),
        ("a, b,,c ,", ["a", "b", "c"]),
        ("[0-9]{8,16}", ["[0-9]{8,16}"]),
        ("[0-9]{8,},x{,3}", ["[0-9]{8,}", "x{,3}"]),
        ("[,;]+,b", ["[,;]+", "b"]),
        ("[],(]+,[^],]b", ["[],(]+", "[^],]b"]),
        ("((a,b),c),d", ["((a,b),c)", "d"]),
        (r"a\,b,c\(,d", [r"a\,b", r"c\(", "d"]),
        ("a{,b", ["a{", "b"]),
        ("", []),
    ],
)
def test_a_comma_that_belongs_to_a_pattern_does_not_part_it(text, patterns):
    assert split_patterns(text) == patterns


def test_a_pattern_is_compiled_once():
    assert lazy_compile("a+b") is lazy_compile("a+b")
