"""How a run ends: the result of each ending, and what is said of the error."""

import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from types import TracebackType
from typing import Any, Final

from otelflow import semconv
from otelflow._core.process.settings import settings
from otelflow._core.text import classes
from otelflow._core.text.redaction import recorded, redact
from otelflow._core.text.regex import lazy_compile
from otelflow._core.text.safe_str import bounded_name, comes_from_outside, error_text, printable, safe_str, type_name
from otelflow.errors import UpstreamFailed

# Of a traceback longer than this (a message of megabytes), only the ends are read for secrets.
_READ: Final = 262_144

_MOST_REASONS: Final = 20
_MOST_MEMBERS: Final = 3
_MEMBER_LENGTH: Final = 200
_MEMBERS: Final = BaseExceptionGroup.__dict__["exceptions"]

# By package and name, as libraries move their classes from module to module: nobody has these classes without having
# imported their packages, which take long. A subclass counts as its base.
_CANCELLATIONS: Final = {
    "airflow": {"AirflowTaskTerminated"},
    "asyncio": {"CancelledError"},
    "bdb": {"BdbQuit"},  # of a debugger
    "billiard": {"Terminated"},  # a worker whose task is revoked
    "celery": {"TaskRevokedError"},
    "click": {"Abort"},  # Ctrl-C at a prompt
    "concurrent": {"CancelledError"},  # of a future, and of what builds on it, such as Dask
    "curio": {"CancelledError", "TaskCancelled"},
    "dagster": {"DagsterExecutionInterruptedError"},
    "dramatiq": {"Shutdown"},
    "duckdb": {"InterruptException"},
    "google": {"Cancelled"},
    "greenlet": {"GreenletExit"},  # gevent and eventlet stop with it
    "grpc": {"FutureCancelledError"},
    "huey": {"CancelExecution"},
    "marimo": {"MarimoStopError"},
    "otelflow": {"ClientGone"},
    "prefect": {"CancelledRun", "TerminationSignal"},
    "pyarrow": {"ArrowCancelled"},
    "ray": {"TaskCancelledError"},
    "starlette": {"ClientDisconnect", "WebSocketDisconnect"},
    "streamlit": {"RerunException", "StopException"},  # st.stop(), and a new run of the page
    "temporalio": {"CancelledError"},
    "trio": {"Cancelled"},  # anyio raises this one or that of asyncio
    "twisted": {"CancelledError"},
    "typer": {"Abort"},  # whose click is its own
}
# These end a program as SystemExit does, with a code of their own.
_EXITS: Final = {"click": {"Exit"}, "invoke": {"Exit"}, "typer": {"Exit"}}
# What a run waited for did not come in time. Libraries that raise the built-in TimeoutError need no line here: asyncio,
# anyio, sockets, concurrent.futures, aiohttp. Nor does a class of an installed package whose name says it plainly.
_TIMEOUTS: Final = {
    "aiokafka": {"KafkaTimeoutError"},
    "airflow": {"AirflowSensorTimeout", "AirflowTaskTimeout"},
    "anthropic": {"APITimeoutError"},
    "asyncpg": {"QueryCanceledError"},  # as PostgreSQL calls a statement that took too long
    "azure": {"ServiceRequestTimeoutError", "ServiceResponseTimeoutError"},
    "billiard": {"SoftTimeLimitExceeded", "TimeLimitExceeded", "TimeoutError"},
    "botocore": {"ConnectTimeoutError", "ReadTimeoutError"},
    "cassandra": {"OperationTimedOut", "ReadTimeout", "WriteTimeout"},
    "ccxt": {"RequestTimeout"},
    "celery": {"TimeoutError"},  # its time limits are those of billiard
    "clickhouse_driver": {"SocketTimeoutError"},
    "curio": {"TaskTimeout"},
    "diskcache": {"Timeout"},
    "dns": {"Timeout"},
    "dramatiq": {"ResultTimeout", "TimeLimitExceeded"},
    "elastic_transport": {"ConnectionTimeout"},
    "elasticsearch": {"ConnectionTimeout"},
    "eventlet": {"Timeout"},
    "func_timeout": {"FunctionTimedOut"},
    "gevent": {"Timeout"},
    "google": {"DeadlineExceeded", "GatewayTimeout", "RetryError"},  # the last one is of retries whose time is up
    "grpc": {"FutureTimeoutError"},
    "httpcore": {"TimeoutException"},
    "httpx": {"TimeoutException"},
    "invoke": {"CommandTimedOut"},
    "ipyparallel": {"TimeoutError"},
    "kafka": {"KafkaTimeoutError"},
    "kazoo": {"KazooTimeoutError", "LockTimeout"},
    "modal": {"TimeoutError"},
    "multiprocessing": {"TimeoutError"},
    "netmiko": {"NetmikoTimeoutException"},
    "openai": {"APITimeoutError"},
    "opensearchpy": {"ConnectionTimeout"},
    "pexpect": {"TIMEOUT"},
    "playwright": {"TimeoutError"},
    "plumbum": {"ProcessTimedOut"},
    "psutil": {"TimeoutExpired"},
    "psycopg": {"ConnectionTimeout", "QueryCanceled"},
    "psycopg2": {"QueryCanceled", "QueryCanceledError"},
    "psycopg_pool": {"PoolTimeout"},
    "pymongo": {"ExecutionTimeout", "NetworkTimeout"},
    "pyppeteer": {"TimeoutError"},
    "redis": {"TimeoutError"},
    "requests": {"Timeout"},
    "rq": {"JobTimeoutException"},
    "selenium": {"TimeoutException"},
    "serial": {"SerialTimeoutException"},
    "sh": {"TimeoutException"},
    "sqlalchemy": {"TimeoutError"},
    "stopit": {"TimeoutException"},
    "subprocess": {"TimeoutExpired"},
    "telegram": {"TimedOut"},
    "temporalio": {"TimeoutError"},
    "timeout_decorator": {"TimeoutError"},
    "tornado": {"TimeoutError"},
    "trio": {"TooSlowError"},
    "twisted": {"TimeoutError"},
    "urllib3": {"TimeoutError"},
    "websocket": {"WebSocketTimeoutException"},
}
# What the name of a class says in a package that has no line above; that of a mistake ("InvalidTimeout") says it not.
_LATE: Final = (
    r"(?<!Invalid)(?<!Illegal)(?<!Negative)(?<!Unsupported)(?<!Missing)(?<!Wrong)(?<!Bad)(?<!No)"
    r"(Timeout|TimedOut)(Error|Exception|Expired|Exceeded)?\Z|\ATIMEOUT\Z|(Deadline|TimeLimit)Exceeded"
)
# These stand for another exception: how it is read.
_WRAPPERS: Final[Mapping[str, Mapping[str, Callable[[Any], object]]]] = {
    "requests": {"ConnectionError": lambda error: error.args[0]},
    "sqlalchemy": {"DBAPIError": lambda error: error.orig},
    "tenacity": {"RetryError": lambda error: error.last_attempt.exception(timeout=0)},
    "urllib": {"URLError": lambda error: error.reason},
    "urllib3": {"MaxRetryError": lambda error: error.reason},
}
# These say by a code of their own how a call ended.
_CALL_ERRORS: Final = {"grpc": {"RpcError"}}
# Of a chain or group with more exceptions, only those at both ends are formatted.
_MOST_ERRORS: Final = 100
_ERRORS_AT_AN_END: Final = 10


