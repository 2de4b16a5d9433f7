import sys

import pytest

from otelflow import configure
from support.instrumented import write_program, write_shop


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A folder in which the package ``shop`` lies, from which it can be imported; it is not imported yet."""
    write_shop(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    forget()  # another test may have had a package of this name
    configure()  # what is wrapped asks for it; the trace of a test then stays the test's
    yield tmp_path
    forget()


def forget():
    for name in [name for name in sys.modules if name == "shop" or name.startswith("shop.")]:
        del sys.modules[name]


@pytest.fixture
def program(shop):
    """The folder of the shop with a program in it, and a file that says what is instrumented."""
    return write_program(shop)
