import sys
import textwrap

import pytest

from otelflow import configure

BILLING = '''
    import functools

    class Client:
        """Charges people."""

        def charge(self, amount):
            return amount * 2

        @staticmethod
        def rate():
            return 0.5

        @classmethod
        def make(cls):
            return cls()

        async def refund(self, amount):
            return -amount

        def _retry(self):
            return "hidden"

        class Inner:
            def deep(self):
                return "deep"

    def total(amounts):
        yield from amounts

    async def stream():
        yield 1
        yield 2

    @functools.lru_cache
    def price(number):
        return number

    def fail():
        raise KeyError("no such customer")
'''
JOBS = '''
    from shop.billing import Client, total

    def nightly_bill(number):
        """Bill everybody."""
        client = Client.make()
        return sum(total([client.charge(each) for each in range(number)]))

    async def nightly_refund():
        return await Client().refund(3)

    def weekly():
        return nightly_bill(1)
'''


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A folder in which the package ``shop`` lies, from which it can be imported; it is not imported yet."""
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "billing.py").write_text(textwrap.dedent(BILLING))
    (package / "jobs.py").write_text(textwrap.dedent(JOBS))
    monkeypatch.syspath_prepend(tmp_path)
    forget()  # another test may have had a package of this name
    configure()  # what is wrapped asks for it; the trace of a test then stays the test's
    yield tmp_path
    forget()


def forget():
    for name in [name for name in sys.modules if name == "shop" or name.startswith("shop.")]:
        del sys.modules[name]
