"""Executors with processes that all examples of a module share: to begin one for each would take most of the time."""

import concurrent.futures
import multiprocessing

import pytest


@pytest.fixture(scope="module", params=["spawn", "fork", "loky"])
def pool(request):
    """An executor with two processes of each kind."""
    pytest.importorskip("cloudpickle")  # by which functions inside of functions travel
    if request.param == "loky":
        with pytest.importorskip("loky").ProcessPoolExecutor(2) as pool:
            yield pool
    elif request.param not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {request.param} here")
    else:
        with concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context(request.param)) as pool:
            yield pool


@pytest.fixture
def processes(pool, one_state):
    """The executor, whose processes have the same folder of limits as the test."""
    return pool


@pytest.fixture
def one_state(fresh_process, monkeypatch, tmp_path_factory):
    """The same folder of what otelflow keeps, whichever test has begun a process."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / "shared-state"))
