"""The modules that could be imported are found without importing one, also in an archive and in a namespace."""

import sys
import types
import zipfile

from otelflow.instrument._modules import modules_of, text_of


def test_the_modules_of_a_package_are_found_with_their_files_and_not_imported(shop):
    modules = modules_of("shop")

    assert set(modules) == {"shop", "shop.billing", "shop.jobs"}
    assert modules["shop.jobs"] == str(shop / "shop" / "jobs.py")
    assert "shop" not in sys.modules


def test_a_module_of_an_archive_is_found_and_read(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "app.zip", "w") as archive:
        archive.writestr("packed/__init__.py", "")
        archive.writestr("packed/jobs.py", "def work(): ...")
    monkeypatch.syspath_prepend(tmp_path / "app.zip")

    modules = modules_of("packed")

    assert set(modules) == {"packed", "packed.jobs"}
    assert text_of(tmp_path / "app.zip" / "packed" / "jobs.py") == b"def work(): ..."


def test_of_a_module_that_is_not_there_or_was_made_by_hand_nobody_can_tell(monkeypatch):
    monkeypatch.setitem(sys.modules, "by_hand", types.ModuleType("by_hand"))

    assert modules_of("by_hand") is None
    assert modules_of("nobody_has_this") is None
