"""What a recorded traceback tells."""

import pytest

from otelflow_exporters._tree.tracebacks import place_in, shown_traceback

OURS = '  File "/x/otelflow/_core/runs/drivers.py", line 5, in call\n    body()\n    ^^^^^^\n'
LIBRARY = '  File "/usr/lib/python3.12/json/decoder.py", line 7, in decode\n    raise it\n'
USER = '  File "/home/shop.py", line {}, in price\n    return 1 / 0\n'
HEAD = "Traceback (most recent call last):\n"
END = "ZeroDivisionError: division by zero\n"


@pytest.mark.parametrize(
    ("trace", "place"),
    [
        (HEAD + OURS + USER.format(3) + END, "/home/shop.py:3, in price"),
        (HEAD + USER.format(3) + USER.format(4) + LIBRARY + OURS + END, "/home/shop.py:4, in price"),
        (HEAD + OURS + LIBRARY + END, "/usr/lib/python3.12/json/decoder.py:7, in decode"),
        (HEAD + '  | File "/home/group.py", line 9\n' + END, "/home/group.py:9"),
        (HEAD + '  File "C:\\x\\site-packages\\a.py", line 1, in f\n' + USER.format(2), "/home/shop.py:2, in price"),
        (HEAD + USER.format(2) + '  File "<frozen runpy>", line 1, in f\n', "/home/shop.py:2, in price"),
        (HEAD + OURS + END, ""),
        ("", ""),
        (HEAD + '  File "/home/\x1b[31mred.py", line 9, in f\n', "/home/red.py:9, in f"),
    ],
)
def test_an_error_comes_from_the_last_frame_of_the_user(trace, place):
    assert place_in(trace) == place


def test_frames_of_otelflow_are_left_out_with_their_source():
    lines, hidden = shown_traceback(HEAD + OURS + USER.format(3) + OURS + END, is_whole=False)

    assert lines == (HEAD + USER.format(3) + END).splitlines()
    assert hidden == 0


@pytest.mark.parametrize(("frames", "hidden"), [(17, 0), (18, 3), (50, 67)])
def test_of_a_long_traceback_the_middle_is_counted(frames, hidden):
    trace = HEAD + USER.format(1) * frames + "SyntaxError: x\nwhy\n"
    lines, count = shown_traceback(trace, is_whole=False)
    whole, none = shown_traceback(trace, is_whole=True)

    assert count == hidden
    assert len(whole) == 2 * frames + 3
    assert none == 0
    if hidden:
        assert lines == [*whole[:12], f"… {hidden} more lines", *whole[-24:]]
    else:
        assert lines == whole
