"""Share one set of numbers among the worker processes of gunicorn and other prefork servers.

prometheus-client's multiprocess mode: every process writes into files of its own in ``PROMETHEUS_MULTIPROC_DIR``, and
whoever is asked adds them up. It knows no exemplars and no removal.
"""

import atexit
import os
import re
import threading
from collections import Counter as Count
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import prometheus_client
from prometheus_client import Counter, Gauge, Histogram, multiprocess, values
from prometheus_client.core import Metric as Family
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from otelflow._core import attributes
from otelflow._core.context import Run
from otelflow._core.errors import ConfigurationError
from otelflow._core.results import Outcome
from otelflow.telemetry.board import Board, Cell
from otelflow.telemetry.readings import Metric, readings

VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
_LIVE_FILE: Final = re.compile(r"gauge_live\w*_(\d+)\.db")


def directory() -> Path:
    """Return the folder of the files. Raises ConfigurationError unless prometheus-client uses it."""
    text = os.environ.get(VARIABLE, "")
    if not text or not Path(text).is_dir():
        raise ConfigurationError(
            f"metrics=multiprocess needs {VARIABLE}, set to an existing empty folder before Python starts "
            f"(it is {text!r}); prometheus-client keeps the numbers of all workers there"
        )
    if values.ValueClass.__name__ != "MmapedValue":
        raise ConfigurationError(f"metrics=multiprocess: set {VARIABLE} before prometheus_client is imported")
    return Path(text)
