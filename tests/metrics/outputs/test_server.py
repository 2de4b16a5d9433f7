"""/metrics answers whatever connections do, and not to a page of a stranger."""

import http.client
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from otelflow.metrics._counts import Aggregator
from otelflow.metrics._outputs import pull, server
from support.metrics import certified, get


@pytest.fixture
def serve():
    """Serve on a free port of an address, for the time of the test."""
    outputs = []

    def start(host="127.0.0.1", *certificate):
        output = pull.Pull(host, 0, pull.Certificate(*certificate)).open(Aggregator())
        output.registry.register(output.collector)
        assert output.start()
        outputs.append(output)
        return output

    yield start
    for output in outputs:
        output.close()


def status(port, host, address="127.0.0.1"):
    """Return the status of the answer to a request with *host* as its Host header."""
    connection = http.client.HTTPConnection(address, port, timeout=10)
    connection.putrequest("GET", "/metrics", skip_host=True)
    if host is not None:
        connection.putheader("Host", host)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    assert (answer.status == 200) == (b"otelflow_build_info" in body)
    return answer.status


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:80", "localhost.", "127.0.0.1", "127.0.0.1:9464", "[::1]:1", None]
)
def test_on_loopback_the_names_of_this_machine_are_answered(serve, host):
    assert status(serve().port, host) == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:9464", "localhost.evil.example", "127.0.0.1.nip.io", "", "[", "::1"]
)
def test_on_loopback_no_other_name_is_answered(serve, host):
    assert status(serve().port, host) == 403


def test_the_configured_host_is_answered_and_an_open_address_answers_to_every_name(serve):
    assert status(serve("127.0.0.2").port, "127.0.0.2:1", "127.0.0.2") == 200
    assert status(serve("127.0.0.2").port, "127.0.0.3", "127.0.0.2") == 403
    assert status(serve("0.0.0.0").port, "prometheus.example") == 200


def test_none_of_many_scrapes_at_once_is_refused(serve):
    address = serve().address
    together = threading.Barrier(200)

    def scrape(_):
        together.wait(60)
        return get(address)[1]

    with ThreadPoolExecutor(200) as pool:
        texts = list(pool.map(scrape, range(400)))

    assert all("otelflow_build_info" in text for text in texts)


def test_who_has_asked_is_answered_also_where_that_takes_long_for_all(serve):
    output = serve()
    answer = output._server.get_app()

    def slow(environ, start_response):
        time.sleep(2.5)  # on a busy machine, all that are answered at once take as long
        return answer(environ, start_response)

    output._server.set_app(slow)
    with ThreadPoolExecutor(100) as pool:
        texts = list(pool.map(lambda _: get(output.address)[1], range(100)))

    assert all("otelflow_build_info" in text for text in texts)


@pytest.mark.parametrize("is_secure", [False, True], ids=["plain", "over TLS"])
def test_a_request_that_drips_is_ended_in_time(serve, monkeypatch, tmp_path, is_secure):
    monkeypatch.setattr(server, "CONNECTION_SECONDS", 1.0)
    output = serve("127.0.0.1", *map(str, certified(tmp_path) if is_secure else ()))
    client = socket.create_connection(("127.0.0.1", output.port), 10)
    if is_secure:
        client = ssl._create_unverified_context().wrap_socket(client)

    def drip():
        client.sendall(b"GET /metrics HTTP/1.0\r\nX: ")
        for _ in range(300):
            client.sendall(b"x")
            time.sleep(0.1)

    start = time.monotonic()
    with client, pytest.raises((ConnectionError, ssl.SSLError)):
        drip()

    assert time.monotonic() - start < 10


def test_silent_connections_take_no_more_threads_than_there_is_room_for_and_then_others_are_answered(
    serve, monkeypatch
):
    monkeypatch.setattr(server, "CONNECTION_SECONDS", 2.0)
    output = serve()
    before = threading.active_count()
    silent = [socket.create_connection(("127.0.0.1", output.port), 10) for _ in range(100)]
    time.sleep(0.5)

    threads = threading.active_count() - before
    text = get(output.address)[1]

    assert threads <= 64
    assert "otelflow_build_info" in text
    for client in silent:
        client.close()


def test_a_crowd_that_says_nothing_makes_room_for_a_scrape_long_before_its_time(serve, monkeypatch):
    monkeypatch.setattr(server, "CONNECTION_SECONDS", 600.0)
    monkeypatch.setattr(server, "_READ_SECONDS", 600.0)
    output = serve()
    silent = [socket.create_connection(("127.0.0.1", output.port), 10) for _ in range(150)]

    text = get(output.address)[1]

    assert "otelflow_build_info" in text
    for client in silent:
        client.close()


def test_it_ends_in_time_while_all_places_are_taken_by_who_is_answered(serve):
    output, entered, done = serve(), threading.Semaphore(0), threading.Event()

    def application(environ, start_response):
        entered.release()
        done.wait(30)
        start_response("200 OK", [])
        return [b""]

    output._server.set_app(application)
    clients = [socket.create_connection(("127.0.0.1", output.port), 10) for _ in range(70)]
    for client in clients:
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
    are_answered = all(entered.acquire(timeout=20) for _ in range(64))

    output.close()
    is_ending = any(thread.name == "otelflow-metrics" for thread in threading.enumerate())
    done.set()
    for client in clients:
        client.close()

    assert (are_answered, is_ending) == (True, False)


