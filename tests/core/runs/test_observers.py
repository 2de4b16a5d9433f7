"""The one list of observers: what each is told, on which thread, and what one that raises can spoil."""

import signal
import threading

import pytest

from otelflow import Listener, add_listener, flow, remove_listener, task
from otelflow._core.process import losses, process
from otelflow._core.runs import observers


class Notes(observers.Observer):
    """Writes down what it is told, and by which thread."""

    def __init__(self):
        self.notes = []
        self.threads = set()

    def run_started(self, run):
        self.notes.append(("started", run.task_name or run.flow_name))
        self.threads.add(threading.get_ident())

    def run_ended(self, run):
        self.notes.append((run.ending.result, run.task_name or run.flow_name))
        self.threads.add(threading.get_ident())

    def entry_added(self, run, entry):
        self.notes.append((entry.event_name, entry.body))


@pytest.fixture
def observer():
    observer = Notes()
    observers.add_observer(observer)
    return observer


@task
def inner():
    print("inside")


@flow
def outer():
    inner()
    raise ValueError("no")


def run_it():
    with pytest.raises(ValueError, match="no"):
        outer().execute()


def test_an_observer_is_told_of_every_run_and_of_what_happens_inside(observer):
    run_it()

    assert observer.notes == [
        ("started", "outer"),
        ("started", "inner"),
        ("otelflow.message", "inside"),
        ("success", "inner"),
        ("failure", "outer"),
    ]


def test_it_is_told_on_the_thread_of_the_run(observer):
    thread = threading.Thread(target=inner)
    thread.start()
    thread.join(10)

    assert observer.threads == {thread.ident}


def test_an_observer_that_is_added_twice_is_told_once(observer):
    observers.add_observer(observer)
    inner()

    assert observer.notes.count(("started", "inner")) == 1


def test_an_observer_that_is_removed_is_told_nothing_more_also_in_the_middle_of_a_run(observer):
    @task
    def removes():
        observers.remove_observer(observer)
        observers.remove_observer(observer)

    removes()

    assert observer.notes == [("started", "removes")]


def test_one_that_raises_is_counted_and_spoils_nothing_for_the_others_or_the_run():
    class Broken(observers.Observer):
        def run_started(self, run):
            raise RuntimeError("broken")

        def run_ended(self, run):
            raise RuntimeError("broken")

        def entry_added(self, run, entry):
            raise RuntimeError("broken")

    before = losses.listener_errors.copy()
    observer = Notes()
    observers.add_observer(Broken())
    observers.add_observer(observer)
    inner()

    assert losses.listener_errors - before == {"Broken": 3}
    assert observer.notes == [("started", "inner"), ("otelflow.message", "inside"), ("success", "inner")]


def test_of_a_time_limit_that_falls_into_one_observer_the_others_are_told_all_the_same(observer):
    class Slow(observers.Observer):
        def run_ended(self, run):
            signal.raise_signal(signal.SIGINT)

    def overdue(*_):
        raise TimeoutError

    observers.remove_observer(observer)
    observers.add_observer(Slow())
    observers.add_observer(observer)
    before = signal.signal(signal.SIGINT, overdue)
    try:
        with pytest.raises(TimeoutError):
            inner()
    finally:
        signal.signal(signal.SIGINT, before)

    assert observer.notes[-1] == ("success", "inner")
    assert not losses.listener_errors


@pytest.mark.parametrize(
    ("method", "told"),
    [
        ("run_started", ["outer", "inner"]),
        ("run_ended", ["inner", "outer"]),
        ("entry_added", ["inner"]),
        ("lifecycle_logged", ["outer", "outer", "inner", "outer"]),
    ],
)
def test_a_method_that_is_not_overridden_is_never_called(method, told):
    notes = []
    kind = type(
        "One", (observers.Observer,), {method: lambda _, run, *__: notes.append(run.task_name or run.flow_name)}
    )
    kinds = ("started", "ended", "entries", "lifecycle")
    before = [len(getattr(observers.observed, name)) for name in kinds]
    observers.add_observer(kind())
    after = [len(getattr(observers.observed, name)) for name in kinds]
    run_it()

    assert sum(after) == sum(before) + 1
    assert notes == told


def test_an_observer_of_the_house_is_told_at_once_and_in_every_fresh_process(monkeypatch):
    monkeypatch.setattr(observers.observed, "built_in", observers.observed.built_in)
    observer = Notes()
    observers.always_add(observer)
    inner()
    told = len(observer.notes)
    process.reset()
    inner()

    assert 0 < told < len(observer.notes) == 2 * told


def test_a_lost_run_is_told_to_whom_it_concerns_and_one_that_raises_keeps_nobody_from_it():
    class Hears(observers.Observer):
        def __init__(self):
            self.runs = []

        def run_lost(self, run):
            self.runs.append(run)

    class Raises(observers.Observer):
        def run_lost(self, run):
            raise RuntimeError("no")

    hears = Hears()
    for observer in (Raises(), Notes(), hears):
        observers.add_observer(observer)
    run = observers.LostRun("f", None, 7, 9, 2.0, 3.5)
    observers.tell_lost(run)
    observers.remove_observer(hears)
    observers.tell_lost(run)

    assert hears.runs == [run]


def test_only_while_a_listener_is_called_this_thread_is_in_one():
    inside, beside, around = [], [], []

    class Looks(Listener):
        def on_task_start(self, _event):
            inside.append(observers.in_listener())
            thread = threading.Thread(target=lambda: beside.append(observers.in_listener()))
            thread.start()
            thread.join(20)

    @task
    def looks():
        around.append(observers.in_listener())

    listener = Looks()
    add_listener(listener)
    looks()
    remove_listener(listener)

    assert (inside, beside, around) == ([True], [False], [False])
    assert observers.in_listener() is False
