import os
import shutil
import stat
from types import SimpleNamespace

import pytest

from otelflow_exporters._store import payloads as module
from otelflow_exporters._store.limits import Limits
from otelflow_exporters._store.payloads import Payloads
from otelflow_exporters.store import StoreSpanExporter


def test_a_payload_comes_back_whole_by_its_reference(tmp_path):
    payloads = Payloads(tmp_path / "store")
    content = os.urandom(1_000_000)

    reference = payloads.keep(content)

    assert reference.startswith("sha256:")
    assert payloads.read(reference) == content
    (file,) = (tmp_path / "store" / "payloads").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_one_content_is_kept_once(tmp_path):
    payloads = Payloads(tmp_path)

    assert payloads.keep(b"same") == payloads.keep(b"same")
    assert len(list((tmp_path / "payloads").iterdir())) == 1


def test_a_damaged_payload_is_not_handed_out_and_can_be_kept_again(tmp_path):
    payloads = Payloads(tmp_path)
    reference = payloads.keep(b"whole")
    next((tmp_path / "payloads").iterdir()).write_bytes(b"who")

    assert payloads.read(reference) is None
    assert payloads.read(payloads.keep(b"whole")) == b"whole"


@pytest.mark.parametrize("reference", ["", "sha256:", "sha256:../../etc/passwd", "md5:00", "sha256:" + "A" * 64])
def test_what_is_no_reference_reads_nothing(tmp_path, reference):
    assert Payloads(tmp_path).read(reference) is None


def test_the_total_is_bounded_and_the_oldest_payloads_go(tmp_path):
    payloads = Payloads(tmp_path, Limits(max_bytes=100_000))

    references = []
    for number in range(50):
        references.append(payloads.keep(bytes([number]) * 10_000))
        os.utime(tmp_path / "payloads" / references[-1].removeprefix("sha256:"), (1.7e9 + number * 1e7,) * 2)

    assert None not in references
    assert sum(file.stat().st_size for file in (tmp_path / "payloads").iterdir()) <= 100_000
    assert payloads.read(references[-1]) is not None
    assert payloads.read(references[0]) is None


def test_a_payload_that_is_too_big_is_refused_with_one_warning(tmp_path, caplog):
    payloads = Payloads(tmp_path, Limits(max_bytes=1000))

    assert payloads.keep(bytes(500)) is payloads.keep(bytes(501)) is None
    assert len(caplog.records) == 1


def test_a_store_that_cannot_be_written_keeps_nothing_and_does_not_raise(tmp_path, caplog):
    (tmp_path / "file").write_text("")

    assert Payloads(tmp_path / "file" / "store").keep(b"x") is None
    assert len(caplog.records) == 1


def test_the_exporter_offers_the_payloads_of_its_store(tmp_path):
    assert StoreSpanExporter(tmp_path).payloads.keep(b"x") in {
        f"sha256:{f.name}" for f in (tmp_path / "payloads").iterdir()
    }


def test_a_payload_that_was_cut_short_is_not_kept_for_ever(tmp_path):
    payloads = Payloads(tmp_path, Limits(max_bytes=100_000))
    payloads.keep(b"whole")
    part = tmp_path / "payloads" / f".{'0' * 64}-01234567"
    part.write_bytes(b"half")
    os.utime(part, (1, 1))

    Payloads(tmp_path).keep(b"another")

    assert not part.exists()


def test_a_sparse_payload_of_gigabytes_is_not_read(tmp_path):
    payloads = Payloads(tmp_path)
    reference = payloads.keep(b"small")
    os.truncate(next((tmp_path / "payloads").iterdir()), 3 * 2**30)

    assert payloads.read(reference) is None


def test_a_quarter_of_the_limit_is_kept_and_what_is_larger_is_not(tmp_path, caplog):
    payloads = Payloads(tmp_path, Limits(max_bytes=1_003))

    assert payloads.read(payloads.keep(bytes(250))) == bytes(250)
    assert payloads.keep(bytes(251)) is None
    assert payloads.keep(bytes(300)) is None
    (message,) = caplog.messages
    assert message.startswith(
        f"A payload could not be kept in {tmp_path}: a payload of 251 bytes is more than a quarter"
    )


def test_a_payload_that_is_used_again_is_not_the_next_one_to_go(tmp_path):
    payloads = Payloads(tmp_path)
    payloads.keep(b"again")
    (file,) = (tmp_path / "payloads").iterdir()
    os.utime(file, (1, 1))

    payloads.keep(b"again")

    assert file.stat().st_mtime > 1


@pytest.fixture
def prunings(monkeypatch):
    """How much room was asked for each time the whole store was looked at, and what is said to be left."""
    prunings = SimpleNamespace(rooms=[], left=0)

    def prune(store, limits, *, room):
        prunings.rooms.append(room)
        return prunings.left

    monkeypatch.setattr(module, "prune", prune)
    return prunings


def test_the_whole_store_is_looked_at_only_now_and_then(tmp_path, prunings):
    payloads = Payloads(tmp_path, Limits(max_bytes=25_600))  # a look each time that 100 bytes have come

    lengths = (10, 60, 40, 1, 100, 2, 98, 3)
    for number, length in enumerate(lengths):
        payloads.keep(bytes([number]) * length)

    assert prunings.rooms == [10, 1, 2, 3]
    assert len(list((tmp_path / "payloads").iterdir())) == len(lengths)


def test_a_store_that_is_full_of_what_others_write_keeps_no_payload_until_there_is_room(tmp_path, prunings, caplog):
    payloads = Payloads(tmp_path, Limits(max_bytes=25_600))

    prunings.left = 25_591
    refused = [payloads.keep(b"0123456789"), payloads.keep(b"x" * 20)]
    prunings.left = 25_590
    kept = payloads.keep(b"9876543210")

    assert refused == [None, None]
    assert payloads.read(kept) == b"9876543210"
    assert prunings.rooms == [10, 20, 10]
    assert "the store is full of what live processes write" in caplog.text


def test_what_is_larger_than_any_payload_is_not_read(tmp_path, monkeypatch):
    payloads = Payloads(tmp_path)
    references = [payloads.keep(bytes(100)), payloads.keep(bytes(101))]
    monkeypatch.setattr(module, "LARGEST_PAYLOAD", 100)

    assert [payloads.read(reference) for reference in references] == [bytes(100), None]


def test_a_payload_in_a_store_that_is_gone_is_not_there(tmp_path):
    payloads = Payloads(tmp_path / "store")
    reference = payloads.keep(b"x")
    shutil.rmtree(tmp_path / "store")

    assert payloads.read(reference) is None
