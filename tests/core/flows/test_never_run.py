"""The warning of a flow that was set up and never run: at its line, once for each place."""

import asyncio
import copy
import gc
import linecache
import pickle
import re
import subprocess
import sys
import textwrap
import warnings
from concurrent.futures import ProcessPoolExecutor

import pytest

from otelflow import Flow, flow, task
from otelflow._core.flows.never_run import SetUp
from otelflow._core.runs.drivers import _CloseWhenDropped
from support.programs import python


@task
def double(number):
    return 2 * number


@flow
def nightly(number=1):
    return double(number)


@pytest.fixture
def warned():
    """The texts of the warnings from here on, each shown as often as Python would."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        yield lambda: [str(warning.message) for warning in caught]


def test_a_flow_that_is_called_and_never_run_is_a_warning_at_the_line_of_the_call(warned):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        nightly()
        gc.collect()

    (warning,) = caught
    assert (warning.category, warning.filename) == (RuntimeWarning, __file__)
    assert open(__file__).read().splitlines()[warning.lineno - 1].strip() == "nightly()"  # noqa: PTH123, SIM115
    assert "flow 'nightly'" in str(warning.message)
    assert f"{__file__}:{warning.lineno}" in str(warning.message)
    assert ".execute()" in str(warning.message)


def test_a_flow_that_something_of_ours_has_called_is_a_warning_at_the_line_of_the_program():
    @flow(on_completion=[nightly.__call__])
    def with_a_hook():
        pass

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        with_a_hook().execute()
        gc.collect()

    (warning,) = caught
    assert warning.filename == __file__
    assert linecache.getline(__file__, warning.lineno).strip() == "with_a_hook().execute()"


def test_a_name_of_any_length_makes_a_short_warning(warned):
    flow(flow_name="n" * 1_000_000)(len)()

    (text,) = warned()
    assert len(text) < 1_000


def test_the_line_is_that_of_the_call_also_in_a_statement_of_several_lines(warned):
    line = sys._getframe().f_lineno
    [
        nightly(),
        nightly(
            number=3,
        ),
    ].clear()

    lines = [text.partition(":")[2].partition(",")[0] for text in warned()]
    assert sorted(lines) == [str(line + 2), str(line + 3)]


def test_one_place_is_told_once_and_each_place_is_told(warned):
    for _ in range(5):
        nightly()
    Flow().setup(double, 1)
    Flow().set_flow_target(double, 1)

    assert len(warned()) == 3


def test_a_flow_that_ran_or_was_never_set_up_or_is_a_block_or_went_elsewhere_is_no_warning(warned):
    class Bare(Flow):
        def main(self):
            return 1

    Bare()
    Flow()
    nightly().execute()
    with Flow() as around:
        _ = around.setup(pow, 2, 3)
    with nightly():
        double(1)
    pickle.dumps(nightly())

    async def generate():
        return await nightly()

    asyncio.run(generate())

    @flow
    def numbers():
        yield 1

    assert list(numbers().execute().flow_return_value) == [1]
    assert warned() == []


def test_the_value_of_a_flow_that_never_ran_says_so_once(warned):
    run = nightly()

    assert (run.flow_return_value, run.flow_return_value) == (None, None)
    del run
    assert len(warned()) == 1
    assert "so there is no flow_return_value" in warned()[0]


def test_the_end_of_a_program_tells_of_a_flow_that_a_kept_flow_has_returned(tmp_path):
    program = """
        from otelflow import flow
        @flow
        def inner(): return 1
        @flow
        def outer(): return inner()
        @flow
        def itself(this_flow): return this_flow
        kept = [outer().execute(), itself().execute()]
        """

    done = run_script(tmp_path, textwrap.dedent(program))

    assert done.returncode == 0
    assert re.findall(r"flow '(\w+)', called at \S+job.py:(\d), was never run before", done.stderr) == [("inner", "6")]


@pytest.mark.parametrize("options", [[], ["-W", "error"]])
def test_a_program_runs_on_and_its_end_tells_of_what_it_has_kept(tmp_path, options):
    program = "from otelflow import flow\n@flow\ndef job(): return 1\njob()\nkept = job()\nprint('end')\n"

    done = run_script(tmp_path, program, *options)

    assert (done.returncode, done.stdout) == (0, "end\n")
    assert re.findall(r"called at \S+job.py:(\d), was never run( before the program ended)?", done.stderr) == [
        ("4", ""),
        ("5", " before the program ended"),
    ]


KEPT = """
import atexit, os
from otelflow import Flow, flow

@flow
def job(number=1):
    return number

class Mine(Flow):
    def main(self): return 1

class Holder:
    pass

several = [job(number) for number in range(3)]
by_name = {"a": Mine().setup()}
done, bare, block = job().execute(), Flow(), job()
with block:
    pass
last = job()
atexit.register(last.execute)
read = job()
print(read.flow_return_value)
def in_a_circle():
    kept = job()
    try:
        raise ValueError
    except ValueError as error:
        around = error
in_a_circle()
if FORKS and os.fork() == 0:
    raise SystemExit(0)
elif FORKS:
    os.wait()
"""


@pytest.mark.parametrize(
    "forks", [False, pytest.param(True, marks=pytest.mark.skipif(sys.platform == "win32", reason="no fork"))]
)
def test_what_a_script_has_kept_in_lists_is_told_once_and_what_ran_is_not(tmp_path, forks):
    done = run_script(tmp_path, KEPT.replace("FORKS", str(forks)))

    assert done.returncode == 0, done.stderr
    assert re.findall(r"flow '(\w+)', called at \S+job.py:(\d+), was never run", done.stderr) == [
        ("job", "22"),
        ("job", "25"),
        ("job", "15"),
        ("Mine", "16"),
    ]


KEPT_DEEP = """
import functools, gc, types
from otelflow import flow

