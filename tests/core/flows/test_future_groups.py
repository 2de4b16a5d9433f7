import pytest

from otelflow import flow, task


@task
def double(number):
    return 2 * number


class Interrupted(KeyboardInterrupt):
    pass


def rows(number):
    yield from range(number)
    raise Interrupted


def test_a_map_that_ctrl_c_interrupts_ends_its_span(spans, monkeypatch):
    calls = []

    def interrupt(session, call):
        calls.append(call)
        if len(calls) == 2:
            raise Interrupted
        return add(session, call)

    @flow
    def maps():
        from otelflow._core.flows.future_session import Session

        monkeypatch.setattr(Session, "add", interrupt)
        with pytest.raises(Interrupted):
            double.map([1, 2, 3])
        monkeypatch.setattr(Session, "add", add)
        return double.map([4, 5]).result()

    from otelflow._core.flows.future_session import Session

    add = Session.add

    assert maps().execute().flow_return_value == [8, 10]
    assert [span.attributes["otelflow.run.result"] for span in spans.named("map double")] == ["cancellation", "success"]
    assert spans.open_spans == 0


def test_rows_that_are_interrupted_begin_nothing(spans):
    @flow
    def maps():
        with pytest.raises(Interrupted):
            double.map(rows(3))

    maps().execute()

    assert spans.tree() == [("flow maps", "success", [])]
