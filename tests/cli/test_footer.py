"""Lines that stay at the bottom of a terminal; pyte is the terminal."""

import os
import select
import struct
import sys

import pytest
from rich.text import Text

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="terminals of POSIX")


class Terminal:
    def __init__(self, columns, lines):
        import pyte

        self.master, self.slave = os.openpty()
        self.screen = pyte.HistoryScreen(columns, lines, history=1_000)
        self.stream = pyte.ByteStream(self.screen)
        self.resize(columns, lines)

    def resize(self, columns, lines):
        import fcntl
        import termios

        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.screen.resize(lines, columns)
        self.screen.set_margins()  # as terminals do

    def write(self, text):
        os.write(self.slave, text.encode())

    def lines(self):
        while select.select([self.master], [], [], 0.1)[0]:
            self.stream.feed(os.read(self.master, 65_536))
        return [line.rstrip() for line in self.screen.display]


@pytest.fixture
def terminal():
    terminal = Terminal(40, 12)
    yield terminal
    os.close(terminal.master)
    os.close(terminal.slave)


@pytest.fixture
def footer(terminal):
    from otelflow._cli._footer import Footer

    return Footer(terminal.slave)


def test_the_lines_stay_while_all_else_scrolls_above_them(terminal, footer):
    footer.draw([Text("one"), Text("two")])
    for number in range(30):
        terminal.write(f"line {number}\n")

    assert terminal.lines() == [*(f"line {number}" for number in range(21, 30)), "", "one", "two"]


def test_a_line_that_the_program_has_begun_goes_on_where_it_was(terminal, footer):
    terminal.write("\n" * 20 + "abc")
    footer.draw([Text("below")])
    terminal.write("def\n")

    assert "abcdef" in terminal.lines()
    assert terminal.lines()[-1] == "below"


def test_more_lines_take_more_room_and_fewer_leave_it_empty(terminal, footer):
    footer.draw([Text("one")])
    terminal.write("a\nb\n")
    footer.draw([Text("one"), Text("two"), Text("three")])
    more = terminal.lines()
    footer.draw([Text("one")])
    fewer = terminal.lines()

    assert (more[:2], more[-3:]) == (["a", "b"], ["one", "two", "three"])
    assert fewer[-3:] == ["one", "", ""]


def test_a_long_line_is_cut_at_the_edge(terminal, footer):
    footer.draw([Text("x" * 100)])

    assert terminal.lines()[-1] == "x" * 38 + "…"


def test_after_a_change_of_size_the_lines_are_at_the_new_bottom(terminal, footer):
    footer.draw([Text("one"), Text("two")])
    terminal.write("a\n")
    terminal.lines()
    terminal.resize(30, 16)
    footer.draw([Text("one"), Text("two")])

    lines = terminal.lines()
    assert lines[0] == "a"
    assert lines[-2:] == ["one", "two"]
    assert lines.count("one") == 1


def test_the_lines_are_given_back_empty_and_the_whole_screen_scrolls_again(terminal, footer):
    footer.draw([Text("one"), Text("two")])
    footer.clear()
    for number in range(30):
        terminal.write(f"line {number}\n")

    assert terminal.lines() == [*(f"line {number}" for number in range(19, 30)), ""]


def test_what_has_not_changed_is_not_written_again(terminal, footer):
    footer.draw([Text("one")])
    terminal.lines()
    footer.draw([Text("one")])
    os.set_blocking(terminal.master, False)

    with pytest.raises(BlockingIOError):
        os.read(terminal.master, 100)


def test_of_too_many_lines_a_third_of_the_screen_is_taken(terminal, footer):
    terminal.write("a\n")
    footer.draw([Text(str(number)) for number in range(20)])

    assert terminal.lines()[-5:] == ["", "0", "1", "2", "3"]


def test_a_terminal_that_is_gone_is_told():
    from otelflow._cli._footer import Footer

    read, write = os.pipe()
    os.close(read)
    try:
        assert Footer(write).draw([Text("one")]) is False
    finally:
        os.close(write)


def test_what_a_killed_process_leaves_has_its_cursor_and_the_next_display_gives_the_lines_back(terminal, footer):
    from otelflow._cli._footer import Footer

    footer.draw([Text("of a process that is killed now")])
    left = terminal.lines()
    was_hidden = terminal.screen.cursor.hidden
    following = Footer(terminal.slave)
    following.draw([Text("of the next one")])
    following.clear()

    assert left[-1] == "of a process that is killed now"
    assert not was_hidden
    assert "of the next one" not in terminal.lines()
    assert terminal.screen.margins in (None, (0, terminal.screen.lines - 1))
