"""The clocks of this process, which no program can replace.

A program that patches ``time.perf_counter`` to return three numbers, one after the other, means them for itself. Tools
that let time stand still look for Python's own functions in every module, and so these are a second set of them.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from time import monotonic, perf_counter, sleep, time, time_ns

    def steady() -> float:
        """Return the seconds of a clock that also goes on while the machine sleeps, where there is one."""
else:
    from functools import partial
    from importlib.machinery import BuiltinImporter

    _time = BuiltinImporter.create_module(BuiltinImporter.find_spec("time"))
    BuiltinImporter.exec_module(_time)
    monotonic, perf_counter, sleep = _time.monotonic, _time.perf_counter, _time.sleep
    time, time_ns = _time.time, _time.time_ns
    steady = monotonic
    if hasattr(_time, "CLOCK_BOOTTIME"):
        steady = partial(_time.clock_gettime, _time.CLOCK_BOOTTIME)

__all__ = ["monotonic", "perf_counter", "sleep", "steady", "time", "time_ns"]
