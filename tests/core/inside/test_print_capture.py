"""What a run prints is heard on that run, and the program prints as it would without us."""

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
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import pytest

from otelflow import Flow_Run__Config, flow, flow_events, task
from otelflow._core.inside import messages, print_capture
from otelflow._core.process import losses
from support.flows import run_of
from support.spans import texts


def said(run):
    """The messages of a run, without the engine's own."""
    return [line.plain_text for line in run.log if line.level >= 20]


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

    for number, run_of_thread in enumerate(runs):
        assert said(run_of_thread) == [f"{number}:{line}" for line in range(50)]
    # Text and end of line are two writes, between which another thread may come: as without us.
    printed = Counter(capsys.readouterr().out)
    assert printed == Counter("".join(f"{n}:{m}\n" for n in range(8) for m in range(50)))


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
        subprocess.run([sys.executable, program, *options], capture_output=True, timeout=60, check=True)
        for options in ([], ["--flow"])
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
    wrapper = builtins.print
    thing = {"a": 1}

    run = run_of(lambda: print(thing))

    assert heard == [(thing,)]
    assert heard[0][0] is thing
    assert said(run) == ["{'a': 1}"]
    assert builtins.print is wrapper


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


def test_a_progress_bar_that_returns_at_the_end_of_each_state_leaves_its_last_one_too():
    def body():
        for percent in range(0, 101, 10):
            print(f"{percent} %", end="\r")
        print()
        print("half\r", end="")
        print("whole", end="\r")

    assert said(run_of(body)) == ["100 %", "whole"]


def test_a_value_that_cannot_be_shown_twice_raises_nothing_where_another_library_prints(monkeypatch):
    class Once:
        texts: ClassVar = ["shown"]

        def __str__(self):
            return self.texts.pop()

    printed = []
    monkeypatch.setattr(builtins, "print", lambda *values, **_: printed.extend(map(str, values)))
    before = losses.dropped["messages", "failed"]

    run = run_of(lambda: print(Once()))

    assert (run.status, printed) == ("success", ["shown"])
    assert losses.dropped["messages", "failed"] == before + 1


def test_a_message_that_cannot_be_taken_is_counted_said_once_and_printed(monkeypatch, caplog, capsys):
    monkeypatch.setattr(messages, "write", lambda *_, **__: 1 / 0)
    before = losses.dropped["messages", "failed"]

    run = run_of(lambda: [print("x"), print("y")])

    assert run.status == "success"
    assert capsys.readouterr().out == "x\ny\n"
    assert losses.dropped["messages", "failed"] == before + 2
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


def test_printing_does_not_redirect_the_programs_stdout(capsys):
    before = sys.stdout

    run = flow()(lambda: sys.stdout is before)().execute()

    assert run.flow_return_value is True
    assert sys.stdout is before


def test_four_threads_that_print_keep_their_lines_apart():
    def chatter(name):
        for number in range(20):
            print(f"{name} {number}")

    def run(name):
        return flow(flow_name=name)(chatter)(name).execute()

    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(run, "abcd"))

    for name, run_of_thread in zip("abcd", runs, strict=True):
        assert [line.text for line in run_of_thread.log if line.level == 20] == [
            f"{name} {number}" for number in range(20)
        ]


@pytest.mark.parametrize(
    ("printed", "messages"),
    [
        ("one\n", ["one"]),
        ("one\ntwo\n", ["one", "two"]),
        ("one\n\n \t\ntwo", ["one", "two"]),
        ("10 %\r20 %\r30 %\n", ["30 %"]),
        ("10 %\r20 %", ["20 %"]),
        ("10 %\r20 %\r", ["20 %"]),
        ("10 %\r20 %\rdone\n", ["done"]),
        ("\r", []),
        ("\r\r\n", []),
        ("from Windows\r\nand on\r\n", ["from Windows", "and on"]),
        ("\n", []),
        ("", []),
    ],
)
def test_each_line_that_says_something_is_a_message(printed, messages, capsys):
    run = run_of(lambda: print(printed, end=""))

    assert said(run) == messages
    assert run.log.omitted == 0
    assert capsys.readouterr().out == printed


def test_what_joins_and_ends_a_print_is_heard_as_it_is_printed(capsys):
    def body():
        print("a", 1, None, sep=None, end=None)
        print(True, 1.5, [2], sep="-", end="!\n")
        print("to stderr", file=sys.stderr)
        print("to stdout", file=sys.stdout)
        print()

    run = run_of(body)

    written = capsys.readouterr()
    assert said(run) == ["a 1 None", "True-1.5-[2]!", "to stderr", "to stdout"]
    assert (written.out, written.err) == ("a 1 None\nTrue-1.5-[2]!\nto stdout\n\n", "to stderr\n")


@pytest.mark.parametrize(("length", "heard"), [(65_535, 0), (65_536, 1)])
def test_a_line_that_does_not_end_is_a_message_when_it_is_long(length, heard, capsys):
    seen = []

    def body(this_flow):
        print("x" * length, end="")
        seen.append(len(said(this_flow)))

    run = run_of(body)

    assert seen == [heard]
    assert len(said(run)) == 1


@pytest.mark.parametrize("count", [2_000, 2_001, 5_000])
def test_of_a_text_of_many_lines_the_first_and_the_last_thousand_are_heard(count, capsys):
    heard = []
    flow_events.event_listeners.append(lambda event: heard.append(event.event_data.data.get("message_data")))

    run_of(lambda: print("\n".join(map(str, range(count)))))

    numbers = [int(data["message"]) for data in heard if data and data["log_level"] == logging.INFO]
    assert numbers == [*range(1_000), *range(count - 1_000, count)]


def test_a_fresh_process_has_its_own_print_again_unless_somebody_has_wrapped_it_since():
    prints = []

    def body():
        prints.append(builtins.print)
        print_capture._wrapper.reset()
        prints.append((builtins.print, print_capture._wrapper.is_installed))

    def body_with_a_wrapper():
        own = prints[0]  # stands for somebody else's
        builtins.print = own
        print_capture._wrapper.reset()
        prints.append(builtins.print)
        builtins.print = before

    before = builtins.print
    run_of(body)
    run_of(body_with_a_wrapper)

    assert prints[0] is not before
    assert not print_capture._wrapper.is_installed
    assert prints[1] == (before, False)
    assert prints[2] is prints[0]
    assert builtins.print is before


def test_what_was_printed_by_a_run_whose_print_is_not_wrapped_any_more_is_still_printed(capsys):
    print_capture._wrapper.reset()
    print_capture._wrapper.original("nothing is wrapped", end="")
    print_capture._wrapper.wrapper("nothing is wrapped")

    assert capsys.readouterr().out == ""


def test_a_print_of_ours_that_a_wrapper_has_put_back_is_known_again():
    before, ours = builtins.print, []
    run_of(lambda: ours.append(builtins.print))
    builtins.print = ours[0]  # as a wrapper does that leaves what it found

    run = run_of(lambda: print("once"))

    assert said(run) == ["once"]
    assert builtins.print is before


def test_what_is_no_message_is_not_counted_either(spans, capsys):
    def print_much(_=None):
        print("\n".join(["line"] * 5_000))

    run_of(print_much, flow_config=Flow_Run__Config(logging_enabled=False))
    flow_events.event_listeners.append(print_much)
    run_of(lambda: None)

    assert ["otelflow.messages.omitted" in span.attributes for span in spans.named("flow body")] == [False, False]
