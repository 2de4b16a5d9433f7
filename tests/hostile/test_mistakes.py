"""Every mistake that otelflow tells a user of, and what it says; ``mistakes.txt`` beside this is what is said."""

import os
import re
import threading
import time
from pathlib import Path

import pytest

import otelflow
import otelflow.errors
from otelflow import Flow, Flow_Run__Config, Listener, Task, add_listener, errors, flow, runners, task
from otelflow._core.process import process, project_files, settings
from otelflow.cache_policies import INPUTS
from otelflow.results import load
from otelflow.serve import Schedule, serve

SAID = Path(__file__).with_name("mistakes.txt")


@flow
def ready():
    """Run nothing."""


def ready_task(page=1):
    """Return nothing."""


def ready_rows():
    """Yield nothing."""
    yield


class Typing(Listener):
    """Has a hook, and one that is misspelt."""

    def on_task_stop(self, event):
        """Hear."""

    def on_flow_stp(self, event):
        """Would never hear."""


class Deaf(Listener):
    """Has no hook."""


class Hearing(Listener):
    """Has a hook."""

    def on_task_stop(self, event):
        """Hear."""

    def __repr__(self):
        return "<Hearing>"


class Misspelt(Flow):
    """Has a main under another name."""

    def mian(self):
        """Would never run."""


def list_of_pairs(_):
    return [("database", 1)]


class Unshowable:
    """Raises when it is shown."""

    def __repr__(self):
        raise RuntimeError("no text")


class Adder(Flow):
    """Has a main with parameters."""

    def main(self, a, b=2):
        return a + b


class Service:
    """Is injected."""


class Priced:
    @task
    def price(self, fruit):
        """Never run."""


def count_to(limit):
    yield limit


def runs_on(choice):
    @flow(task_runner=choice)
    def run():
        """Never run."""


def sent_to_process(value):
    @flow(task_runner=runners.ProcessPoolTaskRunner(1, "spawn"))
    def send():
        task(len).submit(value).result()

    send().execute()


def artifact(**keywords):
    with ready() as block:
        block.add_flow_artifact(**keywords)


def idle():
    """Do nothing."""


def numbers():
    yield 1


def halve(number: int):
    return number / 2


async def asking(_):
    """Would have to be awaited."""


def undefined():
    @task
    def needs(service: Service = otelflow.INJECTED):
        return service

    needs()


def too_many():
    @task
    def one(number):
        return number

    one(1, 2)


def misspelt_keyword():
    @task
    def one(number):
        return number

    one(nubmer=1)


def unknown_keyword():
    @task
    def one(self, number, *, unit=1):
        return number, unit

    one(self=None, other=1)


def misspelt_injection():
    @task
    def one(this_flwo=otelflow.INJECTED):
        return this_flwo

    one()


def missing():
    @flow
    def one(number):
        return number

    one().execute()


def environment(**variables):
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        settings.configure()
    finally:
        os.environ.clear()
        os.environ.update(before)


def exporters(**variables):
    from otelflow._telemetry.traces import new_provider

    before = dict(os.environ)
    os.environ.update(variables)
    try:
        new_provider(None)
    finally:
        os.environ.clear()
        os.environ.update(before)


def pyproject(text):
    folder = Path.cwd()
    Path("pyproject.toml").write_text(text)
    project_files.use_program(str(Path("job.py").resolve()))
    try:
        settings.configure()
    finally:
        os.chdir(folder)


