"""PromQL: the names and matchers that rules and dashboards share, and how a text stands in an expression."""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Final

from otelflow import semconv

# Matchers for how a run ended
FAILING: Final = f'result=~"{"|".join(semconv.FAILED_RESULTS)}"'
SUCCEEDED: Final = f'result="{semconv.SUCCESS}"'
#: Shares are taken of these: a run that was cancelled or skipped is neither good nor bad.
COUNTED: Final = f'result!~"{semconv.CANCELLATION}|{semconv.SKIP}"'

# Recording rules; the names of the first three end with their window
FAILURE_RATIO: Final = "otelflow:flow_failures:ratio_rate"
SLOW_RATIO: Final = "otelflow:flow_slow:ratio_rate"
RUNS_INCREASE: Final = "otelflow:flow_runs:increase"
LAST_FAILURE: Final = "otelflow:flow_last_failure:max"
LAST_SUCCESS: Final = "otelflow:flow_last_success:max"
OPEN_RUNS: Final = "otelflow:flow_runs_in_progress:sum"
#: Ends with the name of what is promised
OBJECTIVE: Final = "otelflow:flow_objective"


def quote(text: str) -> str:
    """Return *text* as a string of PromQL, which is one of Go's templates, too."""
    return json.dumps(text, ensure_ascii=False)


def selector(*matchers: str) -> str:
    """Return the *matchers* that are not empty, in braces."""
    inner = ",".join(filter(None, matchers))
    return f"{{{inner}}}" if inner else ""


def other_than(flows: Iterable[str]) -> str:
    """Return the matcher that leaves *flows* out, or nothing."""
    names = _pattern(flows)
    return f"flow!~{quote(names)}" if names else ""


def one_of(names: Sequence[str], label: str = "flow") -> str:
    """Return the matcher of the *names* that *label* may have, or nothing if there are none."""
    if len(names) > 1:
        return f"{label}=~{quote(_pattern(names))}"
    return f"{label}={quote(names[0])}" if names else ""


def _pattern(names: Iterable[str]) -> str:
    return "|".join(re.sub(r"\\([ \-])", r"\1", re.escape(name)) for name in names)
