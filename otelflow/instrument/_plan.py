"""Which functions are flows and tasks, as a file says or the arguments of ``instrument()``."""

import functools
import inspect
import re
import types
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, get_value

from otelflow import Flow_Run__Config, Objective, flow, task
from otelflow._core.text.hints import suggestion
from otelflow.errors import ConfigurationError, OtelflowError

if TYPE_CHECKING:
    from pathlib import Path

_KEYS: Final = ("flows", "tasks", "listeners", "strict")
_PATTERN: Final = re.compile(r"[^\W\d]\w*(\.[\w*?\[\]!-]+)*:[\w*?\[\]!-]+(\.[\w*?\[\]!-]+)*")
_LISTENER: Final = re.compile(r"[^\W\d]\w*(\.\w+)*:[^\W\d]\w*(\.\w+)*")
#: What every run goes through: a run of it would be one in a run
_OF_TELEMETRY: Final = frozenset(
    {"opentelemetry", "otelflow", "otelflow_exporters", "wrapt", "contextvars", "functools", "importlib", "logging"}
    | {"threading", "weakref"}
)
#: What exporters send by, whose spans would be sent, too, and so on
_OF_EXPORTERS: Final = frozenset({"gzip", "http", "json", "requests", "socket", "ssl", "urllib", "urllib3", "zlib"})
_WILD: Final = re.compile(r"[*?\[]")
_FIELD: Final = re.compile(r"\{(\w*)\}")
#: What stands for a piece of the function itself in the name that an entry gives to its flows or tasks
_FIELDS: Final = ("module", "qualname", "name")


class Rule(NamedTuple):
    """One pattern, ``module:function``, and what is made of the functions that it names.

    ``*`` stands for any letters: in a module's name also for dots, so that ``shop.*`` are all modules inside of
    ``shop``; in a function's name for one part, so that ``*`` are functions and ``Client.*`` are methods. Names that
    begin with an underscore are meant by patterns that do, too.
    """

    role: str
    pattern: str
    decorate: Callable[[Any, str], Any]
    #: What its flows or tasks are called, which may hold ``{module}``, ``{qualname}`` and ``{name}`` of their functions
    name: str = "{name}"

    @property
    def modules(self) -> str:
        """The pattern of the modules' names."""
        return self.pattern.partition(":")[0]

    @property
    def names(self) -> str:
        """The pattern of the functions' names."""
        return self.pattern.partition(":")[2]

    def is_of_module(self, name: str) -> bool:
        """Tell whether the module *name* is meant."""
        return fnmatchcase(name, self.modules)

    def is_of_function(self, qualname: str) -> bool:
        """Tell whether the function or method *qualname* is meant."""
        patterns, names = self.names.split("."), qualname.split(".")
        return len(patterns) == len(names) and all(
            fnmatchcase(name, pattern) and (not name.startswith("_") or pattern.startswith("_"))
            for name, pattern in zip(names, patterns, strict=True)
        )

    def name_of(self, module: str, qualname: str) -> str:
        """Return what the flow or task of the function *qualname* in *module* is called."""
        own = {"module": module, "qualname": qualname, "name": qualname.rpartition(".")[2]}
        return _FIELD.sub(lambda field: own[field[1]], self.name)

    @property
    def is_exact(self) -> bool:
        """Tell whether it names one function, wherever that was written."""
        return _WILD.search(self.names) is None

    @property
    def is_of_many_modules(self) -> bool:
        """Tell whether it may mean modules of several names."""
        return _WILD.search(self.modules) is not None


class Plan(NamedTuple):
    """The rules, the first that fits wins; *is_strict*: a mistake is an error. *place* is where they were written.

    *listeners* are names of classes or objects, ``module:name``; *faults* is what could not be used of what was
    written, if the plan is not strict. Of the patterns that were *told* of, nothing more is said.
    """

    rules: tuple[Rule, ...]
    is_strict: bool
    place: str
    listeners: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    told: frozenset[str] = frozenset()

    def rules_of(self, module: str) -> list[Rule]:
        """Return the rules for functions of the module of that name."""
        return [rule for rule in self.rules if rule.is_of_module(module)]


def read(path: "Path", *, is_strict: bool = True) -> Plan:
    """Return what the file *path* says: an ``otelflow.toml``, or the table of a ``pyproject.toml``.

    Raises ConfigurationError, which names file and key: of a file that cannot be read, and if the plan is strict.
    """
    import tomllib  # noqa: PLC0415 a few milliseconds

    if path.is_dir():
        raise ConfigurationError(f"{path} is a folder: name the file of functions to instrument in it")
    if path.exists() and not path.is_file():  # a FIFO would block, and each process of the program reads it
        raise ConfigurationError(f"The file {path} of functions to instrument cannot be read: it is no regular file")
    try:
        content: Any = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # editors put a mark before the text
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"The file {path} of functions to instrument cannot be read: {error}") from None
    if path.name == "pyproject.toml":
        for key in ("tool", "otelflow", "instrument"):
            content = content.get(key, {}) if isinstance(content, Mapping) else {}
        if not content:
            raise ConfigurationError(f"{path} has no table [tool.otelflow.instrument]")
    return new_plan(content, str(path), is_strict=is_strict)


