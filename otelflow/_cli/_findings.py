"""Print the findings of ``doctor`` and ``verify``."""

import sys
from typing import Final

from rich.console import Console
from rich.text import Text

from otelflow._cli._console import for_page, say
from otelflow._cli._exit_codes import FAILURE, NOT_TOLD, SUCCESS
from otelflow._cli._http import Unreachable, server_address
from otelflow._cli.doctor import Addresses, examine
from otelflow._cli.show import newest_traces, open_store
from otelflow._cli.verify import MISSING, verify
from otelflow._core.text.visible import one_line
from otelflow_exporters._otlp.json import to_otlp_json
from otelflow_exporters._tree.glyphs import encodable
from otelflow_exporters._tree.wording import counted

_JAEGER: Final = "http://localhost:16686"
_PROMETHEUS: Final = "http://localhost:9090"
_MARKS: Final = {"ok": ("ok", "green"), "wrong": ("WRONG", "bold red"), "absent": ("-", "dim")}
_MARK_WIDTH: Final = 6
_INDENT: Final = " " * _MARK_WIDTH
_SUBJECT_WIDTH: Final = 18
_MOST_DIFFERENCES: Final = 20
_LONGEST_NAME: Final = 100


def print_findings(jaeger: str | None, prometheus: str | None) -> int:
    """Print a table of findings; return 1 when something is wrong."""
    required = frozenset(name for name, url in (("jaeger", jaeger), ("prometheus", prometheus)) if url)
    console = Console(highlight=False)
    findings = []
    addresses = Addresses(server_address(jaeger or _JAEGER), server_address(prometheus or _PROMETHEUS), required)
    for finding in examine(addresses):
        findings.append(finding)
        mark, style = _MARKS[finding.state]
        subject, text = one_line(finding.subject, _LONGEST_NAME), for_page(finding.observation)
        lines = [Text.assemble((f"{mark:<{_MARK_WIDTH}}", style), f"{subject:<{_SUBJECT_WIDTH}}  ", text)]
        if lines[0].cell_len > console.width:
            lines = [Text.assemble((f"{mark:<{_MARK_WIDTH}}", style), subject), Text(f"{_INDENT}{text}")]
        if finding.cure and finding.state != "ok":
            lines.append(Text(f"{_INDENT}→ {for_page(finding.cure)}", style="cyan"))
        with console.capture() as captured:
            for line in lines:  # whole, so that addresses and cures can be copied
                console.print(line, soft_wrap=True)
        sys.stdout.write(encodable(captured.get(), sys.stdout.encoding or "utf-8"))
        sys.stdout.flush()
    return FAILURE if any(finding.state == "wrong" for finding in findings) else SUCCESS


def print_differences(trace_id: str | None, jaeger: str | None, *, wait_seconds: float) -> int:
    """Print whether the trace arrived whole, or what did not; return 1 when it did not, 3 when that cannot be told."""
    address = server_address(jaeger or _JAEGER)
    store = open_store()
    stored = store.load(trace_id or newest_traces(store, 1, failed=False)[0].trace_id)
    count = len(stored.spans) - len(stored.running) - len(stored.lost)
    if not count:
        say(f"trace {stored.trace_id} has no span that has ended: there is nothing to be compared yet")
        return NOT_TOLD
    try:
        differences = verify(to_otlp_json(stored.traces), address, stored.trace_id, wait_seconds=wait_seconds)
    except Unreachable as error:
        say(f"trace {stored.trace_id} cannot be compared: {error}; give Jaeger's query address with --jaeger URL")
        return NOT_TOLD
    if not differences and stored.lost:
        names = ", ".join(one_line(span.name, _LONGEST_NAME) for span in stored.lost)
        say(
            f"trace {stored.trace_id} is incomplete: the process of {names} is gone; what had ended before arrived: "
            f"{counted(count, 'span')} in {address}/trace/{stored.trace_id}"
        )
        return SUCCESS
    if not differences:
        say(f"trace {stored.trace_id} arrived whole: {counted(count, 'span')} in {address}/trace/{stored.trace_id}")
        return SUCCESS
    if sum(difference.fault == MISSING for difference in differences) == count:
        say(
            f"trace {stored.trace_id} is not in {address}: none of its {counted(count, 'span')} arrived; "
            "'otelflow doctor' looks at the way there, --wait SECONDS waits longer"
        )
        return FAILURE
    for difference in differences[:_MOST_DIFFERENCES]:
        name = one_line(difference.name, _LONGEST_NAME)
        say(f"span {one_line(difference.span_id, _LONGEST_NAME)} ({name}) {difference.fault}")
    say(f"trace {stored.trace_id}: {len(differences):,} of {count:,} spans are not in Jaeger as recorded")
    return FAILURE
