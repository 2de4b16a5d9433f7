"""One choice says how metrics get out; another one takes its place."""

import asyncio
import socket
import subprocess
import sys

import pytest
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry, Counter, generate_latest

from otelflow import flow, metrics, semconv, task
from otelflow._core.process import process
from otelflow.errors import ConfigurationError
from otelflow.metrics._outputs import parse
from support.metrics import OPENMETRICS, certified, get, pushed, python, samples, value


@flow
def counted_flow():
    return 1


@task
def counted_task():
    return 1


def test_another_choice_takes_the_place_of_the_first(use):
    first = use("pull:0")
    address = first.address
    second = use("pull:localhost:0")

    counted_flow().execute()

    assert value(get(second.address)[1], semconv.FLOW_RUNS, flow="counted_flow", result="success") == 1
    with pytest.raises(OSError, match="refused"):
        get(address)
    assert use("off") is None
    assert metrics.in_use() is None


def test_a_wsgi_application_can_mount_them(use):
    registry = CollectorRegistry()
    use(registry)
    counted_flow().execute()
    heads = []

    body = b"".join(
        metrics.wsgi_app()({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, lambda status, headers: heads.append(status))
    )

    assert heads == ["200 OK"]
    assert value(body.decode(), semconv.FLOW_RUNS, flow="counted_flow", result="success") == 1


def test_an_asgi_application_can_mount_them_without_any_choice(use):
    app = metrics.asgi_app()
    counted_flow().execute()
    sent = []

    async def ask():
        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http",
            "method": "GET",
            "path": "/",
            "query_string": b"",
            "headers": [(b"accept", OPENMETRICS.encode())],
        }
        await app(scope, receive, send)

    asyncio.run(ask())

    assert sent[0]["status"] == 200
    assert b'otelflow_flow_runs_total{flow="counted_flow",result="success"} 1.0' in sent[1]["body"]


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [
        ("pul", "did you mean 'pull'"),
        ("prometheus", "is no output"),
        ("registry:x", "takes no place"),
        ("pull:host:port", "is no address"),
        ("pull:70000", "is no address"),
        ("pull:http://127.0.0.1:8000/metrics", "is no address"),
        ("push:ftp://x", "is no address of a Pushgateway"),
        ("textfile", "names no file"),
        ("textfile:/tmp/metrics.txt", "names no file"),
        ("textfile:/no/such/folder/metrics.prom", "create it first"),
        ("multiprocess", "PROMETHEUS_MULTIPROC_DIR"),
        (7, "must be a text"),
    ],
)
def test_a_choice_that_does_not_exist_is_one_error_with_the_cure(wanted, complaint, use):
    with pytest.raises(ConfigurationError, match=complaint):
        use(wanted)

    assert metrics.in_use() is None


def test_a_bad_choice_leaves_the_good_one_in_use(use):
    good = use("pull:0")

    with pytest.raises(ConfigurationError):
        use("push:ftp://x")

    assert metrics.in_use() is good
    assert get(good.address)[1]


def test_the_environment_chooses(receiver):
    done = python("metrics.use(); order().execute()", OTELFLOW_METRICS=f"push:{receiver.url}")

    assert done.returncode == 0, done.stderr
    assert len(receiver.requests) == 3


def test_configure_takes_the_choice_and_its_telemetry_flushes_and_ends_it():
    body = """
        import otelflow
        telemetry = otelflow.configure(metrics='pull:0', service_name='billing')
        again = otelflow.configure()
        order().execute()
        print(telemetry.metrics.address is not None, again.metrics is telemetry.metrics, telemetry.force_flush())
        telemetry.shutdown()
        print(metrics.in_use())
    """

    done = python(body)

    assert (done.stdout, done.stderr) == ("True True True\nNone\n", "")


def test_configure_names_the_variable_that_is_wrong():
    done = python("import otelflow; otelflow.configure()", OTELFLOW_METRICS="prometeus")

    assert done.returncode == 1
    assert "OTELFLOW_METRICS=prometeus is no output for metrics" in done.stderr.splitlines()[-1]


