"""Where a recorded traceback says that an error came from."""

import linecache
import traceback

import pytest

from otelflow_exporters._tree.tracebacks import place_in, shown_traceback

SHOP = "/home/ada/shop/orders.py"
SITE = "/venv/lib/python3.12/site-packages"


def text_of(*files):
    frames = [f'  File "{file}", line {number}, in step\n    call()' for number, file in enumerate(files, 1)]
    return "\n".join(["Traceback (most recent call last):", *frames, "ValueError: no"])


@pytest.mark.parametrize(
    "files",
    [
        [f"{SITE}/sqlalchemy/engine/base.py", "<string>"],
        ["lib/sqlalchemy/cyextension/resultproxy.pyx"],
        ["pandas/_libs/hashtable_class_helper.pxi"],
        ["<attrs generated init shop.Order>"],
        ["<frozen importlib._bootstrap>"],
        ["/usr/lib/python3.12/json/decoder.py"],
        [r"C:\Users\ada\AppData\Local\Programs\Python\Python312\Lib\json\decoder.py"],
        ["/usr/lib/python3/dist-packages/yaml/scanner.py"],
        ["/src/otelflow/_core/runs/drivers.py"],
        ["/src/otelflow/runners/_worker.py"],
        [f"{SITE}/celery/app/trace.py", "/src/otelflow/integrations/celery.py"],
    ],
    ids=str,
)
def test_the_place_of_an_error_is_in_the_program_and_not_in_what_it_calls(files):
    assert place_in(text_of("/home/ada/main.py", SHOP, *files)) == f"{SHOP}:2, in step"


@pytest.mark.parametrize(
    "file", ["<stdin>", "<ipython-input-3-0123456789ab>", "<doctest shop[2]>", "/tmp/ipykernel_7/12.py"]
)
def test_what_a_person_types_is_the_program(file):
    assert place_in(text_of(file, f"{SITE}/requests/api.py", "<string>")) == f"{file}:1, in step"


def test_a_command_is_the_program_where_there_is_no_other_file():
    assert place_in(text_of("<string>", f"{SITE}/requests/api.py")) == "<string>:1, in step"
    assert (
        place_in(text_of(f"{SITE}/requests/api.py", f"{SITE}/urllib3/pool.py")) == f"{SITE}/urllib3/pool.py:2, in step"
    )
    assert place_in("ValueError: no") == ""


def test_the_place_of_an_error_of_a_database_is_the_line_that_asks_it():
    sqlalchemy = pytest.importorskip("sqlalchemy", reason="not installed: pip install 'otelflow[examples]'")
    engine = sqlalchemy.create_engine("sqlite://")
    with pytest.raises(sqlalchemy.exc.OperationalError) as caught, engine.connect() as connection:
        connection.execute(sqlalchemy.text("select * from nowhere"))

    trace = "".join(traceback.format_exception(caught.value))
    assert "sqlite3.OperationalError" in trace
    assert place_in(trace).startswith(f"{__file__}:")


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


def test_frames_of_otelflow_are_left_out_of_groups_in_groups_and_the_errors_stay():
    namespace = {}
    for file, lines in {
        "/home/shop.py": "def call(f): f()\ndef group(errors): raise ExceptionGroup('many', errors)\n",
        "/x/otelflow/_core/flows/flow.py": "def ours(f): f()\ndef refuse(): raise ValueError('our words')\n",
    }.items():
        exec(compile(lines, file, "exec"), namespace)  # its frames are of a file that is not there
        linecache.cache[file] = (len(lines), None, lines.splitlines(keepends=True), file)
    call, group, ours, refuse = (namespace[name] for name in ("call", "group", "ours", "refuse"))

    def caught(function, *arguments):
        with pytest.raises((ValueError, ExceptionGroup)) as raised:
            function(*arguments)
        return raised.value

    errors = [caught(call, refuse), caught(ours, refuse)]
    inner = caught(ours, lambda: group(errors))
    trace = "".join(traceback.format_exception(caught(call, lambda: group([inner, ValueError("last")]))))
    lines, hidden = shown_traceback(trace, is_whole=True)

    shown = "\n".join(lines)
    assert hidden == 0
    assert "/x/otelflow" in trace
    assert [line for line in lines if "/x/otelflow" in line or "def refuse" in line or "def ours" in line] == []
    assert shown.count("ValueError: our words") == 2
    assert [line.strip(" +-|") for line in trace.splitlines() if "+" in line] == [
        line.strip(" +-|") for line in lines if "+" in line
    ]


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
