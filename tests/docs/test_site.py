"""What .ci/docs/site.py says of a built site, which .ci/run asks after `mkdocs build --strict`."""

import pytest

from support.pages import ROOT
from support.programs import run_python

PAGE = '<html><body><h2 id="here">Here</h2><a href="{link}">there</a>{more}</body></html>'


def look_at(site):
    done = run_python(ROOT / ".ci/docs/site.py", site)
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("link", "more", "complaint"),
    [
        ("#here", "", ""),
        ("https://example.com/", "", ""),
        ("gone.html", "", "index.html leads to gone.html, which is not there"),
        ("#gone", "", "index.html leads to #gone, and there is no such place on the page"),
        ("#here", '<script src="https://unpkg.com/x"></script>', "index.html loads https://unpkg.com/x"),
        ("#here", '<link rel="stylesheet" href="//fonts.example/x">', "index.html loads //fonts.example/x"),
    ],
)
def test_a_link_that_leads_nowhere_and_what_comes_from_elsewhere_are_named(link, more, complaint, tmp_path):
    (tmp_path / "index.html").write_text(PAGE.format(link=link, more=more))

    code, said = look_at(tmp_path)

    assert said == f"{complaint}\n1 pages, 1 wrong\n" if complaint else "1 pages, 0 wrong\n"
    assert code == bool(complaint)


def test_a_style_that_fetches_a_font_is_named(tmp_path):
    (tmp_path / "index.html").write_text(PAGE.format(link="#here", more=""))
    (tmp_path / "style.css").write_text("@font-face { src: url(https://fonts.example/font.woff2) }")

    code, said = look_at(tmp_path)

    assert code == 1
    assert "style.css loads https://fonts.example/font.woff2" in said
