import pytest

from otelflow._core.text.regex import half_pattern, lazy_compile, split_patterns


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
        ("a{1, 2},b", ["a{1, 2}", "b"]),
        ("", []),
    ],
)
def test_a_comma_that_belongs_to_a_pattern_does_not_part_it(text, patterns):
    assert split_patterns(text) == patterns


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("[0-9]{8", "ends inside of {"),
        ("[0-9]{8,", "ends inside of {"),
        ("x{", "ends inside of {"),
        ("a{2}b{", "ends inside of {"),
        (r"{a\{b", "ends inside of {"),
        ("16}", "} closes nothing"),
        ("{2}}", "} closes nothing"),
        ("b]", "] closes nothing"),
        ("[ab]]", "] closes nothing"),
        (r"\[a]]", "] closes nothing"),
        (r"\{a]", "] closes nothing"),
        ("[0-9]{8, 16}", "{8, 16} is no quantifier"),
        ("[0-9]{ 8}", "{ 8} is no quantifier"),
        ("[0-9]{8,16,2}", "{8,16,2} is no quantifier"),
        ("[0-9]{8 }", "{8 } is no quantifier"),
    ],
)
def test_the_half_of_a_pattern_is_none(pattern, reason):
    assert reason in half_pattern(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        r"ACME-\d+",
        "[0-9]{8,16}",
        "[0-9]{8}",
        "[0-9]{8,}",
        "[0-9]{,8}",
        "(a{2}){3}",
        r"\{8",
        r"\{a{b}",
        r"8\}",
        r"\{token}",
        r"\{\{(.+?)}}",
        r"\[secret]",
        r"\[[a-z]{2}]",
        "[{]16[}]",
        "[]}]+",
        '{"token": "[^"]+"}',
        "{}",
        "{,}",
    ],
)
def test_a_pattern_with_all_its_brackets_is_whole(pattern):
    assert half_pattern(pattern) == ""


def test_a_pattern_is_compiled_once():
    assert lazy_compile("a+b") is lazy_compile("a+b")
