"""Signs for outputs that cannot show every sign."""

import pytest

from otelflow_exporters._tree import glyphs


def test_each_sign_has_a_stand_in_of_the_same_width():
    assert glyphs.ASCII.keys() == glyphs.UNICODE.keys()
    others = glyphs.UNICODE.keys() - {"more"}
    assert [len(glyphs.UNICODE[name]) for name in others] == [len(glyphs.ASCII[name]) for name in others]
    assert "".join(glyphs.ASCII.values()).isascii()


@pytest.mark.parametrize(
    ("encoding", "is_drawable"),
    [("utf-8", True), ("utf-16", True), ("ascii", False), ("latin-1", False), ("no", False)],
)
def test_an_encoding_draws_a_tree_if_it_has_every_sign(encoding, is_drawable):
    assert glyphs.is_drawable(encoding) is is_drawable


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("utf-8", "━ é 漢 →"),
        ("ascii", "- \\xe9 \\u6f22 >"),
        ("latin-1", "- é \\u6f22 >"),
        ("no such encoding", "- \\xe9 \\u6f22 >"),
    ],
)
def test_what_an_encoding_lacks_is_replaced(encoding, text):
    assert glyphs.encodable("━ é 漢 →", encoding) == text
    assert glyphs.encodable("plain", encoding) == "plain"
