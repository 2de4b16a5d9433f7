"""Listeners: each run once, whoever drives them, and no run changes for whatever they do."""

import asyncio
import threading
import time

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, TraceIdRatioBased

from otelflow import Flow_Run__Event_Type, Listener, add_listener, flow, flow_events, remove_listener, task
from otelflow._core.inside import listeners
from otelflow._core.process import losses
from otelflow.errors import InvalidListener
from support.listeners import ENDS, RUN, Ear, job, work

KINDS = [kind.value for kind in Flow_Run__Event_Type]


@pytest.mark.parametrize(
    "sampler", [ALWAYS_OFF, TraceIdRatioBased(0.1), ALWAYS_ON, None], ids=["0", "10", "100", "none"]
)
def test_add_listener_hears_every_run_once_at_any_sampling_and_without_a_provider(provided, sampler):
    if sampler is not None:
        provided(sampler=sampler)
    ear = Ear()
    add_listener(ear)
    add_listener(ear)

    for _ in range(20):
        job().execute()

    assert ear.of(*ENDS) == RUN * 20
    assert ear.of("flow_message").count(("flow_message", "work", "working")) == 20
    assert len(ear.of("new_artifact")) == len(ear.of("new_result")) == 20


def test_both_ways_it_hears_each_run_once_and_messages_at_once(provided):
    provider = provided()
    ear = Ear()
    provider.add_span_processor(ear)
    add_listener(ear)

    job().execute()

    assert ear.of(*ENDS) == RUN
    assert ear.heard.index(("flow_message", "work", "working")) < ear.heard.index(("task_stop", "work", "success"))
    assert ear.of("flow_message").count(("flow_message", "work", "working")) == 1


def test_removed_it_hears_nothing_more():
    ear = Ear()
    add_listener(ear)
    job().execute()
    before = len(ear.heard)

    remove_listener(ear)
    remove_listener(ear)
    job().execute()

    assert len(ear.heard) == before > 0


def test_each_hook_hears_its_own_kind_of_event_and_only_that():
    heard = []

    class Hooks(Listener):
        def on_flow_start(self, event):
            heard.append(("on_flow_start", event.event_type))

        def on_flow_stop(self, event):
            heard.append(("on_flow_stop", event.event_type))

        def on_task_start(self, event):
            heard.append(("on_task_start", event.event_type))

        def on_task_stop(self, event):
            heard.append(("on_task_stop", event.event_type))

        def on_message(self, event):
            heard.append(("on_message", event.event_type))

        def on_artifact(self, event):
            heard.append(("on_artifact", event.event_type))

        def on_result(self, event):
            heard.append(("on_result", event.event_type))

    add_listener(Hooks())

    job().execute()

    assert set(heard) == {
        ("on_flow_start", "flow_start"),
        ("on_flow_stop", "flow_stop"),
        ("on_task_start", "task_start"),
        ("on_task_stop", "task_stop"),
        ("on_message", "flow_message"),
        ("on_artifact", "new_artifact"),
        ("on_result", "new_result"),
    }


HOOKS = [
    "on_flow_start",
    "on_flow_stop",
    "on_task_start",
    "on_task_stop",
    "on_message",
    "on_artifact",
    "on_result",
    "on_event",
]


def listener_with(hook, body, name="Trouble"):
    return type(name, (Listener,), {hook: lambda self, event: body(event)})()


def boom(event):
    raise RuntimeError("listener")


@pytest.mark.parametrize("attach", ["engine", "span", "both"])
@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_that_raises_changes_no_run_is_counted_and_said_once(provided, caplog, hook, attach):
    exporter = InMemorySpanExporter()
    provider = provided()
    trouble = listener_with(hook, boom)
    if attach != "engine":
        provider.add_span_processor(trouble)
    if attach != "span":
        add_listener(trouble)
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    runs = [job().execute() for _ in range(3)]

    assert [(run.status, run.flow_return_value) for run in runs] == [("success", 1)] * 3
    assert [span.attributes["otelflow.run.result"] for span in exporter.get_finished_spans()] == ["success"] * 6
    assert losses.listener_errors["Trouble"] >= 3
    assert len([record for record in caplog.records if "Trouble raised" in record.getMessage()]) == 1


def test_a_hook_that_raises_leaves_the_users_exception_alone(provided):
    provider = provided()
    trouble = listener_with("on_event", boom)
    provider.add_span_processor(trouble)
    error = KeyError("mine")

    @flow
    def fails():
        raise error

    with pytest.raises(KeyError) as caught:
        fails().execute()

    assert caught.value is error
    assert error.__context__ is None


def test_one_listener_that_raises_does_not_keep_the_others_from_hearing():
    ear = Ear()
    for listener in (listener_with("on_event", boom), ear, listener_with("on_event", boom, "More")):
        add_listener(listener)
    flow_events.event_listeners.append(boom)

    job().execute()

    assert ear.of(*ENDS) == RUN
    assert losses.listener_errors["boom"] == losses.listener_errors["Trouble"] == len(ear.heard)


def test_a_slow_listener_delays_but_changes_nothing():
    add_listener(listener_with("on_task_start", lambda event: time.sleep(0.05)))
    ear = Ear()
    add_listener(ear)

    run = job().execute()

    assert run.flow_return_value == 1
    assert ear.of(*ENDS) == RUN
    assert next(iter(run.executed_tasks)).duration >= 0