class Ending:
    """How a run ended: one of ``semconv.RESULTS`` (or ``SKIP``: it was not run), and the exception that left it.

    Type and text of the exception are made once, when they are first needed.
    """

    __slots__ = ("_message", "_stack_trace", "_type", "error", "result")

    def __init__(self, result: str, error: BaseException | None = None, error_type: str | None = None) -> None:
        self.result = result
        self.error = error
        self._type = error_type  # that of the error, unless it is called otherwise
        self._message: str | None = None
        self._stack_trace: str | None = None

    def __reduce__(self) -> str | tuple[Any, ...]:
        # A function that travels by value, as cloudpickle sends them, takes along what its module knows: these are told
        # by their identity.
        own = ((name, globals().get(name)) for name in ("SUCCESS", "CANCELLED", "UNCLOSED"))
        name = next((name for name, ending in own if ending is self), None)
        return name or (Ending, (self.result, self.error, self._type))

    @property
    def is_failure(self) -> bool:
        """Tell whether a person should look at it: not for success, skip and cancellation."""
        return self.result in semconv.FAILED_RESULTS

    @property
    def error_type(self) -> str:
        """The value of ``error.type``; only for an ending with an error."""
        if self._type is None:
            self._type = _type_of(self.error)
        return self._type

    @property
    def error_message(self) -> str:
        """The text of the error, redacted and bounded; only for an ending with an error."""
        if self._message is None:
            self._message = recorded(self.error, settings().value_limit)
        return self._message

    @property
    def reason(self) -> str:
        """Type and text of the error, and what stands in a group; only for an ending with an error."""
        return error_text(self.error_type, self.error_message) + members_of(self.error)

    def exception_attributes(self) -> dict[str, str]:
        """Return what a span event or a log record says of the error; only for an ending with an error."""
        if self._stack_trace is None and self.error is not None:
            self._stack_trace = stack_trace(self.error, settings().value_limit)
        return {
            semconv.EXCEPTION_TYPE: self.error_type,
            semconv.EXCEPTION_MESSAGE: self.error_message,
            semconv.EXCEPTION_STACKTRACE: self._stack_trace or "",
        }