def test_they_can_be_mounted_by_who_has_imported_otelflow_alone():
    program = "import otelflow; print(callable(otelflow.metrics.asgi_app()), callable(otelflow.testing.flow_trace))"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert done.stdout == "True True\n", done.stderr


def test_a_program_that_wants_no_metrics_does_not_load_prometheus_client():
    body = """
        import subprocess
        program = "import sys, otelflow; otelflow.configure(); print('prometheus_client' in sys.modules)"
        print(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30).stdout)
    """

    assert python(body).stdout.split() == ["False"]


def test_with_a_provider_of_the_application_every_run_counts(receiver):
    body = f"""
        import otelflow
        from opentelemetry import trace
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
        resource = Resource.create({{"service.name": "host"}})
        trace.set_tracer_provider(TracerProvider(resource=resource, sampler=ALWAYS_OFF))
        telemetry = otelflow.configure(metrics='push:{receiver.url}')
        for _ in range(10):
            order().execute()
        print(telemetry.is_host)
    """

    done = python(body)

    assert (done.stdout, done.stderr) == ("True\n", "")
    assert (
        value(pushed(receiver)["/metrics/job/host/flow/order"], semconv.FLOW_RUNS, flow="order", result="success") == 10
    )


def scraped(chosen):
    return value(get(chosen.address)[1], semconv.FLOW_RUNS, flow="counted_flow", result="success")


def test_another_word_for_the_same_place_changes_nothing(use):
    first = use("pull:0")
    port = first.output.port
    again = use(f"PULL : 127.0.0.1:{port}")

    assert again.address == f"http://127.0.0.1:{port}/metrics"
    assert get(again.address)[1]
    assert use(f"pull:{port}") is again


def test_a_wider_address_takes_over_the_port(use, caplog):
    port = use("pull:0").output.port

    wider = use(f"pull:0.0.0.0:{port}")

    assert get(f"http://127.0.0.1:{port}/metrics")[1]
    assert wider.address == f"http://0.0.0.0:{port}/metrics"
    assert not caplog.records


def test_an_address_that_cannot_be_had_leaves_the_old_endpoint(use):
    first = use("pull:0")
    old = first.address

    assert use(f"pull:203.0.113.1:{first.output.port}").address == old
    assert get(old)[1]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert use(f"pull:{taken.getsockname()[1]}").address == old
    assert get(old)[1]


def test_a_port_that_is_taken_leaves_a_registry_that_was_chosen_before(use):
    registry = CollectorRegistry()
    use(registry)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        use(f"pull:{taken.getsockname()[1]}")

    counted_flow().execute()

    labels = {"flow": "counted_flow", "result": "success"}
    assert registry.get_sample_value(semconv.FLOW_RUNS, labels) == 1


def test_who_shuts_down_a_choice_that_was_replaced_does_not_end_the_new_one(use, tmp_path):
    first = use(f"textfile:{tmp_path}/first.prom", resource=Resource({"service.name": "test"}))
    second = use(f"textfile:{tmp_path}/second.prom")

    first.shutdown()
    counted_flow().execute()

    assert metrics.in_use() is second
    assert second.aggregator.hooks.flow_ended is not None


def test_another_choice_goes_on_with_the_numbers_and_the_open_runs(use):
    use("registry")

    @flow
    def under_way():
        chosen = use("pull:0")
        return value(get(chosen.address)[1], semconv.FLOW_RUNS_IN_PROGRESS, flow="under_way")

    counted_flow().execute()
    in_progress = under_way().execute().flow_return_value

    assert in_progress == 1
    assert scraped(metrics.in_use()) == 1
    counted_flow().execute()
    assert scraped(use("pull:localhost:0")) == 2


