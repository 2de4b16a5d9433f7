"""Whose code is not touched? Flows and tasks are made of functions that know nothing of otelflow, named by patterns.

``opentelemetry-instrument`` and ``otelflow run --instrument`` do this before a program starts; a program may do it
itself: ``OtelflowInstrumentor().instrument("otelflow.toml")``.
"""

import sys
from collections.abc import Collection, Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Final, Self

from otelflow._core.process import losses
from otelflow._core.text.hints import nearest, suggestion
from otelflow.errors import ConfigurationError
from otelflow.instrument import _instrumented
from otelflow.instrument._plan import new_plan, read
from otelflow.instrument._start import start_by_opentelemetry
from otelflow.instrument._survey import check
from otelflow.settings import in_force

__all__ = ["OtelflowInstrumentor"]

_KEYWORDS: Final = ("file", "flows", "tasks", "strict")
_NOTHING: Final = (
    "OtelflowInstrumentor().instrument() names no function: "
    "give a file, flows=[...] or tasks=[...], or set OTELFLOW_INSTRUMENT; it has wrapped nothing"
)


class OtelflowInstrumentor:
    """Make functions flows and tasks that were written without otelflow.

    A flow runs when its function is called; both return and raise what the function does. It has the methods of the
    instrumentors of OpenTelemetry, whose ``opentelemetry-instrument`` finds it.

    >>> from otelflow.instrument import OtelflowInstrumentor
    >>> OtelflowInstrumentor().instrument(flows=["colorsys:rgb_to_hsv"]).functions
    ['colorsys:rgb_to_hsv']
    >>> OtelflowInstrumentor().uninstrument()
    """

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the packages that must be there, none (a tuple).

        >>> from otelflow.instrument import OtelflowInstrumentor
        >>> OtelflowInstrumentor().instrumentation_dependencies()
        ()
        """
        return ()

    @property
    def functions(self) -> list[str]:
        """The functions that are flows and tasks now, each a str: ``module:name``."""
        return _instrumented.functions()

    def instrument(
        self,
        file: str | Path | None = None,
        *,
        flows: Iterable[str | Mapping[str, Any]] = (),
        tasks: Iterable[str | Mapping[str, Any]] = (),
        strict: bool = True,
        **others: object,
    ) -> Self:
        """Wrap the functions that patterns name: in modules that are imported later, and in those that are there.

        *file* (path): an ``otelflow.toml``, or a ``pyproject.toml`` with ``[tool.otelflow.instrument]``; the variable
        ``OTELFLOW_INSTRUMENT`` names one when nothing is given. *flows*, *tasks* (patterns ``module:function`` such as
        ``"shop.jobs:nightly_*"``, or dicts of ``pattern`` and keywords of ``@flow``, ``@task``).
        *strict* (bool): a pattern or a key that means nothing is an error; else one warning. *others*: OpenTelemetry's.

        Calls ``configure()`` when the first function is wrapped. Returns the instrumentor. Raises ConfigurationError
        that names file, pattern and what was meant, MissingExtra without wrapt.

        >>> from otelflow.instrument import OtelflowInstrumentor
        >>> OtelflowInstrumentor().instrument(tasks=["colorsys:rgb_to_*", "colorsys:nothing"], strict=False).functions
        ['colorsys:rgb_to_hls', 'colorsys:rgb_to_hsv', 'colorsys:rgb_to_yiq']
        >>> OtelflowInstrumentor().uninstrument()
        """
        wrong = next(filter(lambda name: nearest(name, _KEYWORDS, alike=0.75), others), None)
        if wrong is not None:
            raise ConfigurationError(f"instrument() has no keyword {wrong!r}{suggestion(wrong, _KEYWORDS)}")
        if flows or tasks:
            if file is not None:
                raise ConfigurationError("instrument() takes a file, or flows and tasks, not both")
            plan = new_plan({"flows": flows, "tasks": tasks}, "instrument()", is_strict=strict)
        else:
            if file is None and _instrumented.is_interpreter_starting():  # ``opentelemetry-instrument`` does this
                start_by_opentelemetry()
                return self
            if not isinstance(file, str | PathLike | None):
                raise ConfigurationError(
                    f"instrument() takes the path of a file, not {file!r:.60}: patterns are flows=[…] and tasks=[…]"
                )
            path = file or in_force()["instrument"].value
            if not path:
                if not others:  # a person's call: who instruments by all that is installed says more
                    losses.warn_once("instrument nothing", "%s", _NOTHING)
                _instrumented.configure_here()
                return self
            plan = read(Path(path).absolute(), is_strict=strict)
        if "--multiprocessing-fork" not in sys.orig_argv:  # it learns later where modules lie; its parent has looked
            plan = check(plan)
        _instrumented.begin(plan)
        return self

    def uninstrument(self, **_: object) -> None:
        """Put back every function that was wrapped, unless somebody has replaced it since.

        >>> from otelflow.instrument import OtelflowInstrumentor
        >>> OtelflowInstrumentor().uninstrument()
        """
        _instrumented.end()
