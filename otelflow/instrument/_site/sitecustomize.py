"""Instrument a Python process before its program starts: its folder is put into ``PYTHONPATH`` to be found."""

import importlib
import importlib.util
import os
import sys


def _start() -> None:
    try:
        from otelflow.instrument._start import start  # noqa: PLC0415 a child may be a Python that does not have it
    except (ImportError, SyntaxError) as error:  # which an old Python reads in it
        if os.environ.get("OTELFLOW_INSTRUMENT_PID") == str(os.getpid()):  # a child of the program runs without a word
            sys.stderr.write(f"otelflow: {sys.executable} runs without instrumentation: {error}\n")
        return
    start()


def _continue() -> None:
    """Run the ``sitecustomize`` that would have run without this one."""
    folder = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 pathlib takes long
    sys.path[:] = [path for path in sys.path if os.path.abspath(path) != folder]  # noqa: PTH100
    this = sys.modules.pop("sitecustomize")
    try:
        if importlib.util.find_spec("sitecustomize") is not None:
            importlib.import_module("sitecustomize")
    finally:
        sys.modules.setdefault("sitecustomize", this)


_start()
_continue()