def test_a_call_without_a_choice_leaves_the_one_that_was_given():
    body = """
        import otelflow
        from prometheus_client import CollectorRegistry
        registry = CollectorRegistry()
        otelflow.configure(metrics=registry)
        print(otelflow.configure().metrics.registry is registry)
        otelflow.configure(metrics="off")
        print(otelflow.configure().metrics)
    """

    done = python(body, OTELFLOW_METRICS="pull:0")

    assert (done.stdout, done.stderr) == ("True\nNone\n", "")


def test_a_certificate_and_a_number_of_series_that_come_later_take_effect(tmp_path):
    certificate, key = certified(tmp_path)
    body = f"""
        import otelflow
        first = otelflow.configure(metrics="pull:0")
        files = {{"metrics_certificate": {str(certificate)!r}, "metrics_key": {str(key)!r}}}
        second = otelflow.configure(**files, metrics_series=7)
        print(second.metrics.address.partition(":")[0], second.metrics.aggregator.limit)
        print(otelflow.configure().metrics is second.metrics)
    """

    assert python(body).stdout == "https 7\nTrue\n"


def test_an_application_mounted_before_the_choice_shows_what_is_chosen_later(use):
    show = metrics.wsgi_app()
    counted_flow().execute()

    def body():
        return b"".join(show({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, lambda *_: None)).decode()

    before = value(body(), semconv.FLOW_RUNS, flow="counted_flow", result="success")
    use("pull:0")
    counted_flow().execute()
    after = value(body(), semconv.FLOW_RUNS, flow="counted_flow", result="success")
    query = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "QUERY_STRING": "name[]=" + semconv.FLOW_RUNS}
    restricted = b"".join(show(query, lambda *_: None)).decode()

    assert (before, after) == (1, 2)
    assert {name for name, _ in samples(restricted)} == {semconv.FLOW_RUNS}


def test_a_name_for_the_service_wins_over_the_one_of_a_host(receiver):
    body = f"""
        import otelflow
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        trace.set_tracer_provider(TracerProvider())
        otelflow.configure(service_name="mine", metrics='push:{receiver.url}')
        otelflow.configure()
        never().execute()
    """

    assert python(body).stderr == ""
    assert set(pushed(receiver)) >= {"/metrics/job/mine/flow/never"}
    assert all(path.startswith("/metrics/job/mine") for path in pushed(receiver))


def test_a_message_names_the_variable_that_the_choice_came_from():
    done = python("metrics.use()", OTELFLOW_METRICS="push:ftp://x")

    assert "OTELFLOW_METRICS=push:ftp://x is no address" in done.stderr.splitlines()[-1]


# One piece of what the process knows


def test_a_process_that_forgets_everything_counts_no_more_and_delivers_nothing(receiver):
    receiver.delay = 30
    body = f"""
        import time
        from otelflow._core.process import forks, process
        from otelflow._core.runs import observers

        registry = metrics.use("registry").registry
        process.reset()
        print(metrics.in_use(), registry.get_sample_value("otelflow_build_info"))

        metrics.use("push:{receiver.url}")
        charge(1)
        began = time.monotonic()
        process.reset()
        charge(1)
        print(metrics.in_use(), time.monotonic() - began < 1)
    """

    done = python(body)

    assert (done.returncode, done.stdout, done.stderr) == (0, "None None\nNone True\n", "")
    assert receiver.requests == []


CYCLES = """
    import gc, threading
    from multiprocessing import util
    from otelflow._core.process import forks, process
    from otelflow._core.runs import observers

    def cycle():
        metrics.use({choice!r})
        order().execute()
        metrics.in_use().shutdown()

    def left():
        gc.collect()
        registers = (forks._owners, forks._locks, util._afterfork_registry, util._finalizer_registry, process._pieces)
        return [len(register) for register in (*registers, observers.observed.observers, threading.enumerate())]

    for _ in range(3):  # what is made once
        cycle()
    before, objects = left(), len(gc.get_objects())
    for _ in range(5):
        cycle()
    print(left() == before, len(gc.get_objects()) - objects < 50)
"""


