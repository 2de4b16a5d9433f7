"""Other interpreters and other modes of this one: ``python -O``, spawned processes, subinterpreters."""

import pickle
import sys

import pytest

from otelflow import INJECTED, flow, task

MODULE = """
from otelflow import flow, task

@task
def double(number):
    print("doubling", number)
    return number * 2

@task
def fail(number):
    raise ValueError(number)

@flow
def total(numbers):
    return sum(double(number) for number in numbers)

def run_total(numbers):
    return total(numbers).execute().flow_return_value
"""


def run(program, source, **keywords):
    (program.folder / "work.py").write_text(MODULE)
    return program.run(source, **keywords)


def test_python_without_asserts_does_the_same(program):
    source = """
    from work import total
    provide()
    print(total([1, 2]).execute().flow_return_value)
    """
    run(program, source, options=("-OO",))

    assert program.out.splitlines()[-1] == "6"
    assert program.results() == [("task double", "success")] * 2 + [("flow total", "success")]


def test_a_spawned_process_gets_tasks_and_flows_by_their_names(program):
    source = """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    import work
    if __name__ == "__main__":
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            print(list(pool.map(work.double, [1, 2, 3])), pool.submit(work.run_total, [1, 2]).result())
            try:
                pool.submit(work.fail, 7).result()
            except ValueError as error:
                print(error)
        process = spawn.Process(target=work.double, args=(4,))
        process.start()
        process.join()
        print(process.exitcode)
    """
    run(program, source)

    assert program.err == ""
    assert program.out.splitlines()[-3:] == ["7", "doubling 4", "0"]
    assert "[2, 4, 6] 6" in program.out


def test_a_spawned_process_that_sets_up_a_provider_exports_what_it_did(program):
    source = """
    import multiprocessing
    import work
    def begin():
        provide(at_once=True)
    if __name__ == "__main__":
        with multiprocessing.get_context("spawn").Pool(1, initializer=begin) as pool:
            print(pool.map(work.double, [1, 2]))
    """
    run(program, source)

    assert program.out.splitlines()[-1] == "[2, 4]"
    assert program.results() == [("task double", "success")] * 2


@task
def of_this_module():
    """Found by its name."""


@flow
def flow_of_this_module():
    """Found by its name."""


def test_decorated_functions_are_pickled_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, __name__, sys.modules[of_this_module.__module__])

    for value in (of_this_module, flow_of_this_module, INJECTED):
        assert pickle.loads(pickle.dumps(value)) is value


SUBINTERPRETER = """
import sys
try:
    import _interpreters as interpreters
except ModuleNotFoundError:
    import _xxsubinterpreters as interpreters
made = interpreters.create()
print(interpreters.run_string(made, f"import sys; sys.path[:] = {sys.path!r}; " + sys.argv[1]))
"""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="subinterpreters are for Python 3.12 and later")
def test_flows_run_in_a_subinterpreter(program):
    run(program, SUBINTERPRETER, arguments=["import work; print(work.run_total([1, 2]))"], prelude="")

    assert program.out.splitlines()[-2:] == ["6", "None"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="subinterpreters are for Python 3.12 and later")
def test_configure_refuses_a_subinterpreter_clearly(program):
    run(program, SUBINTERPRETER, arguments=["import otelflow; otelflow.configure()"], prelude="")

    assert "which allows no daemon threads: call it in the main interpreter" in program.out + program.err