# Its parts


class Socket:
    """A connection that keeps how it was ended."""

    def __init__(self, *, is_gone=False):
        self.ends, self.is_gone = [], is_gone

    def fileno(self):
        return -1

    def shutdown(self, how):
        if self.is_gone:
            raise OSError("not connected")
        self.ends.append(how)


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=100.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(server, "clock", clock)
    monkeypatch.setattr(server, "socket", SimpleNamespace(socket=Socket, SHUT_RDWR=2))
    return clock


def test_a_connection_is_ended_when_it_took_longer_than_ten_seconds(clock):
    connections, first, second, third = server.Connections(), Socket(), Socket(), Socket()
    connections.accept(first)
    clock.now = 105.0
    connections.accept(second)
    connections.accept(third)
    connections.release(third)

    ends = []
    for moment in (110.0, 110.1, 120.0):
        clock.now = moment
        connections.end_overdue()
        ends.append([len(connection.ends) for connection in (first, second, third)])

    assert ends == [[0, 0, 0], [1, 0, 0], [2, 1, 0]]
    assert first.ends[0] == 2


def test_a_connection_that_has_ended_by_itself_is_no_trouble(clock):
    connections, second = server.Connections(), Socket()
    connections.accept(Socket(is_gone=True))
    connections.accept(second)
    clock.now = 200.0

    connections.end_overdue()

    assert second.ends == [2]


def test_the_65th_connection_waits_until_another_one_has_ended(clock):
    connections, sockets = server.Connections(), [Socket() for _ in range(66)]
    for connection in sockets[:64]:
        connections.accept(connection)
    waiting = threading.Thread(target=connections.accept, args=(sockets[64],), daemon=True)

    waiting.start()
    waiting.join(0.3)
    is_waiting = waiting.is_alive()
    connections.release(sockets[0])
    waiting.join(20)

    assert (is_waiting, waiting.is_alive()) == (True, False)
    connections.is_closing = True
    connections.accept(sockets[65])  # a server that ends keeps nobody waiting


def test_whoever_waits_ends_what_takes_too_long(clock):
    connections, sockets = server.Connections(), [Socket() for _ in range(64)]
    for connection in sockets:
        connections.accept(connection)
    clock.now = 200.0
    waiting = threading.Thread(target=connections.accept, args=(Socket(),), daemon=True)

    waiting.start()
    waiting.join(0.5)
    connections.is_closing = True
    waiting.join(20)

    assert all(connection.ends for connection in sockets)


@pytest.mark.parametrize(
    ("came", "released", "now", "is_ended"),
    [
        (100.0, 100.0, 100.9, False),
        (99.0, 100.0, 101.0, False),
        (100.0, 100.0, 101.1, True),
        (100.0, 109.0, 109.5, False),
    ],
)
def test_who_is_silent_is_ended_early_once_nobody_got_on_for_a_second(clock, came, released, now, is_ended):
    connections, sockets = server.Connections(), [Socket() for _ in range(64)]
    clock.now = came
    for connection in sockets:
        connections.accept(connection)
    clock.now = released
    connections.release(Socket())
    clock.now = now
    waiting = threading.Thread(target=connections.accept, args=(Socket(),), daemon=True)

    waiting.start()
    waiting.join(0.5)
    connections.is_closing = True
    waiting.join(20)

    assert all(bool(connection.ends) == is_ended for connection in sockets)


def test_who_has_come_just_now_is_not_ended_early(clock):
    connections, sockets = server.Connections(), [Socket() for _ in range(64)]
    clock.now = 0.5
    for connection in sockets:
        connections.accept(connection)
    clock.now = 1.4
    waiting = threading.Thread(target=connections.accept, args=(Socket(),), daemon=True)

    waiting.start()  # since its start, more than a second ago, the server has released nothing
    waiting.join(0.5)
    at_once = [list(connection.ends) for connection in sockets]
    clock.now = 1.6
    waiting.join(0.5)
    connections.is_closing = True
    waiting.join(20)

    assert not any(at_once)
    assert all(connection.ends for connection in sockets)


@pytest.fixture
def pairs():
    """Two ends of each of five connections."""
    pairs = [socket.socketpair() for _ in range(5)]
    yield pairs
    for pair in pairs:
        for end in pair:
            end.close()


def is_open(end):
    """Tell whether the other end of a connection has not been shut down."""
    end.setblocking(False)
    try:
        return end.recv(1) != b""
    except BlockingIOError:
        return True


