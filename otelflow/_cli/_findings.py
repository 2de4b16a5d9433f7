"""Print the findings of ``doctor`` and ``verify``."""

import sys
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from otelflow._cli._console import hide_secrets, say
from otelflow._cli._exit_codes import BAD_INPUT, FAILURE, SUCCESS
from otelflow._cli._http import Unreachable
from otelflow._cli.doctor import Addresses, examine
from otelflow._cli.show import open_store
from otelflow._cli.verify import verify
from otelflow_exporters._store.reader import to_otlp_json
from otelflow_exporters._tree.glyphs import encodable

_JAEGER: Final = "http://localhost:16686"
_PROMETHEUS: Final = "http://localhost:9090"
_MARKS: Final = {"ok": ("ok", "green"), "wrong": ("WRONG", "bold red"), "absent": ("-", "dim")}
_MOST_DIFFERENCES: Final = 20


def print_findings(jaeger: str | None, prometheus: str | None) -> int:
    """Print a table of findings; return 1 when something is wrong."""
    required = frozenset(name for name, url in (("jaeger", jaeger), ("prometheus", prometheus)) if url)
    findings = list(examine(Addresses(jaeger or _JAEGER, prometheus or _PROMETHEUS, required)))
    table = Table(box=None, show_header=False, pad_edge=False)
    for finding in findings:
        mark, style = _MARKS[finding.state]
        cell = Text(hide_secrets(finding.seen))
        if finding.cure and finding.state != "ok":
            cell.append(f"\n→ {finding.cure}", style="cyan")
        table.add_row(Text(mark, style), Text(finding.subject), cell)
    console = Console()
    with console.capture() as captured:
        console.print(table)
    sys.stdout.write(encodable(captured.get(), sys.stdout.encoding or "utf-8"))
    sys.stdout.flush()
    return FAILURE if any(finding.state == "wrong" for finding in findings) else SUCCESS


def print_differences(trace_id: str, jaeger: str | None, *, wait_seconds: float) -> int:
    """Print whether the trace arrived whole, or what did not; return 1 when it did not, 2 when Jaeger is not there."""
    address = jaeger or _JAEGER
    stored = open_store().load(trace_id)
    try:
        differences = verify(to_otlp_json(stored.traces), address, stored.trace_id, wait_seconds=wait_seconds)
    except Unreachable as error:
        say(f"{error}; give Jaeger's query address with --jaeger URL")
        return BAD_INPUT
    if not differences:
        say(f"trace {stored.trace_id} arrived whole: {len(stored.spans):,} spans in {address}/trace/{stored.trace_id}")
        return SUCCESS
    for difference in differences[:_MOST_DIFFERENCES]:
        say(f"span {difference.span_id} ({difference.name}) {difference.fault}")
    say(f"trace {stored.trace_id}: {len(differences):,} of {len(stored.spans):,} spans are not in Jaeger as recorded")
    return FAILURE
