"""The clocks of this process, taken before anybody can put others in their place.

A program that patches ``time.perf_counter`` to return three numbers, one after the other, means them for itself.
"""

from time import monotonic, perf_counter, time, time_ns

__all__ = ["monotonic", "perf_counter", "time", "time_ns"]