def test_early_only_who_has_sent_nothing_is_ended(pairs, monkeypatch):
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(server, "clock", SimpleNamespace(monotonic=lambda: clock.now))
    connections, (silent, answered, unread, anew, late) = server.Connections(), [ours for ours, _ in pairs]
    theirs = [their for _, their in pairs]
    for connection in (silent, answered, unread, anew):
        connections.accept(connection)
    connections.answer(answered)
    connections.answer(anew)
    connections.release(anew)
    connections.accept(anew)  # another request of it, which has not come yet
    theirs[2].sendall(b"GET")
    clock.now = 101.0
    connections.accept(late)

    clock.now = 102.0
    connections.end_overdue(8.0)
    at_eight = [is_open(end) for end in theirs]
    clock.now = 102.1
    connections.end_overdue(8.0)
    later = [is_open(end) for end in theirs]
    clock.now = 110.5
    connections.end_overdue()

    assert at_eight == [True, True, True, True, True]
    assert later == [False, True, True, False, True]
    assert [is_open(end) for end in theirs] == [False, False, False, False, True]


def test_what_is_sent_and_not_read_is_seen_and_a_closed_connection_has_nothing(pairs):
    ours, theirs = pairs[0]

    before = server.has_something_to_read(ours)
    theirs.sendall(b"GET")
    after = server.has_something_to_read(ours)
    ours.close()

    assert (before, after, server.has_something_to_read(ours)) == (False, True, False)


def test_what_has_asked_is_known_and_what_says_nonsense_has_not(serve):
    output, asked = serve(), []
    output._connections.answer = asked.append
    counts = []

    for request in (b"nonsense of four words\r\n\r\n", b"GET /metrics HTTP/1.0\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", output.port), 10) as connection:
            connection.sendall(request)
            while connection.recv(65_536):
                pass
        counts.append(len(asked))

    assert counts == [0, 1]


def test_what_is_raised_for_a_request_is_a_warning_with_its_type_and_goes_on(caplog):
    def application(environ, start_response):
        raise ValueError("odd header")

    with pytest.raises(ValueError, match="odd header"):
        server.reported(application)({}, None)

    assert caplog.messages == ["A request for /metrics could not be answered (ValueError: odd header)"]


def test_each_connection_has_five_seconds_for_its_request_and_many_may_wait(monkeypatch):
    backlogs, listen = [], socket.socket.listen
    monkeypatch.setattr(
        socket.socket, "listen", lambda sock, backlog: backlogs.append(backlog) or listen(sock, backlog)
    )
    output = pull.Pull("127.0.0.1", 0).open(Aggregator())
    assert output.start()

    timeout = output._server.RequestHandlerClass.timeout
    output.close()

    assert (timeout, backlogs[-1]) == (5.0, 1_024)


def test_a_reader_who_takes_nothing_is_no_word_on_stderr(serve, monkeypatch, capfd):
    monkeypatch.setattr(server, "_READ_SECONDS", 0.2)
    output = serve()
    page = b"x" * 50_000_000  # more than what the system keeps for a connection
    answered = threading.Event()

    def application(environ, start_response):
        start_response("200 OK", [])
        return [page]

    handler = output._server.RequestHandlerClass
    monkeypatch.setattr(handler, "finish", lambda self: (super(handler, self).finish(), answered.set()), raising=False)
    output._server.set_app(application)
    with socket.create_connection(("127.0.0.1", output.port)) as connection:
        connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert answered.wait(30)

    assert capfd.readouterr().err == ""


def test_a_request_that_cannot_be_read_is_one_warning_and_500(serve, caplog, capfd):
    output = serve()
    answers = []

    for _ in range(2):
        connection = http.client.HTTPConnection("127.0.0.1", output.port, timeout=10)
        connection.request("GET", "/metrics", headers={"Accept": "application/openmetrics-text; version=new"})
        answers.append(connection.getresponse().status)
        connection.close()

    assert set(answers) <= {200, 500}
    assert [record.getMessage().partition(" (")[0] for record in caplog.records] == (
        ["A request for /metrics could not be answered"] if answers == [500, 500] else []
    )
    assert capfd.readouterr().err == ""


def test_an_error_of_a_client_is_no_word_and_any_other_is(serve, capsys):
    output = serve()

    for error in (ConnectionResetError(), ValueError("of ours")):
        try:
            raise error
        except (OSError, ValueError):
            output._server.handle_error(None, ("127.0.0.1", 1))

    errors = capsys.readouterr().err
    assert "of ours" in errors
    assert "('127.0.0.1', 1)" in errors
    assert "ConnectionResetError" not in errors


@pytest.mark.parametrize(("address", "is_refused"), [("127.0.0.1", True), ("::1%lo", True), ("10.0.0.1", False)])
def test_a_strange_name_is_refused_with_the_cure_where_only_this_machine_is_served(address, is_refused):
    started = []

    def application(environ, start_response):
        return [b"metrics"]

    guarded = server.refuse_strange_hosts(application, address, "Own.Example")
    answer = guarded({"HTTP_HOST": "evil.example"}, lambda *head: started.append(head))

    assert (guarded is application) is not is_refused
    assert guarded({"HTTP_HOST": "own.example:80"}, None) == [b"metrics"]
    if is_refused:
        assert started == [("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])]
        assert b"OTELFLOW_METRICS=pull:HOST:PORT" in answer[0]
