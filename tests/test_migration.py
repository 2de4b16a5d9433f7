"""One program under OSBot-Utils and under otelflow: what is equal, and what differs on purpose (docs/migration.md)."""

import importlib.util
import json
import re
import textwrap
from pathlib import Path

import pytest

from support.programs import run_python

pytestmark = pytest.mark.skipif(importlib.util.find_spec("osbot_utils") is None, reason="osbot-utils is not installed")

OSBOT = """
from osbot_utils.helpers.flows.Flow import Flow
from osbot_utils.helpers.flows.Task import Task
from osbot_utils.helpers.flows.actions.Flow__Events import flow_events
from osbot_utils.helpers.flows.decorators.flow import flow
from osbot_utils.helpers.flows.decorators.task import task
from osbot_utils.helpers.flows.models.Flow_Run__Config import Flow_Run__Config
"""
OTELFLOW = "from otelflow import Flow, Flow_Run__Config, Task, flow, flow_events, task"

PROGRAM = """
import asyncio, contextlib, io, json, logging, sys

seen, found, captured = [], {}, []
flow_events.event_listeners.append(captured.append)
flow_events.event_listeners.append(lambda event: seen.append(
    (str(getattr(event.event_type, "value", event.event_type)), event.event_data.task_name or "",
     (event.event_data.data or {}).get("message_data", {}).get("message_text", ""))))

@task()
def double(value, flow_data=None, task_data=None, this_task=None, this_flow=None):
    print("doubling", value)
    flow_data["last"] = value
    this_flow.add_flow_artifact("the value", "the-value", {"value": value}, "json")
    this_flow.add_flow_result("doubled", str(value * 2))
    return value * 2

@task()
async def later(value):
    return value + 1

@task(raise_on_error=False)
def stumbles():
    raise ValueError("stumbled")

@flow(flow_config=Flow_Run__Config(flow_data__capture_events=True))
def plain(value):
    return double(value)

@flow()
async def waits(value):
    return await later(value)

@flow()
def goes_on():
    stumbles()
    return "went on"

class Mine(Flow):
    def main(self):
        return "mine"

@flow(flow_config=Flow_Run__Config(raise_flow_error=False))
def falls():
    raise ValueError("fell")

@flow()
def zero():
    return 0

def without(value, *names):
    return {key: item for key, item in value.items() if key not in names}

run = plain(21).execute()
report = run.json()["flow_data"]
found["value"] = run.flow_return_value
found["data"] = dict(run.data)
found["tasks"] = [(one.task_name, one.task_return_value) for one in run.executed_tasks]
found["durations"] = {**run.durations(), "flow_duration": 0, "flow_tasks": list(run.durations()["flow_tasks"])}
long = run.durations__with_tasks_status()["flow_tasks"]
found["durations with status"] = {order: without(one, "task_duration") for order, one in long.items()}
found["output keys"] = list(run.flow_output())
found["report keys"] = sorted(report)
found["report of a task"] = [sorted(one) for one in report["tasks"].values()]
found["report of logs"] = sorted({key for line in report["logs"] for key in line})
found["report of results"] = [without(one, "timestamp") for one in report["results"]]
found["report of artifacts"] = [without(one, "timestamp") for one in report["artifacts"]]
found["report of events"] = sorted({key for one in report["events"] for key in one})
found["report status"] = (report["status"], report["error"], report["return_value"])
found["ids"] = (run.flow_id[:9], next(iter(run.executed_tasks)).task_id[:9])
found["events"] = list(seen)
found["async"] = waits(1).execute().flow_return_value
lenient = goes_on().execute()
found["goes on"] = (lenient.flow_return_value, lenient.durations()["flow_status"])
found["main"] = Mine().setup().execute().flow_return_value
fallen = falls().execute()
found["falls"] = (fallen.durations()["flow_status"], fallen.flow_return_value)
found["messages with colours"] = []
for one in (falls(), waits(1), goes_on()):
    one.flow_id = "<id>"
    found["messages with colours"] += one.execute().captured_exec_logs
found["config"] = Flow_Run__Config(print_logs=True).json()
with Task() as one:
    with Flow() as around:
        one.task_target = lambda: 5
        found["direct task"] = one.execute__sync()
try:
    Flow().execute()
except ValueError:
    found["execute before setup"] = "ValueError"
seen.clear()
zero().execute()
found["results of 0"] = [kind for kind, _, _ in seen if kind == "new_result"]

@task()
def raises():
    raise LookupError("x")

@flow()
def raising():
    raises()

seen.clear()
try:
    raising().execute()
except Exception as error:
    found["raised"] = type(error).__name__
found["ends of a failure"] = [kind for kind, _, _ in seen if kind.endswith("_stop")]
before = len(flow_events.event_listeners)
for _ in range(5):
    plain(1).execute()
found["listeners left behind"] = len(flow_events.event_listeners) - before

def shape(value):
    is_dict = isinstance(value, dict)
    return {key: shape(item) for key, item in value.items()} if is_dict else type(value).__name__

lenient = goes_on()
statistics = lenient.flow_stats
found["setup completed"] = (Flow().setup_completed, lenient.setup_completed)
found["duration before a run"] = statistics.json()["duration"]
lenient.execute()
(only,) = lenient.executed_tasks
of_tasks = statistics.json()["tasks_stats"]
found["statistics"] = shape(without(statistics.json(), "tasks_stats"))
found["statistics read"] = (statistics.stats.status.value, statistics.stats.total_tasks, statistics.stats.failed_tasks,
    statistics.stats.error_message, statistics.stats.duration.duration_seconds > 0)
found["statistics of a task"] = shape(of_tasks[only.task_id])
found["statistics of a task read"] = (only.task_stats.json() == of_tasks[only.task_id],
    only.task_stats.stats.execution_order, only.task_stats.stats.parent_flow_id == lenient.flow_id)
found["json of a flow that goes on"] = (lenient.json()["flow_data"]["status"], lenient.json()["flow_data"]["error"])

with Flow() as around:
    around.setup(lambda: None)
    around.logger.add_memory_logger()
    around.log_info("one")
    around.logger.warning("two")
    found["logger"] = around.logger.memory_handler_messages()

event_class, hub, heard = type(captured[0]), type(flow_events)(event_listeners=[]), []
hub.event_listeners.append(heard.append)
hub.raise_event(event_class(timestamp=5, event_data=type(captured[0].event_data)(flow_name="by hand")))
found["event by hand"] = (heard[0].timestamp, heard[0].event_data.flow_name, len(heard[0].event_id))
found["event is a text"] = heard[0].event_type == "flow_message"
found["json of an event"] = sorted(captured[0].event_data.json())
found["run parameters"] = (zero().execute().flow_run_params, zero().execute_flow({"x": 1}).flow_run_params)

@task()
def traced():
    raise LookupError("traced")

@flow(flow_config=Flow_Run__Config(print_error_stack_trace=True, log_to_console=True, raise_flow_error=False))
def loud():
    traced()

with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
    told = loud().execute().log_messages() or loud().execute().captured_logs()
found["tracebacks"] = ("Traceback" in "".join(told), "Traceback" in err.getvalue())
found["console"] = ("Executing flow" in out.getvalue(), "Executing flow" in err.getvalue())
off = Flow_Run__Config(log_to_memory=False, add_task_to_self=False)
silent = Flow(flow_config=off).setup(lambda: stumbles()).execute().json()["flow_data"]
found["kept though switched off"] = (len(silent["logs"]) > 0, len(silent["tasks"]) > 0)
found["name without a function"] = (Flow().setup(lambda: None).flow_name, Mine().setup().flow_name)

def holds(a_flow):
    return Task().find_flow() is a_flow

found["flow in a variable"] = holds(Flow())
with Flow() as around:
    found["flow of a block"] = holds(around)

def bare(this_flow=None):
    this_flow.add_flow_artifact()

made = Flow().setup(bare).execute().json()["flow_data"]["artifacts"][0]

def linked(this_flow=None):
    this_flow.add_flow_artifact("where", "where", {"link": "https://example.com"}, "link")

try:
    Flow().setup(linked).execute()
except ValueError as error:
    found["data that is no link"] = "http or https address" in str(error)
else:
    found["data that is no link"] = None
found["artifact without anything"] = (made["key"], made["type"])
seen.clear()
again = zero().execute_flow({"x": 1})
found["events of run parameters"] = ["flow_run_params" in str(seen), "new_artifact" in str(seen)]
found["new id"] = again.flow_id != again.execute().flow_id
try:
    Flow_Run__Config(print_log=True)
except Exception as error:
    found["unknown field"] = "print_logs" in str(error)

class Typed(Flow):
    pages: list

found["typed attribute"] = hasattr(Typed(), "pages")
handler = logging.StreamHandler(io.StringIO())
logging.getLogger().addHandler(handler)
zero().execute()
found["logging"] = "Executing flow" in handler.stream.getvalue()
open(sys.argv[1], "w").write(json.dumps(found))
"""


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("migration")
    return {name: run(name, imports, folder) for name, imports in (("osbot", OSBOT), ("otelflow", OTELFLOW))}


