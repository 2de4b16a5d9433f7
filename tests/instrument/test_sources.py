"""What stands in a source is found without importing it, and what cannot be wrapped is known with its reason."""

import pytest

from otelflow.instrument._sources import Source


@pytest.fixture
def source(tmp_path):
    def write(text):
        (tmp_path / "odd.py").write_text(text)
        return Source(str(tmp_path / "odd.py"))

    return write


def test_functions_classes_and_other_names_are_kept_apart(source):
    odd = source("import json as j\nfrom .jobs import work\nmade = work()\nclass A(B, c.D[int]):\n  def m(self): ...\n")

    assert odd.functions == {"A.m"}
    assert odd.classes == {"A"}
    assert odd.names == {"j", "work", "made", "A"}
    assert odd.bases == {"A": ["B", "c.D"]}
    assert odd.origins == {"j": (0, "json", ""), "work": (1, "jobs", "work")}


def test_a_star_import_may_bring_any_name_and_the_rest_is_known_all_the_same(source):
    odd = source("from os.path import *\ndef work(): ...\n")

    assert (odd.is_readable, odd.has_star_import, odd.functions) == (True, True, {"work"})


def test_a_file_that_is_no_python_is_not_readable(source):
    assert not source("def (").is_readable
