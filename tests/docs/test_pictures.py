"""The pictures show what the product prints; those of Jaeger are compared with it in tests/stack."""

import re

import pytest

from support import pages, pictures


def test_the_tree_in_the_picture_is_the_one_that_is_drawn():
    pytest.importorskip("rich", reason="not installed: pip install 'otelflow[cli]'")

    drawn = pictures.tree_of(pictures.run(pictures.TREE))

    picture = pictures.TREE.read_text(encoding="utf-8")
    assert pictures.words_of(drawn) == pictures.words_of(picture), "python tests/docs/remake.py"


@pytest.mark.parametrize("picture", pictures.RUNS, ids=lambda path: path.stem)
def test_a_picture_fetches_nothing_and_stands_on_its_page(picture):
    page = pages.ROOT / pictures.RUNS[picture][0]
    text = picture.read_text(encoding="utf-8")

    assert f"](pictures/{picture.name})" in page.read_text(encoding="utf-8")
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)[^\"' <]+", re.sub(r"<!--.*?-->", "", text)) == []
    assert "url(http" not in text


def test_every_picture_is_made_by_the_tests():
    assert set((pages.ROOT / "docs/pictures").iterdir()) == set(pictures.RUNS)
