"""Nobody reads what a command writes: the pipe's reader is gone, or stdout is closed, or the disk is full."""

import os
import subprocess
import sys

import pytest

from otelflow._cli import _stdout

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes and descriptors of POSIX")

PRINTING = [
    "show",
    "show --full",
    "show --list",
    "show --json",
    "show --artifact rows",
    "config",
    "forget --all",
    "doctor",
]
PRINTING += ["generate alerts", "generate promtool-tests", "instrument otelflow.toml", "--version", "--help"]
SILENT = ["ps", "recover --list"]


@pytest.fixture
def written(flows, store, environment_of):
    """Run a command, after a flow has run, with the stdout that is asked for."""
    (flows / "otelflow.toml").write_text('flows = ["flows:nothing_like_it"]\n')

    def call(command, stdout=None, shell='exec "$0" "$@"'):
        return subprocess.run(
            ["sh", "-c", shell, sys.executable, "-m", "otelflow", *command.split()],
            cwd=flows,
            env=environment_of(store),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )

    assert call("run flows.py:leave_artifacts").returncode == 0
    return call


@pytest.fixture
def unread_pipe():
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.mark.parametrize("command", PRINTING)
def test_a_command_whose_reader_has_gone_ends_as_by_sigpipe_without_a_word(written, unread_pipe, command):
    done = written(command, unread_pipe)

    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("command", PRINTING)
def test_a_command_whose_stdout_is_closed_says_so_in_one_line(written, command):
    done = written(command, shell='exec "$0" "$@" >&-')

    assert done.returncode == 1
    assert done.stderr == (
        "otelflow: what was asked for could not be written or read: [Errno 9] Bad file descriptor: 'stdout'\n"
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")  # noqa: PTH110
@pytest.mark.parametrize("command", ["show --list", "config", "generate alerts"])
def test_a_command_whose_disk_is_full_says_so_in_one_line(written, command):
    done = written(command, shell='exec "$0" "$@" >/dev/full')

    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "No space left on device" in done.stderr


@pytest.mark.parametrize("command", SILENT)
def test_a_command_that_writes_nothing_needs_no_stdout(written, command):
    assert written(command, shell='exec "$0" "$@" >&-').returncode == 0


def test_no_file_of_ours_gets_what_a_program_writes_to_its_closed_stdout(written, flows):
    (flows / "writes.py").write_text(
        "import os, sys\nfrom otelflow import flow\n@flow\ndef writes():\n"
        "    print('to nobody')\n    os.write(1, b'garbage' * 1_000)\n    os.write(2, b'')\n    return sys.stdout\n"
    )

    done = written("run writes.py:writes", shell='exec "$0" "$@" >&-')
    shown = written("show --full", subprocess.PIPE)

    assert (done.returncode, shown.returncode) == (0, 0), done.stderr
    assert "flow writes" in shown.stdout
    assert "result flow-return-value" not in shown.stdout  # stdout is None for the program, as Python has it
    assert not any("garbage" in text for text in (done.stderr, shown.stdout, shown.stderr))


def test_the_stream_in_the_place_of_a_closed_one_takes_nothing_only():
    stream = _stdout._ClosedStdout()

    assert (stream.write(""), stream.isatty(), stream.encoding) == (0, False, "utf-8")
    for write in (lambda: stream.write("x"), lambda: stream.buffer):
        with pytest.raises(OSError, match="stdout"):
            write()
