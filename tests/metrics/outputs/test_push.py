"""The numbers of a job are pushed to a gateway, in groups that name no run."""

import base64
import threading
import time
from types import SimpleNamespace
from urllib.error import HTTPError

import pytest
from opentelemetry.sdk.resources import Resource

from otelflow import flow, semconv
from otelflow._core.process import losses
from otelflow.errors import ConfigurationError
from otelflow.metrics._outputs import push
from support.metrics import pushed, python, value
from support.receivers import dripping


def test_a_run_is_pushed_in_groups_that_name_the_job_and_the_flow_and_no_run(receiver):
    done = python(f"metrics.use('push:{receiver.url}'); order().execute()", OTEL_SERVICE_NAME="billing")

    groups = pushed(receiver)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(groups) == {
        "/metrics/job/billing",
        "/metrics/job/billing/flow/order",
        "/metrics/job/billing/flow/order/result/success",
    }
    of_flow = groups["/metrics/job/billing/flow/order"]
    assert value(of_flow, semconv.FLOW_RUNS, flow="order", result="success") == 1
    assert value(of_flow, semconv.TASK_RUNS, flow="order", task="charge", result="failure") == 1
    assert semconv.FLOW_LAST_RUN not in of_flow
    assert semconv.FLOW_RUNS_IN_PROGRESS not in of_flow
    last = value(
        groups["/metrics/job/billing/flow/order/result/success"],
        semconv.FLOW_LAST_RUN,
        flow="order",
        result="success",
    )
    assert time.time() - 60 < last <= time.time()


def test_a_failure_is_pushed_too_and_leaves_the_group_of_the_last_success_alone(receiver):
    done = python(f"metrics.use('push:{receiver.url}'); fails().execute()", OTEL_SERVICE_NAME="billing")

    groups = pushed(receiver)
    assert done.returncode == 1
    assert value(groups["/metrics/job/billing/flow/fails"], semconv.FLOW_RUNS, flow="fails", result="failure") == 1
    assert "/metrics/job/billing/flow/fails/result/failure" in groups
    assert not any("success" in group for group in groups)


def test_a_run_that_the_exit_cuts_short_is_pushed_as_cancelled(receiver):
    body = f"""
        import threading, time
        metrics.use('push:{receiver.url}')

        @flow
        def endless():
            time.sleep(60)

        threading.Thread(target=endless().execute, daemon=True).start()
        time.sleep(0.2)
    """

    done = python(body, OTEL_SERVICE_NAME="billing")

    assert done.returncode == 0, done.stderr
    group = pushed(receiver)["/metrics/job/billing/flow/endless"]
    assert value(group, semconv.FLOW_RUNS, flow="endless", result="cancellation") == 1


def test_a_flow_in_a_task_is_delivered_when_it_has_ended(receiver):
    body = f"""
        @task
        def wraps():
            never().execute()
            import time
            deadline = time.monotonic() + 10
            while metrics.in_use().output._pushed == {{}} and time.monotonic() < deadline:
                time.sleep(0.01)
            print(bool(metrics.in_use().output._pushed))
        metrics.use('push:{receiver.url}')
        wraps()
    """

    assert python(body).stdout == "True\n"


def test_timestamps_are_pushed_first(receiver):
    python(f"metrics.use('push:{receiver.url}'); never().execute()")

    assert next(path for path, _, _ in receiver.requests) == "/metrics/job/test/flow/never/result/success"


@pytest.mark.parametrize(("name", "path"), [(".", "flow@base64/Lg"), ("..", "flow@base64/Li4")])
def test_a_flow_called_by_a_dot_is_pushed_in_a_path_that_survives(name, path, receiver):
    python(
        f"from otelflow import Flow; metrics.use('push:{receiver.url}'); "
        f"Flow(flow_name={name!r}).set_flow_target(lambda: 1).execute()"
    )

    assert f"/metrics/job/test/{path}/result/success" in pushed(receiver)


def test_a_password_for_the_gateway_goes_into_a_header_and_not_into_a_warning(receiver):
    address = receiver.url.replace("http://", "http://me:s3cret@")
    receiver.status = 500

    done = python(f"metrics.use('push:{address}'); order().execute()")

    assert {headers["Authorization"] for _, _, headers in receiver.requests} == {"Basic bWU6czNjcmV0"}
    assert "s3cret" not in done.stderr
    assert "did not arrive" in done.stderr


