"""A listener with a mistake is refused when it is added, with what is wrong and the cure."""

import pytest

from otelflow import Listener, add_listener, flow, task
from otelflow._core.inside import listeners
from otelflow.errors import InvalidListener


def listener_with(*names, base=Listener):
    return type("Mine", (base,), {name: lambda self, event: None for name in names})


@pytest.mark.parametrize(
    ("candidate", "says"),
    [
        (listener_with("on_task_stop"), r"^Mine is a class: add a listener that is made of it, Mine\(\)$"),
        (int, "is no listener: subclass otelflow.Listener"),
        (3, "^3 is no listener"),
        (listener_with("on_task_stopp")(), "^Mine has no hook 'on_task_stopp'; did you mean 'on_task_stop'[?]$"),
        (listener_with("on_flow_stat", "on_event")(), "did you mean 'on_flow_start'"),
        (listener_with()(), "^Mine has no hook: override"),
        (
            listener_with("on_flow_end", "on_task_stop")(),
            "^Mine has no hook 'on_flow_end'; did you mean 'on_flow_stop'[?]$",
        ),
        (listener_with("onTaskStart")(), "^Mine has no hook 'onTaskStart'; did you mean 'on_task_start'[?]$"),
        (listener_with("on_task_failed")(), "did you mean 'on_task_stop'"),
        (listener_with("on_flow_began")(), "did you mean 'on_flow_start'"),
        (
            type("Mine", (Listener,), {"on_flow_stop": flow(lambda self, event: None)})(),
            r"^Mine\.on_flow_stop is a flow, so a call of it only sets the flow up: make it a plain def without @flow$",
        ),
    ],
)
def test_what_would_never_hear_is_refused_with_the_cure(candidate, says):
    with pytest.raises(InvalidListener, match=says):
        add_listener(candidate)

    assert listeners.listeners() == ()


def test_a_flow_that_runs_when_it_is_called_can_be_a_hook():
    count = []
    add_listener(type("Mine", (Listener,), {"on_task_stop": flow(execute_on_call=True)(lambda *_: count.append(1))})())

    task(len)("ab")

    assert count == [1]


@pytest.mark.parametrize(
    "own", ["on_message_sent", "on__task_stopp", "task_stopp", "on_start", "on_flow_end_of_day", "once"]
)
def test_names_of_the_users_own_are_no_mistake(own):
    listener = listener_with("on_task_stop", own)()
    add_listener(listener)

    assert listeners.listeners() == (listener,)


@pytest.mark.parametrize("hook", ["on_task_stop", "on_event"])
def test_who_hears_of_an_event_may_hand_it_to_a_method_of_any_name(hook):
    events = []

    def hand_on(self, event):
        if event.event_data.result == "failure":
            self.on_task_failed(event.event_data.task_name)

    own = type("Mine", (Listener,), {hook: hand_on, "on_task_failed": lambda self, name: events.append(name)})
    add_listener(own())
    task(raise_on_error=False)(len)(5)

    assert events == ["len"]


def test_a_listener_that_is_no_subclass_names_its_methods_as_it_likes():
    methods = {"wants": lambda *_: True, "notify": lambda *_: None, "onFlowStart": lambda self: None}
    listener = type("Mine", (), methods)()
    add_listener(listener)

    assert listeners.listeners() == (listener,)