MISTAKES = {
    "a keyword of @task that does not exist": lambda: task(name="load"),
    "a keyword of @flow that does not exist": lambda: flow(config=None),
    "a keyword of Flow that does not exist": lambda: Flow(flow_nam="load"),
    "a flow asked for what it has under another name": lambda: ready().execute().result,
    "a flow that is executed without being called": lambda: ready.execute(),
    "a class of flows that is executed, not an object": lambda: Adder.execute(),
    "an argument of execute": lambda: Adder().execute(3),
    "a keyword of configure that a variable of OpenTelemetry says": lambda: otelflow.configure(endpoint="http://a"),
    "a task of something that cannot be called": lambda: task(7),
    "a task of a class": lambda: task(Service),
    "a flow of a class": lambda: flow(Service),
    "a flow of something that cannot be called": lambda: Flow().setup("load"),
    "an argument of main given to its class": lambda: Adder(1),
    "a function given to Flow itself": lambda: Flow(len),
    "a keyword of main given to its class": lambda: Adder(b=1),
    "a keyword that neither main nor its class has": lambda: Adder(flow_nam=1),
    "an argument of main given to setup() without its name": lambda: Adder().setup(1),
    "a Task without a target": lambda: Task().execute__sync(),
    "execute() before setup()": lambda: Flow().execute(),
    "a main that is misspelt": lambda: Misspelt().execute(),
    "a main that is no function": lambda: type("Three", (Flow,), {"main": 3})().execute(),
    "dependencies that are none": lambda: (
        type("Asking", (Flow,), {"task_dependencies": list_of_pairs, "main": pow})().setup(pow, 2, 3).execute()
    ),
    "setup() of a class without main": lambda: Flow().setup(),
    "a class of one's own without main": lambda: type("Nothing", (Flow,), {})().execute(),
    "a parameter that nothing fills": missing,
    "more arguments than parameters": too_many,
    "a keyword that is misspelt in a call": misspelt_keyword,
    "a keyword that is unknown in a call": unknown_keyword,
    "an injected parameter that nothing fills": undefined,
    "an injected parameter that is misspelt": misspelt_injection,
    "a captured parameter that does not exist": lambda: task(capture_parameters=["nam"])(undefined),
    "a captured parameter that is no name": lambda: task(capture_parameters=[Unshowable()])(undefined),
    "fewer retries than none": lambda: task(retries=-1)(pow),
    "a delay without retries": lambda: task(retry_delay=5)(pow),
    "a delay below nothing": lambda: task(retries=1, retry_delay=-5)(pow),
    "a condition that is a class": lambda: task(retries=1, retry_condition_fn=OSError)(pow),
    "a condition of three arguments": lambda: Flow(retries=1, retry_condition_fn=pow).setup(pow),
    "a back-off of no number": lambda: otelflow.exponential_backoff("1s"),
    "a time-out of nothing": lambda: task(timeout=0)(pow),
    "a time-out in words": lambda: Flow(timeout="5s").setup(pow),
    "a task that takes too long": lambda: task(timeout=0.01)(lambda: time.sleep(0.5))(),
    "a hook that is async": lambda: task(on_failure=asking)(pow),
    "a hook of three arguments": lambda: Flow(on_completion=[print, pow]).setup(pow),
    "a hook that is no function": lambda: task(on_failure=3),
    "tags that are one text": lambda: task(tags="nightly")(pow),
    "an argument that does not fit its annotation": lambda: task(validate_parameters=True)(halve)("x"),
    "retries of a generator": lambda: task(retries=1)(numbers),
    "a limit without a number": lambda: task(concurrency={"db": "five"})(pow),
    "a limit of none": lambda: otelflow.concurrency("db", 0),
    "a limit without a name": lambda: task(concurrency={"": 5})(pow),
    "a limit that is no dict": lambda: task(concurrency="db")(pow),
    "a limit that cannot be shown": lambda: otelflow.concurrency("db", Unshowable()),
    "a rate without a time": lambda: task(rate_limit={"api": "10"})(pow),
    "a rate that is a number": lambda: otelflow.rate_limit("api", 10),
    "a time-out of no limit": lambda: task(limit_timeout=5)(pow),
    "a limit that is waited for below nothing": lambda: otelflow.concurrency("db", 5, timeout=-1),
    "a limit of a generator": lambda: task(concurrency={"db": 5})(numbers),
    "a schedule without a time": lambda: Schedule(pow),
    "a schedule with two times": lambda: Schedule(pow, every="1h", cron="0 3 * * *"),
    "an interval that is none": lambda: Schedule(pow, every="often"),
    "a cron expression that is none": lambda: Schedule(pow, cron="at three"),
    "a time zone that is misspelt": lambda: Schedule(pow, cron="0 3 * * *", timezone="Europe/Berln"),
    "an overlap that is none": lambda: Schedule(pow, every="1h", overlap="maybe"),
    "a schedule of no flow": lambda: Schedule(42, every="1h"),
    "nothing to serve": lambda: serve(),
    "a value of a keyword of @task": lambda: task(raise_on_error="no"),
    "a value of a keyword of @flow": lambda: flow(flow_config="quiet"),
    "a value that cannot be shown": lambda: flow(flow_name=Unshowable()),
    "a flow_config of another type": lambda: Flow(flow_config={"print_logs": True}),
    "a flow_config of another type that is assigned": lambda: setattr(Flow(), "flow_config", "quiet"),
    "arguments that are no arguments": lambda: setattr(Flow(), "flow_args", 3),
    "keyword arguments that are none": lambda: setattr(Flow(), "flow_kwargs", ["a"]),
    "data that are no dict": lambda: Flow(data="rows"),
    "data that are no dict and assigned": lambda: setattr(Flow(), "data", ["rows"]),
    "captured parameters of a Flow that are no names": lambda: Flow(capture_parameters=None),
    "arguments of a Task that are none": lambda: Task(task_target=len, task_args=3).execute__sync(),
    "keyword arguments of a Task that are none": lambda: Task(task_target=len, task_kwargs=3).execute__sync(),
    "keyword arguments of a Task without names": lambda: Task(task_target=idle, task_kwargs={1: 2}).execute__sync(),
    "a switch of a Task that is none": lambda: Task(task_target=len, raise_on_error="no").execute__sync(),
    "a field of Flow_Run__Config that does not exist": lambda: Flow_Run__Config(print_log=True),
    "a field of Flow_Run__Config with a wrong value": lambda: Flow_Run__Config(print_logs="yes"),
    "a setting that does not exist": lambda: settings.configure(value_limt=7),
    "a setting with a wrong value": lambda: settings.configure(value_limit="many"),
    "a setting below its least value": lambda: settings.configure(value_limit=0),
    "a setting with a choice that does not exist": lambda: settings.configure(events="spam"),
    "a level that does not exist": lambda: settings.configure(message_level="bogus"),
    "a setting that is no list of texts": lambda: settings.configure(capture_loggers=7),
    "a setting that is a list of something else": lambda: settings.configure(capture_loggers=[7]),
    "a pattern that does not compile": lambda: settings.configure(redact=["("]),
    "a variable with a wrong value": lambda: environment(OTELFLOW_PRINT_LOGS="maybe"),
    "a variable that is no number": lambda: environment(OTELFLOW_VALUE_LIMIT="many"),
    "a pyproject.toml that cannot be read": lambda: pyproject("[tool.otelflow"),
    "a pyproject.toml with an unknown field": lambda: pyproject("[tool.otelflow]\nprint_log = true"),
    "a pyproject.toml without a table": lambda: pyproject("[tool]\notelflow = 7"),
    "an exporter that is not installed": lambda: exporters(OTEL_TRACES_EXPORTER="jager"),
    "a protocol that does not exist": lambda: exporters(
        OTEL_TRACES_EXPORTER="otlp", OTEL_EXPORTER_OTLP_PROTOCOL="http"
    ),
    "an endpoint that is none": lambda: exporters(OTEL_EXPORTER_OTLP_ENDPOINT="localhost"),
    "a queue of a size that is no number": lambda: exporters(
        OTEL_TRACES_EXPORTER="console", OTEL_BSP_MAX_QUEUE_SIZE="0"
    ),
    "an artifact key that is not valid": lambda: artifact(key="not valid", data="text"),
    "a table that is none": lambda: artifact(key="table", data="text", artifact_type="table"),
    "a table with unequal columns": lambda: artifact(data={"a": [1], "b": []}, artifact_type="table"),
    "a link that is none": lambda: artifact(key="link", data="somewhere", artifact_type="link"),
    "a progress that is none": lambda: artifact(key="progress", data=101, artifact_type="progress"),
    "an image that is none": lambda: artifact(key="image", data=7, artifact_type="image"),
    "a markdown that is no text": lambda: artifact(key="page", data=7, artifact_type="markdown"),
    "a listener that is none": lambda: add_listener(len),
    "a listener's class instead of a listener": lambda: add_listener(Deaf),
    "a listener without a hook": lambda: add_listener(Deaf()),
    "a listener with a misspelt hook": lambda: add_listener(Typing()),
    "a keyword of configure() that does not exist": lambda: otelflow.configure(shipper="otlp"),
    "a name of a service that is none": lambda: otelflow.configure(service_name=3),
    "a listener in the place of a list": lambda: otelflow.configure(listeners=Hearing()),
    "a provider that is none": lambda: otelflow.configure(tracer_provider="jaeger"),
    "a store that is none": lambda: otelflow.configure(store=3),
    "metrics that are none": lambda: otelflow.configure(metrics=Unshowable()),
    "a promise that does not exist": lambda: otelflow.Objective(sucess=0.99),
    "a generator that is submitted": lambda: task(count_to).submit(3),
    "a method that is submitted without its object": lambda: Priced().price.submit("fig"),
    "a function that is submitted and is no task": lambda: otelflow.submit(len, "fig"),
    "a map of one number": lambda: task(divmod).map([7, 8], 2),
    "a map of a text": lambda: task(len).map("fig"),
    "a map of lists of different lengths": lambda: task(divmod).map([7, 8], [2]),
    "a map of nothing but what each call gets whole": lambda: task(len).map(otelflow.unmapped("fig")),
    "a map of a future": lambda: task(len).map(task(sorted).submit("fig")),
    "a task that waits for one that failed": lambda: task(len).submit(task(divmod).submit(1, 0)).result(),
    "a task that cannot be sent to another process": lambda: sent_to_process(threading.Lock()),
    "a runner that does not exist": lambda: runs_on("thread"),
    "a runner that is none": lambda: runs_on(3),
    "a runner with no workers": lambda: runners.ProcessPoolTaskRunner(0),
    "an optional package that is not installed": lambda: _raise(errors.MissingExtra("cli")),
    "a cache policy that is none": lambda: task(cache_policy="inputs")(ready_task),
    "a cache policy and a key": lambda: task(cache_policy=INPUTS, cache_key_fn=len)(ready_task),
    "a name in a cache policy that is no parameter": lambda: task(cache_policy=INPUTS - "pge")(ready_task),
    "something in a cache policy that is no part of one": lambda: INPUTS + 3,
    "an expiration that is over at once": lambda: task(cache_policy=INPUTS, cache_expiration=-1)(ready_task),
    "an expiration of nothing": lambda: task(cache_expiration=60)(ready_task),
    "a storage for nothing": lambda: task(result_storage="memory")(ready_task),
    "a storage that is none": lambda: task(persist_result=True, result_storage=3)(ready_task),
    "a storage that has no name": lambda: task(persist_result=True, result_storage="")(ready_task),
    "a serializer that does not exist": lambda: task(persist_result=True, result_serializer="jsn")(ready_task),
    "a serializer that is none": lambda: task(persist_result=True, result_serializer=3)(ready_task),
    "a generator that is to be kept": lambda: task(persist_result=True)(ready_rows),
    "a key of nothing that is kept": lambda: load("0" * 64, result_storage="memory"),
}


