"""Run a program in a real terminal of a given size, and see what stands on its screen."""

import os
import select
import struct
import subprocess
import sys
import time
from typing import NamedTuple

import pyte


class Shown(NamedTuple):
    """What a program has left: its exit code, the screen at each moment, all lines at the end, and all it wrote."""

    code: int
    screens: list[str]
    text: str
    raw: str


def run_in_terminal(arguments, *, cwd, env, columns=80, lines=24, timeout=60, on_screen=None, kind="xterm-256color"):
    """Run *arguments*; *on_screen* is given each new screen, and returns keys to be typed, a signal, or None."""
    import fcntl
    import termios

    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    environment = {name: value for name, value in env.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    # The terminal controls the program, so that Ctrl-C reaches it as from a keyboard.
    controlled = (
        "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", controlled, *map(str, arguments)],
        cwd=cwd,
        env={**environment, "TERM": kind},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    screen = pyte.HistoryScreen(columns, lines, history=10_000)
    stream = pyte.ByteStream(screen)
    raw, screens = b"", []
    deadline = time.monotonic() + timeout
    try:
        while time.monotonic() < deadline:
            if not select.select([master], [], [], 0.2)[0]:
                if process.poll() is not None:
                    break
                continue
            try:
                piece = os.read(master, 65_536)
            except OSError:  # the last process that had the terminal is gone
                break
            raw += piece
            stream.feed(piece)
            screens.append("\n".join(line.rstrip() for line in screen.display))
            answer = None if on_screen is None else on_screen(screens[-1])
            if isinstance(answer, int):
                process.send_signal(answer)
            elif answer:
                os.write(master, answer.encode())
        code = process.wait(max(1, deadline - time.monotonic()))
    finally:
        process.kill()
        process.wait(10)
        os.close(master)
    history = ["".join(line[column].data for column in range(columns)).rstrip() for line in screen.history.top]
    text = "\n".join([*history, *(line.rstrip() for line in screen.display)]).rstrip() + "\n"
    return Shown(code, screens, text, raw.decode(errors="replace"))
