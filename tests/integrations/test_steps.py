"""Each step of a body that is sent runs in the context of its request, and only that."""

import contextvars
import threading

from opentelemetry import trace

from otelflow.integrations._steps import Steps
from otelflow.integrations.wsgi import FlowMiddleware
from support.servers import TRACEPARENT

NUMBER = contextvars.ContextVar("number", default=0)


def counting(ends):
    try:
        for _ in range(3):
            NUMBER.set(NUMBER.get() + 1)
            yield NUMBER.get()
    finally:
        ends.append(NUMBER.get())


def test_steps_share_a_context_whichever_thread_takes_them():
    numbers, ends = [], []
    steps = Steps(counting(ends))
    for _ in range(3):
        thread = threading.Thread(target=lambda: numbers.append(next(steps)))
        thread.start()
        thread.join(10)
    left = list(steps)

    assert (numbers, left, ends, NUMBER.get()) == ([1, 2, 3], [], [3], 0)


def test_steps_that_are_not_taken_to_their_end_are_ended_where_they_are():
    ends = []
    steps = Steps(counting(ends))
    next(steps)
    steps.close()

    assert (list(steps), ends) == ([], [1])


def test_a_body_that_is_its_own_iterator_is_closed_once(spans):
    class Once:
        closed = 0

        def __iter__(self):
            return self

        def __next__(self):
            raise StopIteration

        def close(self):
            Once.closed += 1

    body = FlowMiddleware(lambda _, start: start("204 No", []) or Once())(
        {"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, lambda *_: None
    )

    assert (list(body), Once.closed) == ([], 1)
    assert spans.tree() == [("flow GET", "success", [])]


def test_between_the_pieces_nothing_of_the_request_is_current(spans):
    def pieces(_environ, start_response):
        start_response("200 OK", [])
        yield from (b"a", b"b")

    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_TRACEPARENT": TRACEPARENT}
    body = FlowMiddleware(pieces)(environ, lambda *_: None)

    current = [trace.get_current_span().get_span_context().is_valid for _ in body]
    assert current == [False, False]
