"""Where a recorded traceback says that an error came from."""

import traceback

import pytest

from otelflow_exporters._tree.tracebacks import place_in

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
