"""The pictures of docs/: drawn from what the product prints and from what Jaeger answers, and read again by tests."""

import html
import io
import json
import re
import sys
import tempfile
import time
import urllib.request
from importlib import util
from pathlib import Path

from otelflow import semconv
from support import pages

TREE = pages.ROOT / "docs/pictures/tree.svg"
JAEGER = pages.ROOT / "docs/pictures/jaeger.svg"
INCIDENT = pages.ROOT / "docs/pictures/incident.svg"
# The page whose program a picture shows, and how it is run
RUNS = {
    TREE: ("docs/quickstart.md", ("otelflow", "run", "etl.py:load", "--param", "shelf=tea", "--tree"), 0),
    JAEGER: ("docs/quickstart.md", ("otelflow", "run", "etl.py:load", "--param", "shelf=tea"), 0),
    INCIDENT: ("docs/operations.md", ("otelflow", "run", "invoices.py:book_invoices"), 1),
}
WIDTH, ROW, NAMES = 900, 26, 300


def words_of(picture):
    """Return what a picture says, without what changes from run to run and where its lines end."""
    lines = {}
    for height, text in re.findall(r"<text[^>]* y=\"([\d.]+)\"[^>]*>([^<]*)</text>", picture):
        lines.setdefault(float(height), []).append(html.unescape(text).replace("\xa0", " "))
    text = " ".join(" ".join(parts) for _, parts in sorted(lines.items()))
    return "".join(" ".join(pages.without_changes(text)).split())


# The tree


def run(picture, **environment):
    """Run the flow that *picture* shows, as on a terminal, and return what it prints."""
    page, command, exit_code = RUNS[picture]
    place = pages.Workplace(page)
    variables = {"FORCE_COLOR": 1, "TERM": "xterm-256color", **environment}
    words = (f"{name}={value}" for name, value in variables.items())
    code, output = place.run("env", "--unset=NO_COLOR", *words, *command)
    assert code == exit_code, output
    return output