@pytest.mark.parametrize("choice", ["pull:0", "registry", "textfile", "push", "otlp", "multiprocess"])
def test_metrics_that_are_shut_down_leave_nothing_behind(choice, receiver, tmp_path):
    places = {"textfile": f"textfile:{tmp_path}", "push": f"push:{receiver.url}"}
    environment = {"PROMETHEUS_MULTIPROC_DIR": tmp_path} if choice == "multiprocess" else {}

    done = python(
        CYCLES.format(choice=places.get(choice, choice)), OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, **environment
    )

    assert (done.returncode, done.stdout) == (0, "True True\n"), done.stderr


@pytest.mark.parametrize(
    ("word", "other"),
    [
        ("pull", "PULL : 127.0.0.1:9464"),
        ("push", "push:http://127.0.0.1:9091"),
        ("push:localhost:9091", "push:http://localhost:9091"),
        ("registry", "Registry"),
        ("off", " "),
    ],
)
def test_two_words_for_the_same_output_are_the_same_choice(word, other):
    resource = Resource({"service.name": "test"})

    assert parse(word, resource) == parse(other, resource)
    assert parse(word, resource) != parse("multiprocess", resource)


@pytest.mark.parametrize("word", ["push", "textfile:jobs.prom", "otlp"])
def test_another_service_is_another_choice(word):
    assert parse(word, Resource({"service.name": "a"})) != parse(word, Resource({"service.name": "b"}))


# What is chosen, step by step


