"""What a run says: prints, log_*, loggers; on the run where it was said, and without touching the program."""

import asyncio
import builtins
import contextvars
import io
import logging
import pickle
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otelflow import Flow_Run__Config, flow, flow_events, get_run_logger, task
from otelflow._core.inside import messages
from otelflow._core.process import losses
from otelflow._core.process import provider as span_maker


@pytest.fixture(autouse=True)
def defaults(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def run_of(body, **keywords):
    body.__name__ = "body"
    return flow(**keywords)(body)().execute()


def said(run):
    """The messages of a run, without the engine's own."""
    return [line.plain_text for line in run.log if line.level >= 20]


def test_each_way_of_saying_something_becomes_a_message_of_the_run_with_its_own_time(spans):
    @task
    def work(this_task=None, this_flow=None):
        print("printed")
        this_task.log_debug("whispered")
        this_task.log_info("told")
        this_task.log_warning("warned")
        this_flow.log_error("shouted")
        get_run_logger().info("logged %s", 1)

    @flow
    def talk():
        work()

    run = talk().execute()

    assert spans.messages("task work") == ["printed", "told", "warned", "shouted", "logged 1"]
    assert spans.messages("flow talk") == []
    assert said(run) == ["printed", "told", "warned", "shouted", "logged 1"]
    assert "whispered" in run.captured_logs()
    task_span = spans.one("task work")
    times = [event.timestamp for event in task_span.events]
    assert times == sorted(times)
    assert task_span.start_time <= times[0] < times[-1] <= task_span.end_time
    severities = [event.attributes["otelflow.message.severity"] for event in task_span.events]
    assert severities == ["INFO", "INFO", "WARNING", "ERROR", "INFO"]


def test_listeners_hear_a_message_at_once():
    heard = []

    def listen(event):
        heard.append(event.event_data.data.get("message_data", {}).get("message_text"))

    def body():
        print("one")
        return list(heard)

    flow_events.event_listeners.append(listen)
    try:
        run = run_of(body)
    finally:
        flow_events.event_listeners.remove(listen)

    assert run.flow_return_value[-1] == "one"


def test_eight_threads_that_print_at_once_are_heard_on_their_own_runs(spans, capsys):
    @task
    def work(number):
        for line in range(50):
            print(f"{number}:{line}")

    def body(number):
        work(number)

    def run(number):
        return flow(flow_name=f"thread {number}")(body)(number).execute()

    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(run, range(8)))

    for number, one in enumerate(runs):
        assert said(one) == [f"{number}:{line}" for line in range(50)]
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(f"{n}:{m}" for n in range(8) for m in range(50))


def test_a_hundred_asyncio_tasks_that_print_at_once_are_heard_on_their_own_runs(spans):
    @task
    async def work(number):
        for line in range(5):
            print(f"{number}:{line}")
            await asyncio.sleep(0)

    @flow
    async def one(number):
        await work(number)

    async def all_of_them():
        return await asyncio.gather(*(one(number).execute_async() for number in range(100)))

    runs = asyncio.run(all_of_them())

    for number, run in enumerate(runs):
        assert said(run) == [f"{number}:{line}" for line in range(5)]
    assert sorted(text for span in spans.named("task work") for text in texts(span)) == sorted(
        f"{n}:{m}" for n in range(100) for m in range(5)
    )


def texts(span):
    return [e.attributes["otelflow.message.text"] for e in span.events if e.name == "otelflow.message"]


