"""A key has changed: what waits under the earlier one is not forgotten."""

import os
import time

import pytest

from otelflow_exporters._spool.destination import destination_of, spool_directory
from otelflow_exporters._spool.signals import SIGNALS
from otelflow_exporters._spool.stranded import stranded_beside
from otelflow_exporters._store.limits import Limits
from otelflow_exporters._store.ownership import open_store
from otelflow_exporters._store.writer import SegmentWriter
from otelflow_exporters.spool import SpoolSpanProcessor
from support.programs import run_python
from support.spools import counts_of, ended, provider_with, record_of, run_program

HEADERS, ENDPOINT = "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_ENDPOINT"
OLD = 700


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv(ENDPOINT, "http://one:4318")


@pytest.fixture
def spool(monkeypatch):
    """Make the spool of a key, in which one item of a signal waits that was written so many seconds ago."""

    def make(key, *, seconds=OLD, folder="", is_closed=True):
        monkeypatch.setenv(HEADERS, f"api-key={key}")
        directory = spool_directory("on", "")
        with open_store(directory, is_made=True, kind="spool") as outer:
            destination_of("traces").check(outer)
        writer = SegmentWriter(directory / folder, Limits(), kind="spool")
        writer.append(record_of(ended("waits")), 1)
        if is_closed:
            writer.close()
        (file,) = (directory / folder).glob("*.otlp")
        os.utime(file, (time.time() - seconds,) * 2)
        make.writers.append(writer)
        return directory

    make.writers = []
    yield make
    for writer in make.writers:
        writer.close()


@pytest.mark.parametrize("folder", [signal.folder for signal in SIGNALS])
def test_what_waits_for_the_same_endpoint_under_another_key_is_stranded(spool, folder):
    first, second = spool("first", folder=folder), spool("second")

    assert stranded_beside(second) == [first]


def test_what_is_written_or_was_lately_or_is_another_endpoint_s_is_not(spool, monkeypatch):
    spool("lately", seconds=500)
    spool("written", is_closed=False)
    sent = spool("sent")
    for path in sent.glob("*.otlp"):
        path.unlink()
    monkeypatch.setenv(ENDPOINT, "http://two:4318")
    spool("elsewhere")
    monkeypatch.setenv(ENDPOINT, "http://one:4318")

    own = spool("own")

    assert len(list(own.parent.iterdir())) == 5
    assert stranded_beside(own) == []


def test_beside_a_named_spool_nothing_is_looked_at(spool, tmp_path):
    first = spool("first")

    assert stranded_beside(first.parent / "mine") == []
    assert stranded_beside(tmp_path / first.name) == []
    assert stranded_beside(first.parent / ("0" * 16)) == []


def test_it_is_said_once_with_the_cure(spool, receiver, monkeypatch, caplog):
    monkeypatch.setenv(ENDPOINT, receiver.url)
    first, second = spool("first"), spool("second")
    for _ in range(2):
        processor = SpoolSpanProcessor(second)
        provider_with(processor).start_span("own").end()
        processor.force_flush()
        processor._spool._next_tidying = 0.0
        processor._spool._tidy()
        processor._spool.deferred.tell()
        processor.shutdown()

    texts = [record.getMessage() for record in caplog.records]
    assert [f"'otelflow ship {first} --once' sends it with the one that is set" in text for text in texts] == [True] * 2
    assert "first" not in "".join(texts).replace(str(first), "")


def test_doctor_says_it_and_ship_sends_it_with_the_key_that_is_set(receiver, tmp_path):
    unnamed = {"OTELFLOW_SPOOL_DIR": "", "XDG_STATE_HOME": tmp_path / "state"}
    receiver.status = 503
    first, second = ({**unnamed, HEADERS: f"api-key={key}"} for key in ("first", "second"))
    run_program(tmp_path, "nightly(2).execute()", url=receiver.url, **first)
    (path,) = (tmp_path / "state/otelflow/spool").iterdir()
    long_ago = time.time() - OLD
    for file in path.glob("*.otlp"):
        os.utime(file, (long_ago, long_ago))
    receiver.requests.clear()
    receiver.status = 200

    doctor = run_python("-m", "otelflow", "doctor", **{**second, ENDPOINT: receiver.url, "COLUMNS": "300"})
    shipped = run_python("-m", "otelflow", "ship", path, "--once", **second, **{ENDPOINT: receiver.url})

    assert f"-     waits under another key  {path} is for the same endpoint; nobody is sending" in doctor.stdout
    assert f"'otelflow ship {path} --once'" in doctor.stdout
    assert shipped.returncode == 0
    assert counts_of(receiver)["task work"] == 2
    assert receiver.requests[-1].headers["api-key"] == "second"