def _raise(error):
    raise error


def told(mistake):
    """Return what *mistake* raises as a user reads it, without what is of this machine."""
    try:
        mistake()
    except errors.OtelflowError as error:
        text = re.sub(r"(known: )(console|otelflow).*", r"\1…", str(error))  # whatever is installed here
        text = re.sub(r"<class '[\w.]*\.(\w+)'>", r"<class '\1'>", text)
        return f"{type(error).__name__}: {text.replace(str(Path.cwd()), '…')}"
    return "nothing"


@pytest.fixture(autouse=True)
def settings_of_this_test(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("OTEL")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_every_mistake_is_told_as_it_was_reviewed():
    """A message that changes is reviewed by changing ``mistakes.txt``: who is at fault, and what cures it?"""
    lines = []
    for name, mistake in MISTAKES.items():
        lines += [name, f"    {told(mistake)}"]
        process.reset()
        Path("pyproject.toml").unlink(missing_ok=True)

    assert "\n".join(lines) + "\n" == SAID.read_text()


def test_every_kind_of_error_that_can_be_raised_has_a_public_name():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]

    assert len(kinds) == 29
    assert all(getattr(otelflow.errors, kind.__name__) is kind for kind in kinds)
    assert {kind.__module__ for kind in kinds} == {"otelflow.errors"}