def test_a_gateway_that_does_not_answer_keeps_no_flow_waiting(receiver):
    receiver.delay = 30
    body = f"""
        import time
        metrics.use('push:{receiver.url}')
        began = time.monotonic()
        order().execute()
        print(time.monotonic() - began < 1)
    """
    began = time.monotonic()

    done = python(body)

    assert time.monotonic() - began < 20
    assert (done.returncode, done.stdout) == (0, "True\n")
    assert "did not arrive" in done.stderr or "no time left" in done.stderr


def test_a_group_that_the_gateway_refuses_keeps_no_other_from_arriving(receiver):
    receiver.status = lambda request: 409 if request.path.endswith("/flow/fails") else 200
    body = f"""
        from otelflow import Flow
        metrics.use('push:{receiver.url}')
        for name in ("a", "fails", "z"):
            Flow(flow_name=name).set_flow_target(lambda: 1).execute()
    """

    done = python(body)

    arrived = [path for path, _, _ in receiver.requests]
    assert "did not arrive" in done.stderr
    assert "fails" in done.stderr
    assert {"/metrics/job/test", "/metrics/job/test/flow/a", "/metrics/job/test/flow/z"} <= set(arrived)
    assert "/metrics/job/test/flow/z/result/success" in arrived


@pytest.mark.parametrize(
    "where", ["ftp://host", "http://", "http://host:0", "http://a b", "http://[", "http://host:99999"]
)
def test_an_address_that_is_none_is_refused(where):
    with pytest.raises(ConfigurationError, match="is no address of a Pushgateway"):
        push.Push.from_place(where, Resource({}))


@pytest.mark.parametrize(
    ("place", "url", "username", "password"),
    [
        ("", "http://127.0.0.1:9091", None, ""),
        ("gateway:9091", "http://gateway:9091", None, ""),
        ("https://gateway/prefix", "https://gateway/prefix", None, ""),
        ("http://deploy:p%40ss@gateway:1", "http://gateway:1", "deploy", "p@ss"),
        ("d%20e@gateway", "http://gateway", "d e", ""),
    ],
)
def test_a_place_is_the_address_of_a_gateway_perhaps_with_a_password(place, url, username, password):
    choice = push.Push.from_place(place, Resource({"service.name": "billing"}))

    assert choice == push.Push(url, "billing", username, password)
    assert "p@ss" not in repr(choice)


# In this process


class Gateway:
    """What a gateway was told: (group, seconds, metrics) of each push; it refuses the groups with these flows."""

    def __init__(self, monkeypatch, refuses=()):
        self.pushes = []
        self.refuses = refuses
        monkeypatch.setattr(push, "push_to_gateway", self.take)

    def take(self, url, job, collector, key, timeout, handler):
        group = "/".join(key.values())
        names = [family.name for family in collector.collect()]
        self.pushes.append((group, timeout, names))
        if group in self.refuses:
            raise HTTPError(url, 400, "Bad Request", {}, None)

    @property
    def groups(self):
        groups = [group for group, _, _ in self.pushes]
        self.pushes.clear()
        return groups


@pytest.fixture
def pushing(counted):
    outputs = []

    def make(address="http://gateway"):
        choice = push.Push.from_place(address, Resource({"service.name": "billing"}))
        outputs.append(choice.open(counted.aggregator))
        return outputs[-1]

    yield make
    for output in outputs:
        output.close(deliver=False)


def soon():
    return time.monotonic() + 5


@flow
def fine():
    """Succeed."""


@flow
def other():
    """Succeed, too."""


def test_only_groups_with_new_numbers_are_pushed_again(pushing, monkeypatch):
    gateway, output = Gateway(monkeypatch), pushing()
    fine().execute()
    other().execute()
    output.deliver(soon())
    assert gateway.groups == ["fine/success", "other/success", "fine", "other", ""]

    output.deliver(soon())
    assert gateway.groups == []
    fine().execute()
    output.deliver(soon())
    assert gateway.groups == ["fine/success", "fine"]
    losses.lost("traces", "queue_full")
    output.deliver(soon())
    assert gateway.groups == [""]