def test_threads_that_share_a_run_lose_no_line_of_it():
    def body():
        def talk(number):
            for line in range(100):
                print(f"{number}:{line}")

        threads = [threading.Thread(target=contextvars.copy_context().run, args=(talk, n)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)

    run = run_of(body)

    assert sorted(said(run)) == sorted(f"{n}:{m}" for n in range(4) for m in range(100))


class Stream(io.StringIO):
    """A stdout of the program's own: it notes each call."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def write(self, text):
        self.calls.append(text)
        return super().write(text)

    def flush(self):
        self.calls.append("flush")


class Counted:
    def __init__(self, text):
        self.text = text
        self.calls = 0

    def __str__(self):
        self.calls += 1
        return self.text


class Text(str):
    __slots__ = ()

    def __str__(self):
        return "shown " + self


def print_in_every_way():
    print()
    print("a", 1, 2.5, None, True, b"\xff", [1, "x"])
    print("b", end="")
    print("c", "c", sep="-", end="!\n", flush=True)
    print("d", "e", "f", sep=", ")
    print("g\nh\r\ni\rj")
    print(Counted("k"), Text("l"), end=None, sep=None)
    print("m", file=None)
    print("ü €", file=sys.stdout)
    for bad in ({"sep": 1}, {"end": 1}, {"wrong": 1}):
        with pytest.raises(TypeError):
            print("x", **bad)


@pytest.mark.parametrize("run", [print_in_every_way, lambda: run_of(print_in_every_way)])
def test_the_program_writes_to_its_own_stdout_what_it_would_without_us(run, monkeypatch):
    plain, observed = Stream(), Stream()
    monkeypatch.setattr(sys, "stdout", plain)
    print_in_every_way()
    monkeypatch.setattr(sys, "stdout", observed)

    run()

    assert observed.calls == plain.calls


def test_the_bytes_on_the_real_stdout_are_those_of_an_undecorated_program(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent("""
            import sys
            from otelflow import flow
            def body():
                print("one"); print("two", end=""); sys.stdout.write("raw\\n"); print("ü", b"\\xff", flush=True)
                print("err", file=sys.stderr); print("\\udce4".encode("utf-8", "surrogateescape"))
            flow(body)().execute() if "--flow" in sys.argv else body()
        """)
    )

    plain, observed = (
        subprocess.run([sys.executable, program, *more], capture_output=True, timeout=60, check=True)
        for more in ([], ["--flow"])
    )

    assert (observed.stdout, observed.stderr) == (plain.stdout, plain.stderr)


def test_each_argument_is_turned_into_text_exactly_once(capsys):
    thing = Counted("once")

    run = run_of(lambda: print(thing, [thing]))

    assert thing.calls == 1
    assert said(run)[0].startswith("once [<")


def test_without_a_stdout_a_print_is_silent_and_the_program_goes_on(monkeypatch):
    def body():
        monkeypatch.setattr(sys, "stdout", None)
        print(Counted("x"), "y")
        return 1

    assert run_of(body).flow_return_value == 1


def test_print_into_a_file_is_no_message(tmp_path):
    def body():
        with (tmp_path / "file").open("w") as file:
            print("into the file", file=file)
        print("out")

    run = run_of(body)

    assert said(run) == ["out"]
    assert (tmp_path / "file").read_text() == "into the file\n"


class Broken(io.StringIO):
    def write(self, text):
        raise BrokenPipeError("gone")


def test_a_print_that_raises_raises_the_same_in_a_flow(monkeypatch):
    def body():
        monkeypatch.setattr(sys, "stdout", Broken())
        with pytest.raises(BrokenPipeError, match="gone"):
            print("x")
        return "caught"

    assert run_of(body).flow_return_value == "caught"


class Unprintable:
    def __str__(self):
        raise ValueError("no text")


def test_an_argument_whose_str_raises_raises_the_same_in_a_flow():
    def body():
        with pytest.raises(ValueError, match="no text"):
            print(Unprintable())

    run = run_of(body)

    assert said(run) == []


@pytest.fixture
def wrapped():
    """A wrapper of print as other libraries have them; put it where you like, it is gone after the test."""
    original = builtins.print
    heard = []

    def install():
        inner = builtins.print

        def theirs(*values, **options):
            heard.append(values)
            inner(*values, **options)

        builtins.print = theirs
        return inner

    yield install, heard
    builtins.print = original


def test_a_wrapper_that_was_there_before_gets_the_very_arguments_and_stays(wrapped):
    install, heard = wrapped
    install()
    theirs = builtins.print
    thing = {"a": 1}

    run = run_of(lambda: print(thing))

    assert heard == [(thing,)]
    assert heard[0][0] is thing
    assert said(run) == ["{'a': 1}"]
    assert builtins.print is theirs


def test_a_wrapper_installed_in_a_run_stays_and_every_line_is_heard_once(wrapped):
    install, heard = wrapped
    before = []

    def body():
        print("1")
        if not before:
            before.append(install())
        print("2")

    first, second = run_of(body), run_of(body)

    assert said(first) == said(second) == ["1", "2"]
    assert heard == [("2",), ("1",), ("2",)]
    assert builtins.print.__name__ == "theirs"


def test_a_wrapper_that_goes_away_after_the_run_leaves_print_as_good_as_new(wrapped):
    install, _ = wrapped
    plain = builtins.print
    inner = []
    run_of(lambda: inner.append(install()))
    builtins.print = inner[0]

    runs = [run_of(lambda: print("x")) for _ in range(50)]

    assert [said(run) for run in runs] == [["x"]] * 50
    depth, wrapped_print = 0, builtins.print
    while wrapped_print is not plain and depth < 10:
        wrapped_print, depth = wrapped_print.__wrapped__, depth + 1
    assert depth <= 1


def test_a_wrapper_that_goes_away_in_another_run_does_not_silence_it(wrapped):
    install, _ = wrapped

    def body():
        inner = install()
        print("1")
        builtins.print = inner
        print("2")

    assert said(run_of(body)) == ["1", "2"]


def test_print_is_the_original_again_after_the_last_run_and_pickles_in_between():
    before = builtins.print

    run = run_of(lambda: (pickle.loads(pickle.dumps(print)) is print, builtins.print is before))

    assert run.flow_return_value == (True, False)
    assert builtins.print is before


def test_the_last_print_before_the_stack_is_full_still_prints(capsys):
    def body():
        def down():
            print("down")
            down()

        with pytest.raises(RecursionError):
            down()
        return "up"

    assert run_of(body).flow_return_value == "up"


def test_what_a_listener_prints_is_printed_and_is_no_message(capsys):
    def listen(event):
        print("from the listener")

    flow_events.event_listeners.append(listen)
    try:
        run = run_of(lambda: print("mine"))
    finally:
        flow_events.event_listeners.remove(listen)

    assert said(run) == ["mine"]
    assert "from the listener" in capsys.readouterr().out


def test_lines_are_put_together_and_a_progress_bar_leaves_its_last_state():
    def body():
        print("half ", end="")
        print("a line")
        for percent in range(0, 101, 10):
            print(f"\r{percent} %", end="")
        print()
        print("not ended", end="")

    assert said(run_of(body)) == ["half a line", "100 %", "not ended"]


def test_ten_thousand_prints_keep_head_tail_and_errors_and_push_out_no_artifact(spans, capsys):
    @task
    def chatter(this_task=None):
        this_task.add_task_artifact(key="early", data="a")
        this_task.add_task_result("r", "v")
        for number in range(10_000):
            print(number)
            if number % 2_000 == 1_000:
                this_task.log_error(f"error {number}")

    run = run_of(lambda: chatter())

    kept = spans.messages("task chatter")
    kinds = [event.name for event in spans.events("task chatter")]
    assert kept[:2] == ["0", "1"]
    assert kept[-1] == "9999"
    assert [text for text in kept if text.startswith("error")] == [f"error {n}" for n in range(1_000, 10_000, 2_000)]
    assert kinds.count("otelflow.artifact") == kinds.count("otelflow.result") == 1
    omitted = spans.one("task chatter").attributes["otelflow.messages.omitted"]
    assert omitted == 10_005 - len(kept)
    assert len(run.log) + run.log.omitted >= 10_005
    assert len(capsys.readouterr().out.splitlines()) == 10_000


def test_a_host_that_keeps_sixteen_events_keeps_the_exception_the_results_and_the_artifacts():
    exporter = InMemorySpanExporter()
    provider = TracerProvider(span_limits=SpanLimits(max_events=16), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    before = span_maker.use_provider(provider)

    def body(this_flow):
        this_flow.add_flow_artifact(key="early", data="a")
        this_flow.add_flow_result("r", "v")
        for number in range(100):
            print(number)
        raise ValueError("boom")

    try:
        with pytest.raises(ValueError, match="boom"):
            run_of(body)
    finally:
        span_maker.use_provider(before)

    (span,) = exporter.get_finished_spans()
    kinds = [event.name for event in span.events]
    assert len(kinds) == 16
    assert kinds[-3:] == ["otelflow.artifact", "otelflow.result", "exception"]
    assert texts(span)[-1] == "99"


def test_a_message_of_ten_megabytes_is_bounded_and_says_how_long_it_was(spans):
    def body(this_flow):
        this_flow.log_info("x" * 10_000_000)
        this_flow.log_info(b"\xff" * 10_000_000)

    run_of(body)

    one, two = spans.messages("flow body")
    assert one == "x" * 8192 + "… [cut, 10,000,000 characters]"
    assert two.endswith("… [cut, 10,000,000 characters]")
    assert len(two) < 9_000


def test_a_print_of_a_million_lines_keeps_both_ends_and_counts_the_rest(spans, capsys):
    run = run_of(lambda: print("\n".join(map(str, range(1_000_000)))))

    assert said(run)[0] == "0"
    assert said(run)[-1] == "999999"
    assert (
        len(spans.messages("flow body")) + spans.one("flow body").attributes["otelflow.messages.omitted"] == 1_000_000
    )


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (b"caf\xe9", "caf\\xe9"),
        ("lone \udce4", "lone \\udce4"),
        (Unprintable(), "<Unprintable: str() raised ValueError>"),
        ("", ""),
        (None, "None"),
        ({"a": [1]}, "{'a': [1]}"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("nul\x00", "nul\x00"),
    ],
)
def test_any_message_becomes_a_text_that_can_be_exported(spans, message, text):
    run_of(lambda this_flow: this_flow.log_info(message))

    assert spans.messages("flow body") == [text]


def test_messages_are_off_when_logging_is_disabled(spans, capsys):
    def body(this_flow):
        print("x")
        this_flow.log_error("y")

    run = run_of(body, flow_config=Flow_Run__Config(logging_enabled=False))

    assert run.captured_logs() == []
    assert spans.messages("flow body") == []
    assert capsys.readouterr().out == "x\n"


def test_only_levels_that_are_asked_for_get_onto_the_span(spans, monkeypatch):
    monkeypatch.setenv("OTELFLOW_MESSAGE_LEVEL", "error")

    run = run_of(lambda this_flow: (this_flow.log_warning("w"), this_flow.log_error("e")))

    assert spans.messages("flow body") == ["e"]
    assert said(run)[:2] == ["w", "e"]


def test_what_is_said_after_the_end_belongs_to_the_run_around_it(spans):
    late = []

    @task
    def work():
        late.append(contextvars.copy_context())

    def body():
        work()
        late[0].run(print, "after the task")

    run_of(body)

    assert spans.messages("flow body") == ["after the task"]


def test_a_message_that_cannot_be_taken_is_counted_said_once_and_printed(monkeypatch, caplog, capsys):
    monkeypatch.setattr(messages, "write", lambda *_, **__: 1 / 0)
    before = losses.dropped["messages", "failed"]

    run = run_of(lambda: [print("x"), print("y")])

    assert run.status == "success"
    assert capsys.readouterr().out == "x\ny\n"
    assert losses.dropped["messages", "failed"] == before + 2
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1
