"""A cluster that is not there, or says nothing: what is waited for is told at once, and the wait has an end."""

import logging
import socket
import threading

import pytest

from otelflow import flow, task
from otelflow._core.process import losses
from otelflow.errors import NotSubmittable
from otelflow.runners import DaskTaskRunner, RayTaskRunner, _reaching
from support.ports import free_ports
from support.programs import python

PATIENCE = 60
# What a server of HTTP/2 says first: settings, of which it has none
GREETING = bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))


@task
def double(number):
    return 2 * number


def errors_on(runner):
    """What becomes of two tasks there."""

    @flow(task_runner=runner)
    def doubles():
        return [future.exception() for future in double.map([1, 2])]

    return doubles().execute().flow_return_value


@pytest.fixture
def silent_port():
    """A port that takes connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_ray_cluster_that_is_not_there_is_told_of_at_once_and_tried_for_a_bounded_time(scheme, monkeypatch, caplog):
    pytest.importorskip("ray")
    monkeypatch.setattr(_reaching, "SECONDS", 0.5)
    address = f"{scheme}127.0.0.1:{free_ports(1)[0]}"

    errors = errors_on(RayTaskRunner(address))

    assert {type(error) for error in errors} == {NotSubmittable}
    assert f"nothing has answered at {address} for 0 s: [Errno 111] Connection refused" in str(errors[0])
    assert [message for message in caplog.messages if "where tasks are to run" in message] == [
        f"Nothing answers at {address}, where tasks are to run; it is tried for 0 s"
    ]


def test_the_address_that_the_environment_names_counts(monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setattr(_reaching, "SECONDS", 0)
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{free_ports(1)[0]}")

    assert "nothing has answered at 127.0.0.1:" in str(errors_on("ray")[0])


def test_one_that_begins_meanwhile_is_reached(caplog):
    (port,) = free_ports(1)
    begun = threading.Event()

    def begin():
        begun.wait(PATIENCE)
        with socket.create_server(("127.0.0.1", port)) as server:
            server.settimeout(PATIENCE)
            with server.accept()[0] as connection:
                connection.sendall(GREETING)

    class Handler(logging.Handler):
        def emit(self, record):
            begun.set()

    handler, thread = Handler(), threading.Thread(target=begin)
    losses.logger.addHandler(handler)
    thread.start()
    try:
        _reaching.reach("head", "127.0.0.1", port, has_tls=False)
    finally:
        losses.logger.removeHandler(handler)
        begun.set()
        thread.join(PATIENCE)

    assert begun.is_set()
    assert not thread.is_alive()


def test_a_cluster_that_says_nothing_is_told_of_while_it_is_waited_for(silent_port, monkeypatch, caplog):
    pytest.importorskip("distributed")
    monkeypatch.setattr(_reaching, "SILENT_SECONDS", 0.05)
    monkeypatch.setattr(_reaching, "MOST_SECONDS", 1.0)  # Dask itself would wait for ever

    errors = errors_on(DaskTaskRunner(f"tcp://127.0.0.1:{silent_port}"))

    assert {type(error) for error in errors} == {NotSubmittable}
    assert f"what listens at tcp://127.0.0.1:{silent_port} has not answered for 1 s: is it a scheduler?" in str(
        errors[0]
    )
    (message,) = [message for message in caplog.messages if "Tasks wait for" in message]
    assert message.startswith(
        f"Tasks wait for the cluster at tcp://127.0.0.1:{silent_port}, which has not answered yet"
    )


@pytest.mark.parametrize("scheme", ["", "ray://"])
@pytest.mark.parametrize("tls", ["0", "1"])
def test_a_ray_cluster_that_says_nothing_is_given_up(silent_port, scheme, tls, monkeypatch, caplog):
    pytest.importorskip("ray")
    monkeypatch.setattr(_reaching, "SILENT_SECONDS", 0.05)
    monkeypatch.setattr(_reaching, "MOST_SECONDS", 1.0)
    monkeypatch.setenv("RAY_USE_TLS", tls)

    errors = errors_on(RayTaskRunner(f"{scheme}127.0.0.1:{silent_port}"))

    assert {type(error) for error in errors} == {NotSubmittable}
    assert f"what listens at {scheme}127.0.0.1:{silent_port} has not answered for 1 s: is it Ray?" in str(errors[0])
    assert sum("Tasks wait for the cluster at" in message for message in caplog.messages) == 1


def test_what_is_no_ray_cluster_is_said_at_once():
    pytest.importorskip("ray")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            with server.accept()[0] as connection:
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
                connection.recv(100)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        errors = errors_on(RayTaskRunner(address))
        thread.join(PATIENCE)

    assert f"what listens at {address} is no Ray cluster" in str(errors[0])


def test_the_address_of_a_dask_scheduler_that_is_none_leaves_nothing_behind(tmp_path):
    pytest.importorskip("distributed")

    done = python(
        """
        from otelflow import flow, task
        from otelflow.runners import DaskTaskRunner

        @flow(task_runner=DaskTaskRunner("nonsense"))
        def doubles():
            print(task(abs).submit(1).exception())

        doubles().execute()
        """,
        cwd=tmp_path,
        timeout=PATIENCE - 5,  # its client waits for so long at exit
        options=(),
    )

    assert "its runner cannot begin (ValueError: missing port number in address 'nonsense')" in done.stdout
    assert "Exception ignored" not in done.stderr


def test_what_a_dask_client_needs_is_said_beside_the_address():
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
    )
    with cluster:

        @flow(task_runner=DaskTaskRunner(cluster.scheduler_address, name="told"))
        def doubles():
            return double.submit(1).result(PATIENCE), sorted(cluster.scheduler.clients)

        value, clients = doubles().execute().flow_return_value

    assert value == 2
    assert any("told" in client for client in clients)


def test_a_dask_client_that_is_closed_while_its_flow_runs_is_what_the_error_names():
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
    )
    with cluster, distributed.Client(cluster, set_as_default=False) as client:

        @flow(task_runner=client)
        def doubles():
            first = double.submit(1).result()
            client.close()
            return first, double.submit(2).exception()

        first, error = doubles().execute().flow_return_value

    assert first == 2
    assert str(error).endswith("; its client is closed: keep it open until the flow has ended")
