"""Runners of each kind of process."""

import multiprocessing

import pytest

from otelflow.runners import ProcessPoolTaskRunner


@pytest.fixture(params=[None, "spawn", "fork"], ids=["loky", "spawn", "fork"])
def runner(request):
    if request.param is None:
        pytest.importorskip("loky")
    if request.param not in (None, *multiprocessing.get_all_start_methods()):
        pytest.skip(f"no {request.param} here")
    return ProcessPoolTaskRunner(max_workers=2, start_method=request.param)