@pytest.mark.parametrize(
    ("variables", "warning"),
    [
        ({"OTELFLOW_VALUE_LIMT": "7"}, "OTELFLOW_VALUE_LIMT is not a variable"),
        ({"OTELFLOW_PRINT_LOGS": "maybe"}, "print_logs must be True or False"),
        ({"OTELFLOW_REDACT": "("}, "is not a regular expression"),
        ({"OTELFLOW_EVENTS": "spam"}, "events must be one of"),
    ],
)
def test_a_mistake_in_a_variable_is_one_warning_and_never_breaks_a_run(variables, warning, monkeypatch, caplog):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert [ready().execute().status for _ in range(3)] == ["success"] * 3
    (record,) = caplog.records
    assert warning in record.getMessage()
    assert record.getMessage().endswith("(ignored)")


@pytest.mark.parametrize("text", ["[tool.otelflow", "[tool.otelflow]\nprint_log = true", "[tool]\notelflow = 7", "\0"])
def test_a_mistake_in_a_file_is_one_warning_at_most_and_never_breaks_a_run(text, monkeypatch, caplog):
    Path("pyproject.toml").write_text(text)

    assert [ready().execute().status for _ in range(3)] == ["success"] * 3
    assert len(caplog.records) <= 1


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="needs the rights of Unix")
def test_a_folder_that_must_not_be_looked_into_never_breaks_a_run(program):
    source = """
    from otelflow import flow
    from otelflow._core.process import process, settings
    @flow
    def ready(): ...
    ready().execute()
    process.reset()
    os.makedirs("locked/inside")
    os.chdir("locked/inside")
    os.chmod("..", 0)
    if os.geteuid() == 0:
        os.setuid(65534)
    print(ready().execute().status)
    """
    program.run(source)

    assert program.out == "success\n", program.err
    (program.folder / "locked").chmod(0o700)
