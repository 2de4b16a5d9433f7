import os
import signal

import pytest

PROGRAM = r"""
import multiprocessing, os, sys, time
from concurrent.futures import ProcessPoolExecutor
from otelflow import flow

def square(number):
    return number * number

@flow
def spawn():
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        print(list(pool.map(square, range(3))))

@flow
def fork():
    child = os.fork()
    if child == 0:
        sys.exit(5)
    print("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

def sleep():
    time.sleep(60)

@flow
def end_child():
    child = multiprocessing.get_context("fork").Process(target=sleep)
    child.start()
    child.terminate()
    child.join(30)
    print(child.exitcode)

@flow
def lose_worker():
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
        work = pool.submit(sleep)
        for worker in pool._processes.values():
            worker.terminate()
        print(type(work.exception(30)).__name__)

@flow
def pooled():
    for _ in range(20):
        with multiprocessing.get_context("fork").Pool(2) as pool:
            numbers = pool.map(square, range(3))
    print(numbers)

class Odd(Exception):
    def __str__(self):
        raise RuntimeError("no text")

@flow
def raise_odd():
    raise Odd

@flow
def close_everything():
    sys.stdout.close()
    sys.stderr.close()

@flow(flow_name="größe\x1b[31m\nzwei")
def oddly_named():
    pass
"""


@pytest.fixture
def odd(otelflow, tmp_path):
    (tmp_path / "odd.py").write_text(PROGRAM, encoding="utf-8")
    return lambda name, **environment: otelflow("run", f"odd.py:{name}", cwd=tmp_path, **environment)


def test_a_process_pool_finds_the_functions_of_the_file(odd):
    done = odd("spawn")

    assert (done.code, done.out) == (0, "[0, 1, 4]\n"), done.err


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_that_the_flow_forks_reports_nothing_of_its_parents_run(odd):
    done = odd("fork")

    assert (done.code, done.out) == (0, "child 5\n")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize(
    ("name", "out"),
    [("end_child", f"{-signal.SIGTERM}\n"), ("lose_worker", "BrokenProcessPool\n"), ("pooled", "[0, 1, 4]\n")],
)
def test_a_child_that_the_flow_forks_and_ends_is_ended_as_without_otelflow(odd, name, out):
    done = odd(name)

    assert (done.code, done.out) == (0, out), done.err
    assert "Traceback" not in done.err
    # Newer Pythons warn, if they are asked to, of a fork where there is a thread: the one that delivers.
    assert len([line for line in done.lines if line.startswith("otelflow: ")]) == 1, done.err


def test_an_exception_without_a_text_is_a_failure_like_any_other(odd):
    done = odd("raise_odd")

    assert done.code == 1
    assert "raise_odd failed: Odd: (its text cannot be made)" in done.err
    assert "Traceback" not in done.err


def test_a_flow_that_closes_stdout_and_stderr_keeps_its_exit_code(odd):
    assert odd("close_everything").code == 0


def test_what_a_terminal_would_obey_is_left_out_of_names(odd, otelflow):
    done = odd("oddly_named", PYTHONIOENCODING="ascii")

    listed = otelflow("show", "--list", PYTHONIOENCODING="ascii")
    assert len(done.lines) == 1
    assert r"flow gr\xf6\xdfe zwei: success" in done.err
    assert listed.code == 0, listed.err
    assert r"flow gr\xf6\xdfe" in listed.out
    assert "\x1b" not in done.err + listed.out


def test_a_file_may_be_called_like_a_module_of_python_or_like_otelflow(otelflow, tmp_path):
    program = "from otelflow import flow\n\n@flow\ndef hello():\n    print('hello')\n"
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("logging.py", "otelflow.py", "with-dash.py"):
        (folder / name).write_text(program)

    outs = [otelflow("run", f"folder/{file.name}", cwd=tmp_path).out for file in folder.iterdir() if file.is_file()]
    assert outs == ["hello\n"] * 3