def tree_of(output):
    """Draw what a terminal shows."""
    from rich import _export_format
    from rich.console import Console
    from rich.text import Text

    command = " ".join(RUNS[TREE][1]).removesuffix(" --tree")
    console = Console(record=True, width=pages.WIDTH, file=io.StringIO())
    console.print(Text.from_ansi(f"$ {command}\n{output.rstrip()}"))
    # Its own format fetches a font.
    style = re.sub(r"@font-face \{\{.*?\}\}", "", _export_format.CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    style = re.sub(r"Fira Code, ?", "ui-monospace, Menlo, Consolas, DejaVu Sans Mono, ", style)
    return console.export_svg(title="otelflow", code_format=style, unique_id="tree")


# Jaeger


class Span:
    """A span as Jaeger's page gets it."""

    def __init__(self, answer):
        self.name, self.start, self.duration = answer["operationName"], answer["startTime"], answer["duration"]
        self.id = answer["spanID"]
        self.parent = next((one["spanID"] for one in answer["references"]), None)
        self.tags = {tag["key"]: tag["value"] for tag in answer["tags"]}
        self.logs = [{field["key"]: field["value"] for field in log["fields"]} for log in answer["logs"]]

    @property
    def is_red(self):
        return self.tags.get("error") is True

    @property
    def is_opened(self):
        """Whether a reader would look into it: it is red, or did not succeed."""
        return self.is_red or self.tags.get(semconv.RUN_RESULT, semconv.SUCCESS) != semconv.SUCCESS

    @property
    def details(self):
        """What the page shows of a span that is opened."""
        shown = (semconv.TASK_RUN_NAME, "otelflow.run.parameter.", semconv.RUN_RESULT, semconv.CODE_FUNCTION_NAME)
        yield from (
            f"{key} = {value}" for key, value in self.tags.items() if key.startswith((*shown, "otelflow.flow.failed"))
        )
        for log in self.logs:
            yield f"event {log['event']}: {log.get('exception.type', '')}: {log.get('exception.message', '')}"


def rows_of(trace):
    """Return (depth, span) of each span in the order in which Jaeger's page shows them."""
    spans = [Span(answer) for answer in trace["spans"]]

    def below(parent, depth):
        for span in sorted((span for span in spans if span.parent == parent), key=lambda span: span.start):
            yield depth, span
            yield from below(span.id, depth + 1)

    return list(below(None, 0))


def waterfall_of(trace):
    """Draw a trace as Jaeger tells it: a row for each span, and the details of those that failed."""
    rows = rows_of(trace)
    start = min(span.start for _, span in rows)
    whole = max(span.start + span.duration for _, span in rows) - start
    service = next(iter(trace["processes"].values()))["serviceName"]
    failed = sum(span.is_opened for _, span in rows)
    drawing = [f'<text x="16" y="28" class="title">{service}: {rows[0][1].name}</text>']
    drawing.append(
        f'<text x="16" y="50" class="note">trace {trace["traceID"]}, {len(rows)} spans, {failed} failed</text>'
    )
    height = 66
    for depth, span in rows:
        left = NAMES + (WIDTH - NAMES - 110) * (span.start - start) / whole
        length = max(3, (WIDTH - NAMES - 110) * span.duration / whole)
        color, mark = ("#c0392b", " ✗") if span.is_red else ("#17807e", "")
        text, beside = height + 17, min(left + length, WIDTH - 100) + 8
        drawing += [
            f'<rect x="0" y="{height}" width="{WIDTH}" height="{ROW - 1}" class="row"/>',
            f'<rect x="{left:.1f}" y="{height + 7}" width="{length:.1f}" height="11" rx="2" fill="{color}"/>',
            f'<text x="{16 + 18 * depth}" y="{text}" class="name">{html.escape(span.name)}{mark}</text>',
            f'<text x="{beside:.1f}" y="{text}" class="note"> {in_words(span.duration)} </text>',
        ]
        height += ROW
        for detail in span.details if span.is_opened else ():
            drawing.append(f'<text x="{34 + 18 * depth}" y="{height + 15}" class="detail">{html.escape(detail)}</text>')
            height += 20
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height + 14}" role="img">
<style>
svg {{ font: 14px sans-serif; background: #fff }}
.row {{ fill: #f4f6f6 }} .title {{ font-size: 17px; font-weight: bold }} .note {{ fill: #566; font-size: 12px }}
.detail {{ fill: #333; font: 12px monospace }}
</style>
<rect width="100%" height="100%" fill="#fff"/>
{chr(10).join(drawing)}
</svg>
"""


def in_words(microseconds):
    return f"{microseconds / 1000:.1f} ms" if microseconds >= 1000 else f"{microseconds} µs"


def ask_jaeger(address, output, seconds=30):
    """Wait until Jaeger has the trace that a run has told of in its *output*, and return it."""
    trace_id = re.search(r"\b[0-9a-f]{32}\b", output)[0]
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(f"{address}/api/traces/{trace_id}", timeout=5) as answer:
                (trace,) = json.load(answer)["data"]
        except OSError:
            trace = {"spans": []}
        ids = {span["spanID"] for span in trace["spans"]}
        if ids and all(one["spanID"] in ids for span in trace["spans"] for one in span["references"]):
            return trace
        assert time.monotonic() < deadline, f"trace {trace_id} did not arrive in Jaeger: {trace}"
        time.sleep(0.2)


def in_jaeger(picture, jaeger, endpoint):
    """Run the flow of *picture*, sent to *endpoint*, and draw what Jaeger has of it."""
    output = run(picture, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
    return waterfall_of(ask_jaeger(jaeger, output))


def sessions_with_jaeger(page):
    """Return what the sessions of *page* print that need a Jaeger; none where there is no Jaeger."""
    conftest = stack()
    if not (conftest.stack_dir() / "bin/jaeger").exists():
        sys.stdout.write(f"the sessions of {page} with Jaeger stay: no Jaeger here (.ci/stack)\n")
        return {}
    addresses = conftest.Addresses()
    with tempfile.TemporaryDirectory() as name, conftest.running_jaeger(addresses, Path(name)) as jaeger:
        return pages.sessions_of(place_with_jaeger(page, jaeger, addresses.url("jaeger:4318")), "jaeger")


def place_with_jaeger(page, jaeger, endpoint):
    """Return a workplace in which Jaeger is where pages say that it is."""
    return pages.Workplace(page, {"http://127.0.0.1:16686": jaeger, "http://127.0.0.1:4318": endpoint})


# All anew


def remake():
    """Draw what has changed; return the names of the pictures that are new."""
    conftest = stack()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        drawings = {TREE: tree_of(run(TREE))}
        if (conftest.stack_dir() / "bin/jaeger").exists():
            addresses = conftest.Addresses()
            with conftest.running_jaeger(addresses, folder) as jaeger:
                for picture in (JAEGER, INCIDENT):
                    endpoint = addresses.url("jaeger:4318")
                    drawings[picture] = in_jaeger(picture, jaeger, endpoint)
        else:
            sys.stdout.write("the pictures of Jaeger stay: no Jaeger here (.ci/stack)\n")
    for path, drawing in list(drawings.items()):
        if path.exists() and words_of(path.read_text(encoding="utf-8")) == words_of(drawing):
            del drawings[path]
        else:
            path.write_text(drawing, encoding="utf-8")
    return [path.name for path in drawings]


def stack():
    """Return the functions that start the real programs."""
    spec = util.spec_from_file_location("stack_conftest", pages.ROOT / "tests/stack/conftest.py")
    module = util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