def run(name: str, imports: str, folder: Path):
    program, results = folder / f"under_{name}.py", folder / f"{name}.json"
    program.write_text(imports + textwrap.dedent(PROGRAM))
    done = run_python("-W", "ignore", program, results, timeout=120, cwd=folder)
    assert done.returncode == 0, done.stderr
    return {**json.loads(results.read_text()), "stdout": done.stdout}


@pytest.mark.parametrize(
    "result",
    [
        "value",
        "data",
        "tasks",
        "durations",
        "durations with status",
        "output keys",
        "report keys",
        "report of a task",
        "report of logs",
        "report of results",
        "report of artifacts",
        "report of events",
        "report status",
        "ids",
        "async",
        "goes on",
        "main",
        "falls",
        "config",
        "direct task",
        "execute before setup",
        "setup completed",
        "duration before a run",
        "statistics",
        "statistics read",
        "statistics of a task",
        "statistics of a task read",
        "logger",
        "event by hand",
        "messages with colours",
        "flow of a block",
        "run parameters",
    ],
)
def test_it_is_the_same_in_both(both, result):
    assert both["otelflow"][result] == both["osbot"][result]


def messages(results):
    return [re.sub(r"flow_id_\w+", "<id>", text) for kind, _, text in results["events"] if kind == "flow_message"]


