import os
import signal
import sys
import textwrap
import time

import pytest

from otelflow import task
from otelflow.integrations.celery import make_flows
from otelflow_exporters import StoredTraces
from support.programs import end, run_python, start
from support.servers import TRACEPARENT, parents_of, wait_until

celery = pytest.importorskip("celery", reason="not installed: pip install 'otelflow[celery]'")

WORKER = """
    from celery import Celery, chain
    from celery.signals import worker_init
    from otelflow import configure, flow
    from otelflow.integrations.celery import make_flows

    app = make_flows(Celery("shop", broker="filesystem://"))
    app.conf.broker_transport_options = {"data_folder_in": "queue", "data_folder_out": "queue"}

    @app.task(bind=True, max_retries=1)
    def charge(self, amount):
        if self.request.retries == 0:
            raise self.retry(exc=LookupError(amount), countdown=0)
        return amount

    @app.task
    def add(number, other):
        return number + other

    @worker_init.connect
    def set_up(**_):
        configure(service_name="worker")

    @flow
    def order():
        charge.delay(3)
        chain(add.s(1, 2), add.s(3)).apply_async()
        app.send_task("worker.add", (1, 1))

    if __name__ == "__main__":
        configure(service_name="shop")
        order().execute()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Celery's pool forks")
def test_all_that_comes_of_an_order_is_one_trace_also_of_processes_that_end_after_each_job(tmp_path):
    (tmp_path / "worker.py").write_text(textwrap.dedent(WORKER))
    (tmp_path / "queue").mkdir()
    environment = {"OTELFLOW_STORE": tmp_path / "store", "PYTHONPATH": tmp_path}
    sent = run_python("-c", "import worker; worker.configure(); worker.order().execute()", cwd=tmp_path, **environment)
    assert (sent.returncode, sent.stderr) == (0, "")
    options = ("--concurrency", "2", "--max-tasks-per-child", "1", "--without-gossip", "--without-mingle")
    process = start(sys.executable, "-m", "celery", "-A", "worker", "worker", *options, cwd=tmp_path, **environment)

    def stored():
        (trace_id,) = {summary.trace_id for summary in StoredTraces(tmp_path / "store").summaries()}
        return StoredTraces(tmp_path / "store").load(trace_id).spans

    try:
        latest = time.monotonic() + 60
        while len(stored()) < 6 and time.monotonic() < latest:
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    finally:
        end(process)

    spans = stored()
    names = {span.span_id: span.name for span in spans}
    seen = [(span.name, names.get(span.parent_id), span.attributes.get("otelflow.job.retries")) for span in spans]
    assert sorted(seen, key=str) == [
        ("flow order", None, None),
        ("flow worker.add", "flow order", 0),
        ("flow worker.add", "flow order", 0),
        ("flow worker.add", "flow worker.add", 0),
        ("flow worker.charge", "flow order", 0),
        ("flow worker.charge", "flow order", 1),
    ]


@task
def price():
    return 0.5


@pytest.fixture(scope="module")
def app():
    app = make_flows(celery.Celery("shop", broker="memory://", backend="cache+memory://", set_as_current=False))

    @app.task(name="order")
    def order(count):
        return count * price()

    @app.task(name="fails")
    def fails():
        raise LookupError("no such fruit")

    @app.task(name="tells")
    def tells(*error):
        price()

    @app.task(name="ignores")
    def ignores():
        raise celery.exceptions.Ignore

    return app


def test_a_task_that_is_called_as_a_function_is_one(app, spans):
    assert app.tasks["order"](2) == 1.0

    assert spans.tree() == [("task price", "success", [])]


def test_an_exception_is_a_failed_run_and_celery_gets_it(app, spans):
    result = app.tasks["fails"].apply()

    assert (type(result.result), result.status) == (LookupError, "FAILURE")
    assert spans.tree() == [("flow fails", "failure", [])]


def test_what_celery_calls_of_a_failure_goes_on_in_the_trace_of_the_task_that_failed(app, spans):
    app.tasks["fails"].apply(link_error=app.tasks["tells"].s())

    assert parents_of(spans) == [("flow fails", None), ("task price", "flow fails")]


def test_a_task_of_celery_s_own_is_no_flow_and_hands_on_the_trace(app, spans):
    sent = []

    def remember(headers=None, **_):
        sent.append(headers.get("traceparent"))

    celery.signals.before_task_publish.connect(remember)
    after = app.signature("order", (2,), app=app, immutable=True)
    try:
        done = app.tasks["celery.accumulate"].apply((1, 2), headers={"traceparent": TRACEPARENT}, link=after)
    finally:
        celery.signals.before_task_publish.disconnect(remember)
        app.control.purge()  # what was sent waits for no worker

    assert (done.result, sent) == ((1, 2), [TRACEPARENT])
    assert spans.tree() == []


def test_a_task_that_says_itself_what_becomes_of_it_has_not_failed(app, spans):
    assert app.tasks["ignores"].apply().status == "IGNORED"

    assert spans.tree() == [("flow ignores", "success", [])]
    assert not spans.one("flow ignores").events  # no result that Celery does not get


class Opening(celery.Task):
    """As those that hold what all calls of a task use."""

    opened = 0

    def __call__(self, *args, **kwargs):
        self.opened += 1
        return self.run(*args, **kwargs)


def test_a_task_with_a_base_of_its_own_is_a_flow_and_keeps_what_its_base_does(app, spans):
    @app.task(base=Opening, bind=True, name="opens")
    def opens(self):
        return self.opened, self.request.id, price()

    assert opens.apply(task_id="1").result == (1, "1", 0.5)
    assert isinstance(app.tasks["opens"], Opening)
    assert spans.tree() == [("flow opens", "success", [("task price", "success", [])])]


def test_a_shared_task_with_a_base_of_its_own_is_a_flow(app, spans):
    @celery.shared_task(base=Opening, name="shared")
    def shared():
        return price()

    assert app.tasks["shared"].apply().result == 0.5

    assert spans.tree() == [("flow shared", "success", [("task price", "success", [])])]


def test_a_base_that_is_made_of_the_application_s_makes_one_flow(app, spans):
    class Own(app.Task):
        abstract = True

    @app.task(base=Own, name="own")
    def own():
        return price()

    assert own.apply().result == 0.5

    assert spans.tree() == [("flow own", "success", [("task price", "success", [])])]


def test_a_base_of_the_application_s_that_calls_the_function_itself_makes_one_flow(app, spans):
    class Own(app.Task):
        def __call__(self, *args, **kwargs):
            return [self.run(*args, **kwargs)]

    @app.task(base=Own, name="calls")
    def calls():
        return price()

    assert calls.apply().result == [0.5]
    assert calls() == [0.5]

    assert spans.tree() == [
        ("flow calls", "success", [("task price", "success", [])]),
        ("task price", "success", []),
    ]


def test_a_class_in_the_place_of_the_application_s_makes_one_flow(spans):
    app = make_flows(celery.Celery("shop", broker="memory://", set_as_current=False))

    class Own(app.Task):
        def __call__(self, *args, **kwargs):
            return [self.run(*args, **kwargs)]

    app.Task = Own

    @app.task(name="placed")
    def placed():
        return price()

    assert placed.apply().result == [0.5]

    assert spans.tree() == [("flow placed", "success", [("task price", "success", [])])]


@pytest.mark.parametrize("kind", ["class", "object"])
def test_a_task_that_is_a_class_is_a_flow(spans, kind):
    app = make_flows(celery.Celery("shop", broker="memory://", set_as_current=False))

    class Charge(celery.Task):
        """Charges people."""

        def run(self, count):
            return self.request.id, count * price()

    task = app.register_task(Charge if kind == "class" else Charge())

    assert task.apply((2,), task_id="1").result == ("1", 1.0)
    assert isinstance(task, Charge)
    assert (task.name, type(task).__doc__) == (f"{__name__}.Charge", "Charges people.")
    assert spans.tree() == [(f"flow {__name__}.Charge", "success", [("task price", "success", [])])]


def test_a_task_that_calls_itself_as_a_function_is_one_flow(app, spans):
    @app.task(bind=True, name="counts")
    def counts(self, number):
        return [] if number == 0 else [number, *self(number - 1)]

    assert counts.apply((2,)).result == [2, 1]

    assert spans.tree() == [("flow counts", "success", [])]


def test_what_the_application_s_own_class_does_around_a_task_is_done(spans):
    app = make_flows(celery.Celery("shop", broker="memory://", set_as_current=False, task_cls=Opening))

    @app.task(bind=True, name="app opens")
    def opens(self):
        return self.opened

    assert opens.apply().result == 1

    assert spans.tree() == [("flow app opens", "success", [])]


@pytest.fixture
def own_logging():
    """Celery leaves logging as it is."""

    def leave_it(**_):
        pass

    celery.signals.setup_logging.connect(leave_it)
    yield
    celery.signals.setup_logging.disconnect(leave_it)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("own_logging")
def test_the_spans_of_an_instrumentation_are_the_parents(app, spans):
    instrumentation = pytest.importorskip("opentelemetry.instrumentation.celery", reason="otelflow[frameworks]")
    from celery.contrib.testing.worker import start_worker

    from otelflow._core.process import provider

    instrumentation.CeleryInstrumentor().instrument(tracer_provider=provider._chosen.override)
    try:
        with start_worker(app, perform_ping_check=False, pool="solo", loglevel="ERROR", shutdown_timeout=20):
            app.tasks["order"].apply_async((2,))
            wait_until(lambda: spans.named("flow order") and spans.open_spans == 0)
    finally:
        instrumentation.CeleryInstrumentor().uninstrument()

    assert parents_of(spans) == [
        ("apply_async/order", None),
        ("run/order", "apply_async/order"),
        ("flow order", "run/order"),
        ("task price", "flow order"),
    ]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Celery's pool forks")
def test_a_process_of_the_pool_delivers_also_what_a_provider_of_the_application_keeps(program):
    program.write(
        "worker.py",
        """
        from celery import Celery
        from celery.signals import worker_process_init
        from otelflow.integrations.celery import make_flows

        app = make_flows(Celery("shop", broker="filesystem://"))
        app.conf.broker_transport_options = {"data_folder_in": "queue", "data_folder_out": "queue"}

        @app.task
        def charge(amount):
            return amount

        worker_process_init.connect(lambda **_: provide(), weak=False)
        """,
    )
    (program.folder / "queue").mkdir()
    sent = run_python("-c", "import worker; worker.charge.delay(3)", cwd=program.folder, PYTHONPATH=program.folder)
    assert sent.returncode == 0, sent.stderr
    options = ("--concurrency", "1", "--max-tasks-per-child", "1", "--without-gossip", "--without-mingle")
    program.start_command([sys.executable, "-m", "celery", "-A", "worker", "worker", *options])
    try:
        wait_until(lambda: program.spans, seconds=60)
    finally:
        program.send(signal.SIGTERM)
        program.done()

    assert program.results() == [("flow worker.charge", "success")]
