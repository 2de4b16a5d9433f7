"""Tests that are collected once, and run in a fork for each fault, which is put into the functions that are there.

To start pytest and to import the product takes longer than most tests take. A fault in what runs at import (the body of
a module or of a class, a default) cannot be put in afterwards: it needs a process in which nothing is imported yet.
"""

import gc
import json
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import CodeType, FunctionType
from typing import Any

import pytest

BROKEN = 99  # the exit code of a child in which something else than a test went wrong

_CO_OPTIMIZED = 1  # functions have this flag, a module and the body of a class do not


def in_child(action: Callable[[], int], seconds: float) -> int | None:
    """Run *action* in a fork of this process and return its exit code, or None if it takes more than *seconds*."""
    child = os.fork()
    if not child:
        code = BROKEN
        try:
            os.setsid()
            code = action()
        except BaseException:  # noqa: BLE001 this process is a copy of the one that reports
            traceback.print_exc()
        finally:
            os._exit(code)
    end = time.monotonic() + seconds
    status = None
    while status is None and time.monotonic() < end:
        done, value = os.waitpid(child, os.WNOHANG)
        status = value if done else None
        if status is None:
            time.sleep(0.005)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # also what it has started and left behind
    if status is None:
        os.waitpid(child, 0)
        return None
    return os.waitstatus_to_exitcode(status)


class Server:
    """A pytest plugin: in place of all tests, it runs those that a request names, and answers with their exit code."""

    def __init__(self, requests: int, answers: int) -> None:
        self.requests = requests
        self.answers = answers

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        with os.fdopen(self.requests) as requests, os.fdopen(self.answers, "w") as answers:
            for line in requests:
                request = json.loads(line)
                code = in_child(lambda request=request: run(session, items, request), request["seconds"])  # type: ignore[misc]
                print(json.dumps(code), file=answers, flush=True)
        return True


def run(session: pytest.Session, items: dict[str, pytest.Item], request: dict[str, Any]) -> int:
    """Put a fault into the functions of this process, run tests until one fails, and return an exit code."""
    put_in(request["source"], request["path"])
    session.items[:] = [items[name] for name in request["tests"]]
    for item in session.items:  # a fault that never ends takes no longer than it must
        item.add_marker(pytest.mark.timeout(5 + 5 * request["tests"][item.nodeid]), append=False)
    try:
        for item, following in zip(session.items, [*session.items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.testsfailed:
                return 1
    except BaseException:  # noqa: BLE001 such as a Ctrl-C that the fault has let through
        traceback.print_exc()
        return 1
    return 0


def put_in(source: str, path: str) -> None:
    """Give each function that was made from the file at *path* the code that it has in *source*."""
    codes = {_key(code): code for code in _inside(compile(source, path, "exec", dont_inherit=True))}
    for thing in gc.get_objects():
        if type(thing) is FunctionType and thing.__code__.co_filename == path and _key(thing.__code__) in codes:
            thing.__code__ = codes[_key(thing.__code__)]


def is_in_functions(before: str, after: str) -> bool:
    """Tell whether two sources differ inside functions only, so that ``put_in`` can do it."""
    old, new = (list(_inside(compile(source, "", "exec", dont_inherit=True))) for source in (before, after))
    keys = [_key(code) for code in old]
    if keys != [_key(code) for code in new] or len(keys) != len(set(keys)):
        return False
    return all(
        _own(code) == _own(other) or (code.co_flags & _CO_OPTIMIZED and len(code.co_freevars) == len(other.co_freevars))
        for code, other in zip(old, new, strict=True)
    )


def _inside(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _inside(constant)


def _key(code: CodeType) -> tuple[str, int]:
    return code.co_qualname, code.co_firstlineno


def _own(code: CodeType) -> tuple[object, ...]:
    """Return what *code* does, without the functions inside it and their places in the source."""
    constants = [repr(constant) for constant in code.co_consts if not isinstance(constant, CodeType)]
    return code.co_code, constants, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
