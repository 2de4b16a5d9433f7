"""A spool hears what has happened in open runs, and nothing of runs that have ended."""

import re
import signal
import sys

import pytest
from opentelemetry import trace
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

import otelflow
from otelflow import semconv
from otelflow._core.process import forks
from otelflow._core.runs import observers
from otelflow._telemetry.spool_news import SpoolNews, tell_of_lost_runs
from support.programs import python, run_python, source_of, start
from support.receivers import OtlpReceiver

PROGRAM = """
    import os, signal, sys
    import otelflow

    otelflow.configure(service_name="x", metrics=f"textfile:{sys.argv[1]}.prom")

    @otelflow.task
    def work():
        if sys.argv[1] == "killed":
            os.kill(os.getpid(), signal.SIGKILL)

    @otelflow.flow
    def nightly():
        work()

    nightly().execute()
    otelflow.force_flush(60_000)  # on a busy machine, an exit does not wait long enough for a first answer
    """


def test_messages_of_an_open_run_are_news_once_and_all_of_them_when_more_come(spans):
    news, taken = SpoolNews(), []
    observers.add_observer(news)

    @otelflow.flow
    def talk(this_flow: otelflow.Flow = otelflow.INJECTED):
        this_flow.log_info("first")
        taken.append(news.take())
        taken.append(news.take())
        this_flow.log_info("second")
        taken.append(news.take())
        this_flow.log_info("third")
        return trace.get_current_span().get_span_context().span_id

    span_id = talk().execute().flow_return_value
    taken.append(news.take())

    texts = [
        [(number, [event.attributes[semconv.MESSAGE_TEXT] for event in events]) for number, events in step]
        for step in taken
    ]
    assert texts == [[(span_id, ["first"])], [], [(span_id, ["first", "second"])], []]


def test_news_that_another_thread_adds_to_are_told_the_next_time(spans, monkeypatch):
    news, taken = SpoolNews(), []
    observers.add_observer(news)

    @otelflow.flow
    def talk(this_flow: otelflow.Flow = otelflow.INJECTED):
        this_flow.log_info("said")
        with monkeypatch.context() as patch:
            patch.setattr("otelflow._core.inside.journal.Journal.entries", changed_meanwhile)
            taken.append(news.take())
        taken.append(news.take())
        taken.append(news.take())

    def changed_meanwhile(_journal):
        yield from ()
        raise RuntimeError("deque mutated during iteration")

    talk().execute()

    assert [[len(events) for _, events in step] for step in taken] == [[], [1], []]


def test_a_forked_child_has_no_news_of_the_runs_of_its_parent(spans, monkeypatch):
    news, taken = SpoolNews(), []
    observers.add_observer(news)

    @otelflow.flow
    def talk(this_flow: otelflow.Flow = otelflow.INJECTED):
        this_flow.log_info("said")
        monkeypatch.setattr(forks.fork, "process_id", 0)  # as in a child of which nobody has told Python
        monkeypatch.setattr(forks.fork, "page", forks._EMPTY)
        forks.notice()
        taken.append(news.take())

    talk().execute()

    assert taken == [[]]


def test_runs_that_have_ended_are_not_kept(spans):
    news = SpoolNews()
    observers.add_observer(news)

    @otelflow.flow
    def talk(this_flow: otelflow.Flow = otelflow.INJECTED):
        this_flow.log_info("said")

    for _ in range(2_000):
        talk().execute()

    assert len(news._runs) == 1_000
    assert news.take() == []
    assert len(news._runs) == 0


@pytest.mark.parametrize("spool", ["memory", "auto"])
@pytest.mark.parametrize("sampler", ["always_on", "always_off"])
def test_a_program_keeps_no_run_that_has_ended_wherever_its_spans_wait(tmp_path, spool, sampler):
    with OtlpReceiver() as receiver:
        done = python(
            """
                import gc
                import otelflow
                from otelflow._core.runs.run import Run

                telemetry = otelflow.configure()

                @otelflow.flow
                def talk():
                    print("said")

                for _ in range(1_200):
                    talk().execute()
                telemetry.force_flush(60_000)
                gc.collect()
                print(sum(isinstance(kept, Run) for kept in gc.get_objects()) < 10)
            """,
            cwd=tmp_path,
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
            OTEL_TRACES_SAMPLER=sampler,
            OTELFLOW_SPOOL=spool,
            OTELFLOW_SPOOL_DIR=tmp_path / "spool",
        )

    assert done.stdout.splitlines()[-1] == "True", done.stderr
    assert len(receiver.spans) == (1_200 if sampler == "always_on" else 0)


