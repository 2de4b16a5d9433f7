"""Labels and annotations of alerts: templates of Prometheus, in which the texts of users stand as they are."""

from collections.abc import Iterable

from otelflow._core.flows.declared import Declared
from otelflow.generate._promql import quote


def literal(text: str) -> str:
    """Return the text of a user so that a template shows it as it is; every such text goes through here."""
    text = text.encode(errors="replace").decode()  # half a surrogate pair is nothing that Prometheus reads
    # Two braces would be executed. One at the end would be the first of two where a template goes on behind it.
    return f"{{{{ {quote(text)} }}}}" if "{{" in text or text.endswith("{") else text


def runbook(default: str, flows: Iterable[Declared]) -> str:
    """Return the line that tells the reader what to do: the flow's own if its objective has one."""
    runbooks = {flow.name: flow.objective.runbook for flow in flows if flow.objective and flow.objective.runbook}
    if not runbooks:
        return default
    cases = [f"if eq $labels.flow {quote(name)} }}}}{literal(text)}" for name, text in runbooks.items()]
    return "{{ " + "{{ else ".join(cases) + "{{ else }}" + default + "{{ end }}"


def traces_link(jaeger: str, *, failing: bool, lookback: str = "2d") -> str:
    """Return the address of the flow's traces in Jaeger."""
    # A service with a namespace has the job namespace/name; Jaeger knows the name.
    service = '{{ $labels.job | reReplaceAll "^.*/" "" | urlquery }}'
    search = f"service={service}&operation=flow%20{{{{ $labels.flow | urlquery }}}}"
    tags = "&tags=%7B%22error%22%3A%22true%22%7D" if failing else ""
    return f"{literal(jaeger.rstrip('/'))}/search?{search}{tags}&lookback={lookback}&limit=20"
