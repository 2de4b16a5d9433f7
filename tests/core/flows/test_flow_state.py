"""What otelflow keeps on a flow, in a copy and in another process."""

import copy
import dataclasses
import pickle
import threading

import pytest

from otelflow import Flow, Flow_Run__Config, flow, task
from otelflow.errors import FlowNotSetUp
from support.programs import python, run_python


@task
def double(number):
    print("doubling", number)
    return 2 * number


@flow
def nightly(number=1):
    return double(number)


def test_a_finished_flow_can_be_pickled_with_all_that_it_did(spans):
    run = nightly(4).execute()
    run.add_flow_artifact(key="rows", data=[1, 2], artifact_type="json")

    for again in (pickle.loads(pickle.dumps(run)), copy.deepcopy(run), copy.copy(run)):
        assert (again.flow_return_value, again.status, again.flow_id) == (8, "success", run.flow_id)
        assert again.log_messages() == run.log_messages()
        assert [done.task_name for done in again.executed_tasks] == ["double"]
        assert again.artifacts[0].key == "rows"
        assert again.execute().flow_return_value == 8
        assert run.flow_id != again.flow_id


def test_a_finished_flow_of_a_local_function_can_be_pickled(spans):
    run = Flow().setup(lambda: double(3)).execute()

    again = pickle.loads(pickle.dumps(run))

    assert again.flow_return_value == 6
    assert copy.copy(run).execute().flow_return_value == 6


class TwoArguments(Exception):
    """Pickle cannot make it anew."""

    def __init__(self, name, number):
        super().__init__(f"{name} {number}")


def test_what_cannot_travel_is_a_text_on_a_finished_flow(spans):
    lock = threading.Lock()

    @task(raise_on_error=False)
    def hold(held, number):
        raise TwoArguments("no room for", number)

    @flow(flow_config=Flow_Run__Config(raise_flow_error=False), data={"lock": lock})
    def body(held):
        hold(held, 5)
        raise TwoArguments("no", 7)

    run = body(lock).execute()

    for again in (pickle.loads(pickle.dumps(run)), copy.deepcopy(run)):
        (held,) = again.executed_tasks
        assert held.task_args == (str(lock), 5)
        assert str(held.task_error) == "TwoArguments: no room for 5"
        assert (str(again.flow_error), again.data) == ("TwoArguments: no 7", {"lock": str(lock)})
        assert again.status == "failure"
        with pytest.raises(FlowNotSetUp):
            again.execute()
    twin = copy.copy(run)
    assert (twin.flow_args, twin.data, copy.copy(run.executed_tasks[0]).task_args) == (
        (lock,),
        {"lock": lock},
        (lock, 5),
    )
    with pytest.raises(TypeError, match="lock"):
        pickle.dumps(body(lock))


def test_a_finished_flow_travels_whatever_its_tasks_returned_and_were_asked_to_call(spans, capsys):
    lock = threading.Lock()

    @task
    def connect(this_task):
        this_task.add_task_result("connection", lock)
        print("open {} now")
        return lock

    def body():
        connect()
        return 42

    run = Flow(on_completion=lambda flow: None).setup(body).execute_flow({"lock": lock})

    for again in (pickle.loads(pickle.dumps(run)), copy.deepcopy(run)):
        assert again.log_messages() == run.log_messages()
        assert again.log_messages_with_colors() == run.log_messages_with_colors()
        assert "open {} now" in again.log_messages()
        assert f"Task return value: {lock}" in again.log_messages()
        assert [result.as_dict() for result in again.results] == [result.as_dict() for result in run.results]
        assert (again.flow_return_value, again.flow_run_params) == (42, {"lock": str(lock)})
        assert again.setup(double, 4).execute().flow_return_value == 8


def test_a_flow_and_its_functions_go_to_other_processes(spans):
    assert pickle.loads(pickle.dumps(nightly)) is nightly
    assert pickle.loads(pickle.dumps(nightly(5))).execute().flow_return_value == 10


@pytest.mark.parametrize("library", ["cloudpickle", "dill"])
def test_other_picklers_take_a_class_of_flows_that_is_defined_in_a_function(tmp_path, library):
    pytest.importorskip(library)
    program = f"""
import sys
import {library} as pickler
from otelflow import Flow

def new_class():
    class Nightly(Flow):
        def main(self, number):
            return 2 * number
    return Nightly

if sys.argv[1:]:
    with open(sys.argv[1], "rb") as file:
        print(pickler.load(file)().setup(number=21).execute().flow_return_value)
else:
    with open("class.pickle", "wb") as file:
        pickler.dump(new_class(), file)
"""
    (tmp_path / "nightly.py").write_text(program)

    run_python("nightly.py", cwd=tmp_path, check=True)
    done = run_python("nightly.py", "class.pickle", cwd=tmp_path, check=True)

    assert done.stdout == "42\n"


@pytest.mark.parametrize("library", ["cloudpickle", "dill"])
def test_other_picklers_take_what_is_decorated_with_its_closure(tmp_path, library):
    pytest.importorskip(library)
    program = f"""
import {library} as pickler
from otelflow import flow, task

@task
def double(number):
    return 2 * number

def make(offset):
    @task
    def shift(number):
        return double(number) + offset

    @flow
    def local(number):
        return shift(number)

    return shift, local

shift, local = make(10)
for thing in (shift, local, local(3), local(4).execute()):
    thing = pickler.loads(pickler.dumps(thing))
    run = thing if not callable(thing) else thing(2)
    if run != 14:
        run = run.flow_return_value if run.status else run.execute().flow_return_value
    print(run)
"""

    assert python(program, cwd=tmp_path).stdout == "14\n14\n16\n18\n"


class Refusing(type):
    """A metaclass that refuses to be asked for what its classes do not have."""

    def __getattr__(cls, name):
        raise AttributeError(name) if name.startswith("__") else RuntimeError(name)


@dataclasses.dataclass(frozen=True)
class Frozen(Flow):
    number: int = 3

    def main(self):
        return self.number


class Sealed(Flow, metaclass=Refusing):
    number = 3

    def __setattr__(self, name, value):
        raise AttributeError(f"{name} cannot be set")

    def main(self):
        return self.number


@pytest.mark.parametrize("kind", [Frozen, Sealed])
def test_a_class_whose_objects_cannot_be_changed_may_be_a_flow(spans, kind):
    runs = [kind().execute(), copy.copy(kind()).execute()]

    assert [run.flow_return_value for run in runs] == [3, 3]
    assert pickle.loads(pickle.dumps(runs[0])).status == "success"
    assert spans.tree() == [(f"flow {kind.__name__}", "success", [])] * 2


def test_a_sealed_flow_takes_the_keywords_of_any_other(spans):
    class Named(Sealed):
        def __init__(self):
            Flow.__init__(self, flow_name="named", flow_id="id-1")

    run = Named().execute()

    assert (run.flow_name, run.flow_id, run.status) == ("named", "id-1", "success")


def test_artifacts_that_threads_leave_at_the_same_time_are_all_kept():
    together = threading.Barrier(8)

    @flow
    def leaves(this_flow):
        def leave(number):
            together.wait(10)
            this_flow.add_flow_artifact(key=f"artifact-{number}", data=number)

        threads = [threading.Thread(target=leave, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)

    for _ in range(20):
        run = leaves().execute()

        assert sorted(artifact.key for artifact in run.artifacts) == [f"artifact-{number}" for number in range(8)]
        assert (len(run.results), len(run.captured_events)) == (0, 0)