def test_a_lost_run_is_told_to_observers_and_what_is_none_is_not():
    traces = TracesData()
    resource_spans = traces.resource_spans.add()
    scope_spans = resource_spans.scope_spans.add()
    for key, value in {"service.name": "billing", "service.namespace": "shop"}.items():
        resource_spans.resource.attributes.add(key=key).value.string_value = value
    for name, keys in {"flow f": "flow", "task t": "flow task", "GET /": "", "attempt 1": "flow task"}.items():
        span = scope_spans.spans.add(name=name, start_time_unix_nano=2_000_000_000, end_time_unix_nano=5_500_000_000)
        span.trace_id, span.span_id = b"\0" * 15 + b"\7", b"\0" * 7 + b"\x09"
        for key in keys.split():
            span.attributes.add(key=f"otelflow.{key}.name").value.string_value = key[0]
    runs = []

    class Ear(observers.Observer):
        def run_lost(self, run):
            runs.append(run)

    observers.add_observer(Ear())
    tell_of_lost_runs(traces.SerializeToString())

    assert runs == [
        observers.LostRun("f", None, 7, 9, 2.0, 3.5, ("shop", "billing")),
        observers.LostRun("f", "t", 7, 9, 2.0, 3.5, ("shop", "billing")),
    ]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals of POSIX")
def test_what_a_killed_program_was_doing_is_counted_once_by_those_that_come_after_it(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(source_of(PROGRAM))
    names = [f"after{number}" for number in range(3)]

    with OtlpReceiver() as receiver:
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "cwd": tmp_path}
        killed = run_python(path, "killed", **variables)
        programs = [start(sys.executable, path, name, **variables) for name in names]
        outputs = [program.communicate(timeout=100) for program in programs]

    assert killed.returncode == -signal.SIGKILL
    assert outputs == [("", "")] * 3
    assert sum(span.name == "flow nightly" for span in receiver.spans) == 4
    texts = [(tmp_path / f"{name}.prom").read_text() for name in names]
    lost = [
        'otelflow_flow_runs_total{flow="nightly",result="error",service="x"} 1.0',
        'otelflow_task_runs_total{flow="nightly",result="error",service="x",task="work"} 1.0',
        'otelflow_task_failures_total{error_type="process_lost",flow="nightly",service="x",task="work"} 1.0',
    ]
    assert [sum(line in text for text in texts) for line in lost] == [1, 1, 1]


KILLED = """
    import os, signal
    import otelflow

    otelflow.configure(service_name="billing")

    @otelflow.task
    def work():
        os.kill(os.getpid(), signal.SIGKILL)

    @otelflow.flow
    def nightly():
        work()

    nightly().execute()
    """
REPORTER = """
    import otelflow

    @otelflow.flow
    def own():
        pass

    otelflow.configure(service_name="shop")
    own().execute()
    otelflow.force_flush(60_000)  # what was lost is reported by now
    """
OUTPUTS = {"otlp": "otlp", "textfile": "textfile:x.prom", "push": "push:{url}"}
REPORTERS = {"program": ("-c", source_of(REPORTER)), "recover": ("-m", "otelflow", "recover")}


def last_errors(receiver, directory):
    """Return the services of which an output says when the last run of the flow nightly ended with an error."""
    labels = '{flow="nightly",result="error",service="(.+)"}'
    written = (directory / "x.prom").read_text() if (directory / "x.prom").exists() else ""
    of_file = re.findall(semconv.FLOW_LAST_RUN + labels, written)
    paths = [request.path for request in receiver.requests]
    of_push = [path.split("/")[3] for path in paths if path.endswith("/flow/nightly/result/error")]
    of_otlp = []
    for part in (part for request in receiver.metric_requests for part in request.resource_metrics):
        service = {attribute.key: attribute.value.string_value for attribute in part.resource.attributes}
        for metric in (metric for scope in part.scope_metrics for metric in scope.metrics):
            is_last = metric.name == semconv.FLOW_LAST_RUN
            of_otlp += [service["service.name"] for point in metric.gauge.data_points if is_last and names(point)]
    return {*of_file, *of_push, *of_otlp}


def names(point):
    """Tell whether *point* is about the flow nightly and an error."""
    return {attribute.value.string_value for attribute in point.attributes} == {"nightly", "error"}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals of POSIX")
@pytest.mark.parametrize("reporter", REPORTERS)
@pytest.mark.parametrize("output", OUTPUTS)
def test_a_killed_run_is_counted_under_the_name_of_its_service_whoever_reports_it(tmp_path, output, reporter):
    with OtlpReceiver() as receiver:
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "cwd": tmp_path}
        killed = python(KILLED, **variables)
        metrics = OUTPUTS[output].format(url=receiver.url)
        done = run_python(*REPORTERS[reporter], OTELFLOW_METRICS=metrics, **variables)
        services = last_errors(receiver, tmp_path)

    assert killed.returncode == -signal.SIGKILL
    assert done.returncode == 0, done.stderr
    assert services == {"billing"}, done.stderr
