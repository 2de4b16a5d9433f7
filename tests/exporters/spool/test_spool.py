"""What waits in a spool, in its files and in memory."""

import os

import pytest

from support.programs import python

FORKED = """
    import multiprocessing
    import otelflow

    @otelflow.flow
    def nightly():
        return 1

    otelflow.configure()
    nightly().execute()
    for _ in range(3):
        child = multiprocessing.get_context("fork").Process(target=lambda: nightly().execute())
        child.start()
        child.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("place", ["memory", "a file"])
def test_a_process_and_all_its_children_warn_once_and_each_tells_of_its_own_losses(tmp_path, place):
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTELFLOW_SPOOL": "memory"}
    if place == "a file":
        (tmp_path / "file").write_text("")
        variables.update(OTELFLOW_SPOOL="on", OTELFLOW_SPOOL_DIR=str(tmp_path / "file"))
    done = python(FORKED, **variables)

    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Spans are lost: shutdown") == 1
    assert done.stderr.count("Spans wait in memory") == (place == "a file")
    assert done.stderr.count("1 made, 0 delivered, 1 lost (1 shutdown)") == 4