@flow
def job(): return 1

class Holder:
    jobs = (job(),)

    def __init__(self, kept): self.kept = kept; self.me = self

class Liar:
    @property
    def __class__(self): raise ValueError

liar = Liar()
module = types.ModuleType("jobs")
module.spare = job()
old = Holder(job())
kept = Holder({1: [functools.partial(print, job())]})
def in_a_circle():
    Holder(job())
    circle = Holder(job())
    gc.collect(), gc.collect()
gc.collect(), gc.collect()
del old
in_a_circle()
done = Holder(job().execute())
"""


def test_the_end_tells_of_what_is_in_old_circles_and_of_what_objects_of_the_script_keep(tmp_path):
    done = run_script(tmp_path, KEPT_DEEP)

    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    lines = KEPT_DEEP.splitlines()
    places = re.findall(
        r"flow 'job', called at \S+job.py:(\d+), was never run( before the program ended)?", done.stderr
    )
    told = [(lines[int(line) - 1].strip(), bool(end)) for line, end in places]
    assert sorted(told) == [
        ("Holder(job())", False),
        ("circle = Holder(job())", False),
        ("jobs = (job(),)", True),
        ("kept = Holder({1: [functools.partial(print, job())]})", True),
        ("old = Holder(job())", False),
    ]


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda run: pickle.loads(pickle.dumps(run))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_neither_a_copy_nor_its_original_is_told_where_both_are_here(warned, copied):
    again = copied(nightly())
    assert (warned(), again.execute().flow_return_value) == ([], 2)
    del again

    original = nightly()
    copied(copied(original))  # as a library does that looks into it
    assert (warned(), original.execute().flow_return_value) == ([], 2)
    del original
    assert warned() == []


def test_flows_that_the_processes_of_a_pool_have_set_up_are_told(warned):
    with ProcessPoolExecutor(1) as pool:
        assert [run.status for run in pool.map(nightly, range(2))] == [None, None]
    gc.collect()

    (text,) = [text for text in warned() if "'nightly'" in text]  # Python warns of a fork where there are threads
    assert "defined at" in text
    assert "process.py:" in text


CALLED_BY_OTHERS = """
import asyncio, atexit, functools, sched, _thread, threading, time, warnings, weakref
from concurrent.futures import ThreadPoolExecutor
from otelflow import Flow, flow

shown, show = [], warnings.showwarning
warnings.showwarning = lambda *args: [show(*args), shown.append(args)]

def named(name):
    @flow(flow_name=name)
    def job(number=1): return number
    return job

thread = threading.Thread(target=named("thread"))
thread.start(), thread.join()
timer = threading.Timer(0, named("timer"))
timer.start(), timer.join()
with ThreadPoolExecutor(1) as pool:
    pool.submit(named("pool"))
scheduler = sched.scheduler()
scheduler.enter(0, 1, named("sched"))
scheduler.run()
loop = asyncio.new_event_loop()
loop.call_soon(named("loop"))
loop.call_soon(loop.stop)
loop.run_forever()
loop.close()
class Gone: pass
gone = Gone()
weakref.finalize(gone, named("finalize"))
del gone
_thread.start_new_thread(named("bare thread"), ())
_thread.start_new_thread(functools.partial(named("partial"), 2), ())
for _ in range(1_000):
    if len(shown) == 8:
        break
    time.sleep(0.01)
atexit.register(named("atexit"))
atexit.register(Flow(flow_name="set up").setup, print)
print("end")
"""


def test_where_a_library_calls_a_flow_the_warning_names_the_line_that_defines_it(tmp_path):
    done = run_script(tmp_path, CALLED_BY_OTHERS)

    assert (done.returncode, done.stdout) == (0, "end\n"), done.stderr
    assert "Traceback" not in done.stderr
    places = re.findall(r"job.py:(\d+): RuntimeWarning: flow '([\w ]+)', defined at \S+job.py:(\d+) and", done.stderr)
    names = ["thread", "timer", "pool", "sched", "loop", "finalize", "bare thread", "partial", "atexit"]
    assert sorted(places) == sorted(("10", name, "10") for name in names)
    assert re.search(r"flow 'thread', .* called by \S+threading.py:\d+, was never run", done.stderr)
    assert re.search(r"flow 'atexit', .* called by C, was never run", done.stderr)
    cure = "calling it only sets it up; write @flow(execute_on_call=True), or hand over a function that executes it"
    assert done.stderr.count(cure) == len(names), "nobody can write .execute() there"


def run_script(folder, program, *options):
    (folder / "job.py").write_text(program)
    command = [sys.executable, *options, str(folder / "job.py")]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("kind", [SetUp, _CloseWhenDropped])
def test_what_a_ctrl_c_leaves_half_made_is_dropped_without_a_word(kind, recwarn, monkeypatch):
    ignored = []
    monkeypatch.setattr(sys, "unraisablehook", ignored.append)
    kind.__new__(kind)
    gc.collect()

    assert (ignored, list(recwarn)) == ([], [])


def test_a_flow_that_an_earlier_exit_function_runs_is_not_told():
    done = python(
        """
        import atexit
        from otelflow import flow

        @flow
        def nightly():
            return 1

        @atexit.register
        def end():
            print(later.execute().flow_return_value)

        later = nightly()
        """,
        options=(),
    )

    assert (done.stdout, done.stderr) == ("1\n", "")