def body_of(application):
    return b"".join(application({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, lambda *_: None)).decode()


def test_a_flush_says_whether_the_numbers_arrived_and_an_end_delivers_the_last_ones(use, tmp_path):
    chosen = use(f"textfile:{tmp_path}/jobs.prom")
    assert chosen.flush(20) is True
    counted_flow().execute()

    chosen.shutdown()

    assert 'otelflow_flow_runs_total{flow="counted_flow",result="success"' in (tmp_path / "jobs.prom").read_text()
    assert metrics.in_use() is None
    assert use(f"textfile:{tmp_path}/jobs.prom") is not chosen
    assert chosen.aggregator.run_count == 1
    counted_flow().execute()
    assert chosen.aggregator.run_count == 1


def test_numbers_that_cannot_be_delivered_are_no_flush(use, tmp_path):
    (tmp_path / "gone").mkdir()
    chosen = use(f"textfile:{tmp_path}/gone/jobs.prom")
    (tmp_path / "gone").rmdir()

    assert chosen.flush(20) is False


def test_a_process_that_forgets_everything_leaves_registry_and_file_alone(use, tmp_path):
    registry = CollectorRegistry()
    in_registry = use(registry)
    process.reset()
    assert "otelflow" not in generate_latest(registry).decode()
    counted_flow().execute()
    assert in_registry.aggregator.run_count == 0

    use(f"textfile:{tmp_path}/jobs.prom")
    counted_task()
    process.reset()
    assert metrics.in_use() is None
    assert not (tmp_path / "jobs.prom").exists()


def test_a_registry_that_has_such_a_metric_is_refused_with_the_cure(use):
    registry = CollectorRegistry()
    Counter("otelflow_flow_runs", "", registry=registry)

    with pytest.raises(ConfigurationError, match="give otelflow a CollectorRegistry of its own"):
        use(registry)


def test_an_argument_stays_in_force_and_wins_over_the_variable(use, monkeypatch):
    registry = CollectorRegistry()
    chosen = use(registry)
    monkeypatch.setenv("OTELFLOW_METRICS", "pull:0")

    assert use() is chosen
    assert use("off") is None
    assert use() is None


def test_the_variable_chooses_when_nobody_has(use, monkeypatch):
    monkeypatch.setenv("OTELFLOW_METRICS", "pull:0")
    process.reset()

    assert use().address.startswith("http://127.0.0.1:")


def test_without_any_choice_what_is_mounted_is_counted_and_stays(use):
    application = metrics.wsgi_app()
    mounted = metrics.in_use()
    counted_flow().execute()

    assert 'otelflow_flow_runs_total{flow="counted_flow",result="success"} 1.0' in body_of(application)
    assert body_of(mounted.wsgi_app()) == body_of(application)
    assert callable(mounted.asgi_app())
    assert metrics.wsgi_app() is not None
    assert use() is mounted is metrics.in_use()
    assert metrics._state.argument is None, "mounting is no choice"


def test_what_is_mounted_shows_what_is_in_use_and_an_end_leaves_nothing(use):
    registry = CollectorRegistry()
    chosen = use(registry)
    application = metrics.wsgi_app()

    assert metrics.in_use() is chosen, "there was a choice"
    assert "otelflow_build_info" in body_of(application)
    chosen.shutdown()
    assert body_of(application) == ""
    assert generate_latest(registry) == b""


@pytest.mark.parametrize(
    ("argument", "variable", "message"),
    [
        ("pulll", None, "^metrics=pulll is no output for metrics; did you mean 'pull'"),
        (None, "pulll", "^OTELFLOW_METRICS=pulll is no output"),
        (7, None, "^metrics must be a text"),
        ("multiprocess", None, "^metrics=multiprocess needs"),
    ],
)
def test_an_error_begins_with_what_made_the_choice(use, monkeypatch, argument, variable, message):
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    if variable is not None:
        monkeypatch.setenv("OTELFLOW_METRICS", variable)
        process.reset()

    with pytest.raises(ConfigurationError, match=message):
        use(argument)


def test_an_error_of_a_file_keeps_its_own_words(use, monkeypatch):
    monkeypatch.setenv("OTELFLOW_METRICS", "pull:0")
    monkeypatch.setenv("OTELFLOW_METRICS_CERTIFICATE", "/nowhere")
    process.reset()

    with pytest.raises(ConfigurationError, match=r"^metrics over TLS needs metrics_certificate and metrics_key"):
        use()


def test_as_many_series_as_the_variable_says_are_told_apart(use, monkeypatch):
    monkeypatch.setenv("OTELFLOW_METRICS_SERIES", "7")
    process.reset()

    assert use(CollectorRegistry()).aggregator.limit == 7


def test_an_output_that_cannot_begin_leaves_nothing_in_its_registry(use):
    first = use("pull:0")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert use(f"pull:127.0.0.1:{taken.getsockname()[1]}") is first

    assert first.flush(1)
    assert get(first.address)[1]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("pulll", "^OTELFLOW_METRICS=pulll is no output"),
        ("multiprocess", "^OTELFLOW_METRICS=multiprocess needs"),
        (
            "textfile:/nowhere/x.prom",
            "^OTELFLOW_METRICS=textfile:/nowhere/x.prom: the folder of that file is not there",
        ),
        ("pull:nowhere:x", "^OTELFLOW_METRICS=pull:nowhere:x is no address"),
        ("push:", None),
        ("registry", None),
        ("pull", None),
        ("", None),
    ],
)
def test_a_setting_can_be_looked_at_and_nothing_is_opened(monkeypatch, setting, message):
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    monkeypatch.setenv("OTELFLOW_METRICS", setting)
    process.reset()

    if message is None:
        metrics.check()
    else:
        with pytest.raises(ConfigurationError, match=message):
            metrics.check()
    assert metrics.in_use() is None


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("OTEL_METRICS_EXPORTER", "foo", "^OTEL_METRICS_EXPORTER: nothing is registered as 'foo'"),
        ("OTEL_METRICS_EXPORTER", "otlp,console", "name one exporter"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "foo", "^OTEL_EXPORTER_OTLP_ENDPOINT=foo is no endpoint"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "0", "^OTEL_METRIC_EXPORT_INTERVAL must be"),
    ],
)
def test_a_look_at_metrics_over_otlp_sees_wrong_variables(monkeypatch, name, value, message):
    monkeypatch.setenv("OTELFLOW_METRICS", "otlp")
    monkeypatch.setenv(name, value)
    process.reset()

    with pytest.raises(ConfigurationError, match=message):
        metrics.check()