def test_listeners_added_and_removed_while_being_called_miss_and_repeat_nothing():
    late = Ear()
    once = listener_with("on_task_start", lambda event: (add_listener(late), remove_listener(once)))
    add_listener(once)
    steady = Ear()
    add_listener(steady)

    job().execute()

    assert steady.of(*ENDS) == RUN
    assert late.of(*ENDS) == RUN[2:]


def test_a_list_of_callables_may_change_while_it_is_called():
    heard = []

    def once(event):
        flow_events.event_listeners.remove(once)
        heard.append(event.event_type)

    flow_events.event_listeners.extend([once, lambda event: heard.append(event.event_type)])

    job().execute()

    assert heard[:2] == ["flow_start", "flow_start"]
    assert heard.count("flow_stop") == 1


@pytest.mark.parametrize("hook", ["on_message", "on_event"])
def test_what_a_listener_prints_is_printed_and_no_message(capsys, hook):
    add_listener(listener_with(hook, lambda event: print("heard")))
    ear = Ear()
    add_listener(ear)

    run = job().execute()

    assert "heard" not in run.captured_logs()
    assert ("flow_message", "job", "heard") not in ear.heard
    assert "heard\n" in capsys.readouterr().out


def test_a_listener_that_runs_a_flow_is_not_told_of_it_and_others_are():
    @flow
    def inner():
        return 1

    add_listener(listener_with("on_flow_stop", lambda event: inner().execute()))
    ear = Ear()
    add_listener(ear)

    job().execute()

    assert [entry[1] for entry in ear.of("flow_start")] == ["job", "inner"]
    assert [entry[1] for entry in ear.of("flow_stop")] == ["inner", "job"]


def test_events_of_many_threads_arrive_whole_and_in_each_runs_order():
    ear = Ear()
    add_listener(ear)

    @flow
    def one(name):
        work()

    def run(name):
        for _ in range(20):
            flow(flow_name=name)(lambda: work())().execute()

    threads = [threading.Thread(target=run, args=(f"f{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert len(ear.of(*ENDS)) == 4 * 20 * 4
    for number in range(4):
        assert [entry[0] for entry in ear.heard if entry[1] == f"f{number}" and entry[0] in ENDS] == [
            "flow_start",
            "flow_stop",
        ] * 20


def test_every_start_has_its_stop_however_the_run_ends():
    ear = Ear()
    add_listener(ear)

    @task
    async def fails():
        raise ValueError

    @flow
    async def cancelled():
        asyncio.current_task().cancel()
        await asyncio.sleep(1)

    @flow
    def interrupted():
        raise KeyboardInterrupt

    for run, error in ((fails, ValueError), (lambda: cancelled().execute_async(), asyncio.CancelledError)):
        with pytest.raises(error):
            asyncio.run(run())
    with pytest.raises(KeyboardInterrupt):
        interrupted().execute()

    assert ear.of("task_stop", "flow_stop") == [
        ("task_stop", "fails", "failure"),
        ("flow_stop", "cancelled", "cancellation"),
        ("flow_stop", "interrupted", "cancellation"),
    ]
    assert len(ear.of("task_start", "flow_start")) == 3


@pytest.mark.parametrize("wrong", [print, object(), None])
def test_what_is_no_listener_is_refused_with_the_cure(wrong):
    with pytest.raises(InvalidListener, match=r"is no listener: subclass otelflow.Listener .* or append a callable"):
        add_listener(wrong)


@pytest.mark.parametrize("kind", [Ear, Listener])
def test_a_class_is_no_listener_and_the_message_says_how_to_make_one(kind):
    with pytest.raises(InvalidListener, match=rf"{kind.__name__} is a class: .* made of it, {kind.__name__}\(\)$"):
        add_listener(kind)


def test_a_listener_without_a_hook_is_refused_and_one_with_a_misspelt_hook_is_told_so():
    class Deaf(Listener):
        def on_something_else(self, event):
            pass

    class Misspelt(Listener):
        def on_flow_stop(self, event):
            pass

        def on_tasks_stop(self, event):
            pass

    with pytest.raises(InvalidListener, match="Deaf has no hook: override on_flow_start"):
        add_listener(Deaf())
    with pytest.raises(InvalidListener, match=r"Misspelt has no hook 'on_tasks_stop'; did you mean 'on_task_stop'\?"):
        add_listener(Misspelt())


def test_a_hook_in_capitals_is_misspelt():
    with pytest.raises(InvalidListener, match=r"no hook 'on_Flow_Stop'; did you mean 'on_flow_stop'\?"):
        add_listener(listener_with("on_Flow_Stop", boom))


def test_a_listener_may_hear_events_of_its_own_choice_only():
    ear = listener_with("on_flow_stop", boom)
    add_listener(ear)

    assert [kind for kind in KINDS if ear.wants(Flow_Run__Event_Type(kind))] == ["flow_stop"]
    assert not listeners._driven.audience[Flow_Run__Event_Type.FLOW_MESSAGE]


def test_the_current_span_in_a_hook_is_the_runs_own(provided):
    provided()
    seen = []
    add_listener(
        listener_with("on_task_start", lambda e: seen.append((trace.get_current_span().get_span_context(), e)))
    )

    job().execute()

    assert seen[0][0] == seen[0][1].event_data.span_context


def test_an_async_hook_on_a_provider_is_counted(provided):
    class AsyncTask(Listener):
        async def on_task_stop(self, event):
            """Is never awaited."""

    provided().add_span_processor(AsyncTask())

    task(lambda: 1)()

    assert losses.listener_errors == {AsyncTask.__name__: 1}