def test_the_messages_are_the_same(both):
    assert messages(both["otelflow"]) == messages(both["osbot"])


def test_the_events_are_the_same_but_that_a_line_is_heard_when_it_is_printed(both):
    of_otelflow, of_osbot = ([(kind, task) for kind, task, _ in both[name]["events"]] for name in ("otelflow", "osbot"))

    assert sorted(kind for kind, _ in of_otelflow) == sorted(kind for kind, _ in of_osbot)
    assert [kind for kind, _ in of_otelflow if kind.endswith(("start", "stop"))] == [
        kind for kind, _ in of_osbot if kind.endswith(("start", "stop"))
    ]
    order = [kind for kind, _ in of_otelflow]
    assert order.index("flow_message", order.index("task_start") + 2) < order.index("new_artifact")


@pytest.mark.parametrize(
    ("result", "osbot", "otelflow"),
    [
        ("stdout", "", "doubling 21\n" + "doubling 1\n" * 5),
        ("results of 0", [], ["new_result"]),
        ("raised", "Exception", "LookupError"),
        ("ends of a failure", ["flow_stop"], ["task_stop", "flow_stop"]),
        ("listeners left behind", 5, 0),
        ("json of a flow that goes on", ["completed", None], ["failed", "At least one task failed"]),
        ("event is a text", False, True),
        ("tracebacks", [True, False], [False, True]),
        ("console", [True, False], [False, True]),
        ("kept though switched off", [True, True], [False, False]),
        ("name without a function", ["<lambda>", "main"], ["Flow", "Mine"]),
        ("flow in a variable", True, False),
        ("data that is no link", None, True),
        ("artifact without anything", ["default", "default"], [None, "text"]),
        ("events of run parameters", [True, True], [False, False]),
        ("new id", False, True),
        ("unknown field", False, True),
        ("typed attribute", True, False),
        ("logging", True, False),
    ],
)
def test_it_differs_on_purpose(both, result, osbot, otelflow):
    assert (both["osbot"][result], both["otelflow"][result]) == (osbot, otelflow)


def test_an_event_says_more_than_it_did(both):
    of_osbot, of_otelflow = (set(both[name]["json of an event"]) for name in ("osbot", "otelflow"))

    assert of_otelflow - of_osbot == {"parent_run_id", "result", "duration", "error_type", "error_message"}
    assert of_osbot <= of_otelflow
