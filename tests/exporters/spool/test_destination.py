"""What waits in a spool is for one endpoint and one tenant, and is never sent to anybody else."""

import hashlib
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelflow.errors import ConfigurationError, StoreUnreadable
from otelflow_exporters._spool import destination as module
from otelflow_exporters._spool.destination import destination_of, is_nameless, spool_directory
from otelflow_exporters._store.ownership import DESTINATION, open_store

ENDPOINT, HEADERS = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS"


@pytest.fixture(autouse=True)
def endpoint(monkeypatch):
    monkeypatch.setenv(ENDPOINT, "http://one:4318")
    monkeypatch.delenv(HEADERS, raising=False)


def fingerprint(monkeypatch, **variables):
    with monkeypatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        return destination_of("traces").fingerprint


def test_another_address_or_tenant_is_another_destination_and_another_key_is_not(monkeypatch):
    own = fingerprint(monkeypatch)
    tenant = fingerprint(monkeypatch, **{HEADERS: "x-scope-orgid=a"})

    assert fingerprint(monkeypatch) == own
    assert len({own, tenant, fingerprint(monkeypatch, **{HEADERS: "x-scope-orgid=b"})}) == 3
    assert fingerprint(monkeypatch, **{ENDPOINT: "http://two:4318"}) != own
    assert fingerprint(monkeypatch, **{HEADERS: "api-key=first"}) == own
    assert fingerprint(monkeypatch, **{HEADERS: "authorization=Bearer%20x,x-scope-orgid=a"}) == tenant


def test_what_waits_for_one_is_refused_to_another_and_neither_is_said_a_secret(tmp_path, monkeypatch):
    monkeypatch.setenv(HEADERS, "api-key=s3cretValue,x-scope-orgid=a")
    with open_store(tmp_path / "spool", is_made=True, kind="spool") as folder:
        destination_of("traces").check(folder)
        destination_of("traces").check(folder)  # its own
        text = (tmp_path / "spool" / DESTINATION).read_text()
        monkeypatch.setenv(ENDPOINT, "http://user:passw0rd@two:4318")
        with pytest.raises(StoreUnreadable) as refusal:
            destination_of("traces").check(folder)
        (tmp_path / "spool" / DESTINATION).unlink()
        destination_of("traces").check(folder)  # its owner has said so

    assert text.splitlines()[2] == "http://one:4318"
    assert "s3cretValue" not in text
    assert "made for http://one:4318, not for http" in str(refusal.value)
    assert "passw0rd" not in f"{refusal.value}{(tmp_path / 'spool' / DESTINATION).read_text()}"


@pytest.mark.parametrize("text", ["", "otelflow spool 1", "noise\n\0\xff"])
def test_a_file_that_says_anything_else_is_a_refusal(tmp_path, text):
    destination = destination_of("traces")
    with open_store(tmp_path / "spool", is_made=True, kind="spool") as folder:
        (tmp_path / "spool" / DESTINATION).write_text(text.format(own=destination.fingerprint))

        with pytest.raises(StoreUnreadable, match="made for"):
            destination.check(folder)


def test_a_spool_of_another_version_is_left_to_that_and_the_reason_is_said(tmp_path):
    destination = destination_of("traces")
    text = f"otelflow spool 2\n{destination.fingerprint}\nplace"
    with open_store(tmp_path / "spool", is_made=True, kind="spool") as folder:
        (tmp_path / "spool" / DESTINATION).write_text(text)

        with pytest.raises(StoreUnreadable, match="made by another version of otelflow"):
            destination.check(folder)
    assert (tmp_path / "spool" / DESTINATION).read_text() == text