SUCCESS: Final = Ending(semconv.SUCCESS)
CANCELLED: Final = Ending(semconv.CANCELLATION)
#: How a run ends that could not be closed because the stack was full
UNCLOSED: Final = Ending(semconv.FAILURE)


def ending_of(error: BaseException, *, was_called: bool) -> Ending:
    """Return how a run ends that *error* leaves; if the body was never called, the result is ``error``."""
    if isinstance(error, SystemExit) or _is_one_of(_EXITS, error):
        # As the interpreter sees it: None and 0 are a good end, "" and 0.0 are not.
        code = error.code if isinstance(error, SystemExit) else exit_code_of(error)
        is_good = code is None or (isinstance(code, int) and int.__int__(code) == 0)
        return SUCCESS if is_good else Ending(semconv.FAILURE, error)
    if is_cancellation(error):
        return Ending(semconv.CANCELLATION, error)
    if not was_called:
        return Ending(semconv.SKIP if type(error) is UpstreamFailed else semconv.ERROR, error)
    # A timeout is one, or a group of timeouts and of what was stopped for them.
    is_timeout = all(_is_late(leaf) or _is_stop(leaf) for leaf in _leaf_errors(error))
    return Ending(semconv.TIMEOUT if is_timeout else semconv.FAILURE, error)


def exit_code_of(error: BaseException) -> object:
    """Return the code of an exception that ends a program as SystemExit does, and 1 for any other."""
    return getattr(error, "exit_code", getattr(error, "code", 1)) if _is_one_of(_EXITS, error) else 1


def is_cancellation(error: BaseException) -> bool:
    """Tell whether *error* means that the run was stopped from outside, alone or as a group of nothing else.

    GeneratorExit leaves a coroutine that was closed before it was done.
    """
    return all(map(_is_stop, _leaf_errors(error)))


def _is_stop(error: BaseException) -> bool:
    if isinstance(error, KeyboardInterrupt | GeneratorExit):
        return True
    return _is_one_of(_CANCELLATIONS, error) or _code_of_call(error) == "CANCELLED"


def _is_late(error: BaseException) -> bool:
    """Tell whether *error* is a time-out, or an error of a library that wraps one; of gRPC, its own code tells."""
    reason: object = error
    for _ in range(_MOST_REASONS):
        if not isinstance(reason, BaseException):
            break
        kind = type(reason)
        if isinstance(reason, TimeoutError) or _is_one_of(_TIMEOUTS, reason):
            return True
        is_named_late = lazy_compile(_LATE).search(classes.name_of(kind)) is not None
        if is_named_late and classes.is_installed(kind):  # a class of the program may have any such name
            return True
        kinds = [(classes.module_of(base).partition(".")[0], classes.name_of(base)) for base in classes.bases(kind)]
        read = next((_WRAPPERS[package][name] for package, name in kinds if name in _WRAPPERS.get(package, ())), None)
        if read is None:
            break
        try:
            reason = read(reason)
        except Exception:  # noqa: BLE001 one that was made without what it stands for
            break
    return _code_of_call(error) == "DEADLINE_EXCEEDED"


def _leaf_errors(error: BaseException) -> Iterator[BaseException]:
    """Yield *error*, or of a group each exception in it that is no group; groups may be thousands deep."""
    rest, ids = [error], set()
    while rest:
        item = rest.pop()
        if not isinstance(item, BaseExceptionGroup):
            yield item
        elif id(item) not in ids:
            ids.add(id(item))
            rest += reversed(_MEMBERS.__get__(item))  # without what a subclass may do


def members_of(error: BaseException | None) -> str:
    """Return what to say after the text of a group, which tells only how many exceptions it has; else nothing."""
    if not issubclass(type(error), BaseExceptionGroup):  # an exception may refuse to be looked at
        return ""
    leaves = list(_leaf_errors(error))  # type: ignore[arg-type]
    texts = [error_text(_type_of(leaf), recorded(leaf, _MEMBER_LENGTH)) for leaf in leaves[:_MOST_MEMBERS]]
    rest = f"; and {len(leaves) - len(texts):,} more" if len(leaves) > len(texts) else ""
    return f": {'; '.join(texts)}{rest}"