def test_each_group_has_the_numbers_that_are_its_own(pushing, monkeypatch):
    gateway, output = Gateway(monkeypatch), pushing()
    fine().execute()
    output.deliver(soon())

    names = {group: names for group, _, names in gateway.pushes}
    assert names["fine/success"] == [semconv.FLOW_LAST_RUN, semconv.FLOW_LAST_RUN_DURATION]
    of_flows = [semconv.FLOW_RUNS, semconv.FLOW_RUN_DURATION, semconv.TASK_RUNS, semconv.TASK_RUN_DURATION]
    counters = [semconv.TASK_FAILURES, semconv.FLOW_RETRIES, semconv.TASK_RETRIES, semconv.TASK_RESULTS_REUSED]
    assert names["fine"] == [name.removesuffix("_total") for name in (*of_flows, *counters)]
    of_process = [semconv.SCHEDULE_MISSED_RUNS, semconv.LIMIT_PASSES, semconv.LIMIT_WAIT]
    of_process += [semconv.TELEMETRY_DROPPED, semconv.LISTENER_ERRORS, semconv.BUILD_INFO]
    assert names[""] == [name.removesuffix("_total") for name in of_process]


def test_a_group_that_is_refused_costs_no_other_and_is_pushed_again(pushing, monkeypatch):
    gateway, output = Gateway(monkeypatch, refuses=("fine", "other")), pushing()
    fine().execute()
    other().execute()

    with pytest.raises(ConnectionError) as refusal:
        output.deliver(soon())

    assert str(refusal.value) == "HTTP Error 400: Bad Request for {'flow': 'fine'}"
    assert gateway.groups == ["fine/success", "other/success", "fine", "other", ""]
    gateway.refuses = ()
    output.deliver(soon())
    assert gateway.groups == ["fine", "other"]


def test_a_child_pushes_last_runs_only(pushing, monkeypatch):
    gateway, output = Gateway(monkeypatch), pushing()
    output.aggregator.begin_anew()
    fine().execute()

    output.deliver(soon())

    assert gateway.groups == ["fine/success"]


def test_each_push_has_two_seconds_or_what_is_left(pushing, monkeypatch):
    now = iter([100.0, 103.5, 104.0])
    monkeypatch.setattr(push, "clock", SimpleNamespace(monotonic=lambda: next(now)))
    gateway, output = Gateway(monkeypatch), pushing()
    fine().execute()

    with pytest.raises(TimeoutError, match="the gateway is too slow"):
        output.deliver(104.0)

    assert [seconds for _, seconds, _ in gateway.pushes] == [2.0, 0.5]


def test_the_password_goes_to_the_gateway_and_into_no_warning(pushing, receiver, caplog):
    output = pushing(receiver.url.replace("http://", "http://deploy:s3cr3t@"))
    fine().execute()

    assert output.flush(20)

    credentials = base64.b64encode(b"deploy:s3cr3t").decode()
    assert {request.headers["Authorization"] for request in receiver.requests} == {f"Basic {credentials}"}
    receiver.status = 500
    fine().execute()
    assert not output.flush(20)
    (message,) = caplog.messages
    assert message.startswith(f"Metrics for the Pushgateway http://127.0.0.1:{receiver.port} did not arrive")
    assert "s3cr3t" not in caplog.text


def test_a_gateway_whose_answer_drips_is_too_slow(pushing, monkeypatch):
    monkeypatch.setattr(push, "_TIMEOUT_SECONDS", 0.5)
    results = []

    def deliver():
        with dripping(b"HTTP/1.1 ") as url:  # a status that never ends
            output = pushing(url)
            fine().execute()
            try:
                results.append(output.deliver(soon()))
            except OSError as error:
                results.append(str(error))

    thread = threading.Thread(target=deliver, daemon=True)
    thread.start()
    thread.join(20)

    assert results == ["timed out"]


def test_a_label_that_would_be_a_folder_is_encoded(pushing, receiver):
    output = pushing(receiver.url)
    for name in (".", "..", "..."):
        flow(lambda: None, flow_name=name)().execute()

    assert output.flush(20)

    parts = {part for request in receiver.requests for part in request.path.partition("/flow")[2].split("/")[1:2]}
    assert {"Lg", "Li4", "..."} <= parts
    assert not {".", ".."} & parts


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "foo://proxy:1", "http://my proxy:80"])
def test_a_proxy_that_keeps_the_numbers_from_the_gateway_is_named_by_its_variable(proxy):
    variables = {"HTTP_PROXY": proxy, "http_proxy": proxy, "no_proxy": "", "NO_PROXY": ""}
    done = python("metrics.use('push:http://gateway.example:9091'); order().execute()", **variables)

    assert done.returncode == 0
    assert (
        "http://gateway.example:9091 did not arrive (ConnectionError: by the proxy that http_proxy names: "
        in done.stderr
    )