def new_plan(content: Mapping[str, Any], place: str, *, is_strict: bool = True) -> Plan:
    """Return the plan of *content*: ``flows``, ``tasks``, ``listeners``, ``strict``.

    Raises ConfigurationError for what cannot be used, if both *is_strict* and ``strict`` ask for it.
    """
    strict = content.get("strict", True)
    if not isinstance(strict, bool):
        raise ConfigurationError(f"{place}: strict must be true or false, not {strict!r:.60}")
    faults: list[str] = []

    def refuse(fault: str) -> None:
        if strict and is_strict:
            raise ConfigurationError(f"{place}{fault}")
        faults.append(fault.lstrip(": "))

    for key in content:
        if key not in _KEYS and isinstance(content[key], Mapping):
            refuse(
                f" has no table [{key}]: {', '.join(_KEYS)} stand at its top, and only in a pyproject.toml in a table"
            )
        elif key not in _KEYS:
            refuse(f" has no key {key!r}{suggestion(key, _KEYS)}")
    rules = [
        *_rules("flow", content.get("flows", ()), refuse),
        *_rules("task", content.get("tasks", ()), refuse),
    ]
    if not rules and not faults:
        refuse(' names no function: write flows = ["module:function"], or tasks')
    names = tuple(_listeners(content.get("listeners", ()), refuse))
    return Plan(tuple(rules), strict and is_strict, place, names, tuple(faults))


def _rules(role: str, entries: object, refuse: Callable[[str], None]) -> Iterable[Rule]:
    if isinstance(entries, str) or not isinstance(entries, Iterable):
        refuse(f": {role}s must be a list of patterns, not {entries!r:.60}")
        return
    for entry in entries:
        keywords = dict(entry) if isinstance(entry, Mapping) else {"pattern": entry}
        if "pattern" not in keywords:
            refuse(f': {role}s: {dict(entry)!r:.80} has no pattern: write {{pattern = "module:function", …}}')
            continue
        pattern = keywords.pop("pattern")
        if not isinstance(pattern, str) or not _PATTERN.fullmatch(pattern):
            refuse(
                f": {role}s: {pattern!r:.80} is no pattern: write module:function, such as 'shop.billing:charge', "
                "'shop.jobs:nightly_*' or 'shop.*:Client.*', with the first name of the module in full"
            )
            continue
        if re.split("[.:]", pattern)[0] in _OF_TELEMETRY:
            refuse(f": {role}s, {pattern}: telemetry itself goes through that: name a function that calls it")
            continue
        try:
            name = str(keywords.get(f"{role}_name") or "{name}")
            unknown = next((field for field in _FIELD.findall(name) if field not in _FIELDS), None)
            if unknown is not None:
                raise ConfigurationError(f"{role}_name has no field {unknown!r}{suggestion(unknown, _FIELDS)}")
            yield Rule(role, pattern, _decorator(role, pattern.partition(":")[2], keywords), name)
        except (OtelflowError, TypeError) as error:
            refuse(f": {role}s, {pattern}: {error}")


def _listeners(names: object, refuse: Callable[[str], None]) -> Iterable[str]:
    if isinstance(names, str) or not isinstance(names, Iterable):
        refuse(f": listeners must be a list of names, not {names!r:.60}")
        return
    for name in names:
        if isinstance(name, str) and _LISTENER.fullmatch(name):
            yield name
        else:
            refuse(f": listeners: {name!r:.80} is no name: write module:Class, such as 'shop.watch:Watcher'")


#: What a keyword says of the function itself, which is not there yet
_OF_FUNCTION: Final = {"target", "capture_parameters", "task_run_name"}
_OF_TASKS: Final = {*inspect.signature(task).parameters} - _OF_FUNCTION


def _decorator(role: str, name: str, keywords: dict[str, Any]) -> Callable[[Any, str], Any]:
    # A function that knows nothing of flows gets nothing of them, is called, and raises what it raised before.
    keywords.setdefault("inject", False)
    if role == "flow":
        if isinstance(keywords.get("objective"), Mapping):
            keywords["objective"] = Objective(**keywords["objective"])
        if isinstance(keywords.get("flow_config", {}), Mapping):
            keywords["flow_config"] = Flow_Run__Config(**{"raise_flow_error": True, **keywords.get("flow_config", {})})
        if "execute_on_call" in keywords:
            raise ConfigurationError("execute_on_call is not to be said: such a flow runs when its function is called")
        keywords["execute_on_call"] = True
    decorator: Callable[..., Any] = task if role == "task" else flow
    usual = decorator(**keywords)  # a keyword that is wrong is said now
    # And a value, which else is said when the function is there: a task is decorated on trial, which flows are like.
    trial = types.FunctionType((lambda: None).__code__, {}, name)
    task(**{keyword: value for keyword, value in keywords.items() if keyword in _OF_TASKS})(trial)

    def decorate(value: Any, name: str) -> Any:
        function = getattr(value, "__func__", value)  # of a staticmethod or classmethod
        # A lambda, and what a decorator has left of a function, are known by where they stand.
        is_usual = name == keywords.get(f"{role}_name", getattr(function, "__name__", ""))
        decorated = usual(value) if is_usual else decorator(**{**keywords, f"{role}_name": name})(value)
        if hasattr(function, "__wrapped__"):  # what the program reaches by it (around a cache, say) is no run
            getattr(decorated, "__func__", decorated).__wrapped__ = function.__wrapped__
        if not inspect.isfunction(value) or value.__module__.partition(".")[0] not in _OF_EXPORTERS:
            return decorated

        @functools.wraps(decorated)
        def call(*args: Any, **kwargs: Any) -> Any:
            is_of_exporter = get_value(_SUPPRESS_INSTRUMENTATION_KEY)
            return (value if is_of_exporter else decorated)(*args, **kwargs)

        return decorated if inspect.iscoroutinefunction(value) or inspect.isgeneratorfunction(value) else call

    return decorate
