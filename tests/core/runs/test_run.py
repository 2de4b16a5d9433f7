"""What a run knows and keeps, and that one that has ended is gone."""

import gc
import weakref
from dataclasses import dataclass

import pytest

from otelflow import flow_events, task
from otelflow._core.inside import listeners
from otelflow._core.process.settings import settings
from otelflow._core.runs.run import Journal, Run
from support.flows import Part, total


def test_nothing_of_a_finished_flow_is_kept():
    before = (len(flow_events.event_listeners), len(listeners.listeners()))
    finished = [weakref.ref(total(number).execute()) for number in range(50)]
    gc.collect()

    assert [reference for reference in finished if reference() is not None] == []
    assert (len(flow_events.event_listeners), len(listeners.listeners())) == before


@dataclass(frozen=True)
class Note:
    """An entry, as far as a journal looks at it."""

    event_name: str
    number: int
    is_important: bool = False

    @property
    def time_ns(self):
        return self.number

    def attributes(self):
        return {"number": self.number}


@pytest.mark.parametrize(
    ("event_name", "head", "important", "tail", "counted_as"),
    [
        ("otelflow.message", 30, 20, 30, "otelflow.messages.omitted"),
        ("otelflow.artifact", 10, 4, 10, "otelflow.artifacts.omitted"),
        ("otelflow.result", 4, 0, 4, "otelflow.results.omitted"),
    ],
)
def test_a_journal_keeps_the_first_the_last_and_some_important_entries_and_counts_the_rest(
    event_name, head, important, tail, counted_as
):
    journal = Journal()
    for number in range(300):
        journal.add(Note(event_name, number, is_important=number % 3 == 0))
    journal.leave_out(event_name, 7)

    omitted = journal.omitted()
    kept = [entry.number for entry in journal.entries()]
    of_the_middle = [number for number in range(head, 300 - tail) if number % 3 == 0][:important]
    assert kept == [*range(head), *of_the_middle, *range(300 - tail, 300)]
    assert omitted == {counted_as: 307 - len(kept)}


def test_nothing_in_a_journal_is_later_than_the_end_of_its_run():
    journal = Journal()
    for number in (1, 5, 9):
        journal.add(Note("otelflow.result", number))

    assert [time_ns for _, time_ns, _ in journal.events()] == [1, 5, 9]
    assert list(journal.events(5)) == [("otelflow.result", min(n, 5), {"number": n}) for n in (1, 5, 9)]


def test_a_journal_has_messages_before_artifacts_and_results_and_says_nothing_of_what_is_whole():
    journal = Journal()
    for event_name in ("otelflow.result", "otelflow.artifact", "otelflow.message"):
        journal.add(Note(event_name, 1))

    assert [entry.event_name for entry in journal.entries()] == [
        "otelflow.message",
        "otelflow.artifact",
        "otelflow.result",
    ]
    assert journal.omitted() == {}


def test_an_artifact_with_a_new_state_is_one_entry_and_a_message_said_twice_is_two():
    journal = Journal()
    artifact, message = Note("otelflow.artifact", 1), Note("otelflow.message", 1)
    for _ in range(2):
        journal.add(artifact)
        journal.add(message)
    journal.add(Note("otelflow.artifact", 1))  # another one that looks the same

    assert list(journal.entries()) == [message, message, artifact, artifact]


def test_a_new_run_is_not_open_yet_and_says_nothing():
    run = Run(None, settings())

    assert run.run_id is None
    states = ["is_recording", "is_current", "is_open", "is_closed", "is_generator", "was_called", "has_ended"]
    assert [state for state in [*states, "keeps_errors"] if getattr(run, state)] == []
    assert (run.started_ns, run.clock, run.failed_tasks, run.fragment) == (0, 0, 0, "")


def test_a_run_says_who_it_is_and_of_which_flow():
    run = Part(None, "task step", settings())
    run.flow_name, run.flow_run_id = "order", "flow-1"
    of_the_flow, run_id_of_the_flow = run.attributes(), run.run_id
    run.task_name, run.task_run_id, run.own_code_name = "step", "task-1", "shop.step"
    run.parameters = {"otelflow.parameter.a": "1"}

    own = {"otelflow.flow.name": "order", "otelflow.flow.run.id": "flow-1"}
    assert own.items() <= of_the_flow.items()
    assert (run_id_of_the_flow, run.run_id) == ("flow-1", "task-1")
    assert {
        **own,
        "otelflow.task.name": "step",
        "otelflow.task.run.id": "task-1",
        "code.function.name": "shop.step",
        "otelflow.parameter.a": "1",
    }.items() <= run.attributes().items()


def test_what_a_task_is_given_and_says_stands_on_its_span(spans):
    @task(capture_parameters=True)
    def step(number):
        for _ in range(70):
            print(number)

    step(7)

    span = spans.one("task step")
    assert span.attributes["otelflow.messages.omitted"] == 10
    assert [name for name in span.attributes if "number" in name]
    assert len(span.events) == 60