def _code_of_call(error: BaseException) -> str | None:
    if not _is_one_of(_CALL_ERRORS, error):
        return None
    code = getattr(error, "code", None)
    return getattr(code() if callable(code) else code, "name", None)


def _is_one_of(table: Mapping[str, Collection[str]], error: BaseException) -> bool:
    return any(
        classes.name_of(base) in table.get(classes.module_of(base).partition(".")[0], ())
        for base in classes.bases(type(error))
    )


def _type_of(error: object) -> str:
    return bounded_name(classes.qualified_name(type(error)))


def stack_trace(error: BaseException, limit: int) -> str:
    """Return the traceback of *error* from the user's first frame on, redacted; of a long one both ends."""
    try:
        frames = error.__traceback__
        while frames is not None and frames.tb_next is not None:
            if not str(frames.tb_frame.f_globals.get("__name__")).startswith("otelflow._core."):
                break
            frames = frames.tb_next
        if _is_long(error):
            text = "".join(_pieces_of_chain(error, frames, limit))
        else:
            text = "".join(traceback.TracebackException(type(error), error, frames).format())
    except BaseException as trouble:  # foreign attributes, __str__ and source loaders, which may raise anything
        if comes_from_outside(trouble):
            raise
        text = f"<the traceback could not be formatted: {type_name(trouble)}>"
    length = len(text)
    limit = min(limit, _READ // 2)
    text = redact(text if length <= _READ else text[: _READ // 2] + text[-_READ // 2 :])
    if length > 2 * limit:  # cut after it was redacted, so that no half of a secret is left
        text = f"{text[:limit]}\n… [cut, {length:,} characters] …\n{text[-limit:]}"
    return printable(text)


def _is_long(error: BaseException) -> bool:
    """Tell whether the standard library would take seconds to format *error* with all that belongs to it.

    It tells a cause or a context once, but what stands in several groups each time, and a circle of groups for ever.
    """
    rest: list[tuple[BaseException | None, bool]] = [(error, True)]
    ids: set[int] = set()  # most causes are contexts, too
    count = 0
    while rest and count <= _MOST_ERRORS:
        item, is_member = rest.pop()
        if item is None or (id(item) in ids and not is_member):
            continue
        ids.add(id(item))
        count += 1
        rest += [(item.__cause__, False), (item.__context__, False)]
        if isinstance(item, BaseExceptionGroup):
            rest += [(member, True) for member in item.exceptions[:_MOST_ERRORS]]
    return count > _MOST_ERRORS


def _pieces_of_chain(error: BaseException, frames: TracebackType | None, limit: int) -> Iterator[str]:
    """Return both ends of the chain of *error*, the oldest first as Python does, each exception without its chain."""
    chain, ids = [(error, "")], {id(error)}
    while True:
        item = chain[-1][0]
        is_cause = item.__cause__ is not None
        before = item.__cause__ if is_cause else None if item.__suppress_context__ else item.__context__
        if before is None or id(before) in ids:
            break
        ids.add(id(before))
        chain.append((before, _BETWEEN_CAUSE if is_cause else _BETWEEN_CONTEXT))
    omitted = len(chain) - 2 * _ERRORS_AT_AN_END
    for place, (item, between) in reversed(list(enumerate(chain))):
        if _ERRORS_AT_AN_END <= place < _ERRORS_AT_AN_END + omitted:
            if place == _ERRORS_AT_AN_END:
                yield f"… [cut, {omitted:,} exceptions] …\n\n"
            continue
        trace = frames if item is error else item.__traceback__
        yield "Traceback (most recent call last):\n"
        yield from traceback.format_tb(trace)
        yield error_text(_type_of(item), safe_str(item, limit)) + "\n"
        inner = item.exceptions if isinstance(item, BaseExceptionGroup) else ()
        yield from (f"  | {error_text(_type_of(part), safe_str(part, limit))}\n" for part in inner[:_ERRORS_AT_AN_END])
        if len(inner) > _ERRORS_AT_AN_END:
            yield f"  | … [cut, {len(inner) - _ERRORS_AT_AN_END:,} exceptions]\n"
        yield between


_BETWEEN_CAUSE: Final = "\nThe above exception was the direct cause of the following exception:\n\n"
_BETWEEN_CONTEXT: Final = "\nDuring handling of the above exception, another exception occurred:\n\n"