def test_the_folder_is_the_named_one_or_one_for_each_destination(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    nameless = [spool_directory("on", "")]
    monkeypatch.setenv(ENDPOINT, "http://two:4318")
    nameless.append(spool_directory("on", ""))

    assert spool_directory("on", str(tmp_path / "named")) == tmp_path / "named"
    assert len({*nameless, None}) == 3
    assert {folder.parent for folder in nameless} == {tmp_path / "otelflow" / "spool"}
    assert [spool_directory(mode, str(tmp_path)) for mode in ("off", "memory")] == [None, None]
    with pytest.raises(ConfigurationError, match="OTELFLOW_SPOOL_DIR"):
        spool_directory("on", "/half/\ud800")


@pytest.mark.parametrize(
    ("is_named", "locks", "is_refused"), [(False, None, True), (False, True, False), (True, None, False)]
)
def test_a_folder_that_nobody_has_named_needs_locks(tmp_path, monkeypatch, is_named, locks, is_refused):
    destination = destination_of("traces")
    monkeypatch.setattr(module, "is_held", lambda _: locks)
    with open_store(
        tmp_path / ("named" if is_named else destination.folder_name), is_made=True, kind="spool"
    ) as folder:
        opened = len(list(Path("/dev/fd").iterdir()))
        try:
            destination.check(folder)
            refusal = ""
        except StoreUnreadable as error:
            refusal = str(error)

        assert len(list(Path("/dev/fd").iterdir())) == opened
    assert ("on a file system without locks" in refusal) is is_refused


def test_who_has_another_key_has_another_folder_whose_name_tells_nothing_of_the_key(monkeypatch):
    def name(**variables):
        with monkeypatch.context() as patch:
            for variable, value in variables.items():
                patch.setenv(variable, value)
            return destination_of("traces").folder_name

    own = destination_of("traces")
    first = {HEADERS: "api-key=first"}
    names = [
        name(),
        name(**first),
        name(**{HEADERS: "api-key=second"}),
        name(OTEL_EXPORTER_OTLP_LOGS_HEADERS="api-key=first"),
        name(**{ENDPOINT: "http://user:first@one:4318"}),
        name(**{ENDPOINT: "http://user:second@one:4318"}),
        name(OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE="/etc/first.pem"),
        name(**first, OTEL_EXPORTER_OTLP_ENDPOINT="http://two:4318"),
    ]

    assert len(set(names)) == len(names)
    assert {len(text) for text in names} == {16}
    assert own.fingerprint.startswith(names[0]), "as without this distinction"
    assert name(**first) == names[1] != hashlib.sha256(b"api-key=first").hexdigest()[:16]
    assert "first" not in repr(destination_of("traces"))


def test_a_new_key_needs_no_other_folder_where_somebody_has_named_it(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv(HEADERS, "api-key=first")
    spool = spool_directory("on", "")
    with open_store(tmp_path / "named", is_made=True, kind="spool") as folder:
        destination_of("traces").check(folder)
        destination_of("traces").check_key(spool)
        monkeypatch.setenv(HEADERS, "api-key=second")
        destination_of("traces").check(folder)
        destination_of("traces").check_key(tmp_path / "named")

    with pytest.raises(StoreUnreadable, match="was to be sent with another key") as refusal:
        destination_of("traces").check_key(spool)
    assert "first" not in str(refusal.value)


def test_a_named_spool_beside_those_that_nobody_has_named_is_for_every_key(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv(HEADERS, "api-key=first")
    nameless = spool_directory("on", "")
    monkeypatch.setenv(HEADERS, "api-key=second")

    destination_of("traces").check_key(nameless.parent / "mine")
    assert [is_nameless(path) for path in (nameless, nameless.parent / "mine", tmp_path / nameless.name)] == [
        True,
        False,
        False,
    ]


@given(st.text(max_size=100), st.text("0123456789abcdef", max_size=64), st.integers(1, 20))
def test_without_openssl_a_folder_is_called_the_same(keys, salt, rounds):
    arguments = ("sha256", keys.encode("utf-8", "replace"), salt.encode(), rounds)

    assert module._pbkdf2_hmac(*arguments) == hashlib.pbkdf2_hmac(*arguments)


def test_where_python_has_no_openssl_there_is_a_folder_for_each_key(monkeypatch):
    monkeypatch.setenv(HEADERS, "api-key=first")
    name = destination_of("traces").folder_name
    module._digest.cache_clear()
    monkeypatch.delattr(hashlib, "pbkdf2_hmac")

    assert destination_of("traces").folder_name == name
    module._digest.cache_clear()


def test_the_protocol_decides_where_it_goes(monkeypatch):
    monkeypatch.delenv(ENDPOINT)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://one:4317")

    assert destination_of("traces", "otlp_proto_grpc").place.endswith("one:4317")
    assert destination_of("logs", "otlp_proto_http").place == "http://localhost:4318"
    assert destination_of("logs", "otlp_proto_grpc").place.endswith("localhost:4317")


@pytest.mark.parametrize("directory", ["", "named"])
def test_where_there_are_no_locks_spans_wait_in_memory_and_who_asks_for_files_is_refused(monkeypatch, directory):
    monkeypatch.setattr(module, "sys", SimpleNamespace(platform="win32"))

    assert spool_directory("auto", directory) is None
    with pytest.raises(ConfigurationError, match=r"OTELFLOW_SPOOL=on asks for a spool in files.*OTELFLOW_SPOOL=memory"):
        spool_directory("on", directory)
