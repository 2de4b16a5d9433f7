"""A program whose functions are made flows from outside, as it is started from the shell."""

import textwrap

from support.programs import run_python

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

MAIN = """
import asyncio, multiprocessing, os, subprocess, sys
import shop.jobs

def work(number):
    return shop.jobs.nightly_bill(number)

if __name__ == "__main__":
    print("bill", shop.jobs.nightly_bill(3))
    if sys.argv[1:] == ["children"]:
        subprocess.run([sys.executable, "-c", "import shop.jobs; shop.jobs.nightly_bill(1)"], check=True)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            print("pool", pool.map(work, [2]))
            pool.close()
            pool.join()
    sys.exit(3)
"""


def write_shop(folder):
    """Write the package ``shop`` into *folder*."""
    package = folder / "shop"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "billing.py").write_text(textwrap.dedent(BILLING))
    (package / "jobs.py").write_text(textwrap.dedent(JOBS))


def write_program(folder):
    """Write a program that uses the shop in *folder* into that, and a file that says what is instrumented."""
    (folder / "main.py").write_text(MAIN)
    (folder / "otelflow.toml").write_text('flows = ["shop.jobs:nightly_*"]\ntasks = ["shop.billing:Client.charge"]\n')
    return folder


def otelflow(folder, *arguments, **variables):
    return run_python(
        "-m",
        "otelflow",
        *arguments,
        cwd=folder,
        OTELFLOW_STORE=folder / "store",
        PYTHONPATH=folder / "other",
        **variables,
    )


def traces(folder):
    rows = [line.split() for line in otelflow(folder, "show", "--list").stdout.splitlines()]
    return sorted(" ".join(row[3:6] + row[7:]) for row in rows if len(row[0]) == 32)
