"""The pictures of Jaeger in docs/ show what Jaeger has, and the page on alerts what Alertmanager tells."""

import pytest

from support import pictures


@pytest.mark.parametrize("picture", [pictures.JAEGER, pictures.INCIDENT], ids=lambda path: path.stem)
def test_a_picture_of_jaeger_shows_what_it_has(picture, jaeger, collector, tmp_path):
    drawn = pictures.in_jaeger(picture, tmp_path, jaeger, collector)

    shown = picture.read_text(encoding="utf-8")
    assert pictures.words_of(drawn) == pictures.words_of(shown), "python tests/docs/remake.py"
