"""The numbers of a job are pushed to a gateway, in groups that name no run."""

import time

import pytest
from opentelemetry.sdk.resources import Resource

from otelflow import semconv
from otelflow.errors import ConfigurationError
from otelflow.metrics._outputs import push
from support.metrics import pushed, python, value


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
