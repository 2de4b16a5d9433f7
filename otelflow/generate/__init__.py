"""Alerts, their unit tests and dashboards, made of the flows that a program declares.

``otelflow generate`` is this as a command.
"""

from collections.abc import Iterable
from typing import Any, Final, Literal

from otelflow.errors import ConfigurationError
from otelflow.generate._dashboards import fleet, one_flow, one_task
from otelflow.generate._flows import flows_of
from otelflow.generate._rules import PIPELINE, Program, rule_file, rule_test_file

__all__ = ["JAEGER", "PIPELINE", "generate_alerts", "generate_dashboards", "generate_promtool_tests"]

#: Where the links of alerts and dashboards lead
JAEGER: Final = "http://127.0.0.1:16686"


def generate_alerts(
    modules: Iterable[str] = (),
    *,
    jaeger: str = JAEGER,
    pipeline: Iterable[str] = PIPELINE,
    for_: Literal["prometheus", "kubernetes"] = "prometheus",
    namespace: str = "otelflow",
) -> str:
    """Return recording rules and alerts as YAML: those for every flow, and those that objectives add.

    *modules* are names of modules as in ``import package.module``, or paths of files that end with ``.py``. They are
    imported, and the flows that they and the modules that they import declare get the alerts of their objectives.
    *jaeger* is the address that links in alerts lead to.
    *pipeline* names the jobs, as Prometheus has them, of the programs between flows and dashboards; first that of the
    Collector that applications send to. Those of ``deploy/`` if it is not given; of none (``()``) no alert speaks.
    *for_* is who reads the rules: ``"prometheus"`` a rule file, ``"kubernetes"`` a resource ``PrometheusRule`` of the
    Prometheus operator, whose *namespace* is used for nothing else.

    Raises TargetNotFound for a module that is not there, TargetNotImportable for one that raises, ConfigurationError
    for an address or a job that is none, and MissingExtra without PyYAML (``pip install 'otelflow[cli]'``).

    >>> from pathlib import Path
    >>> from otelflow.generate import generate_alerts
    >>> file = Path("otelflow.rules.yml")
    >>> characters = file.write_text(generate_alerts(["shop.flows"], jaeger="https://jaeger.example"))
    """
    if for_ not in ("prometheus", "kubernetes"):
        raise ConfigurationError(f"for_={for_!r:.80} reads no rules: give 'prometheus' or 'kubernetes'")
    return rule_file(_program(modules, jaeger, pipeline), namespace if for_ == "kubernetes" else None)


def generate_promtool_tests(
    modules: Iterable[str] = (),
    *,
    jaeger: str = JAEGER,
    pipeline: Iterable[str] = PIPELINE,
    rules: str = "otelflow.rules.yml",
) -> str:
    """Return unit tests for what ``generate_alerts`` returns, as YAML: each alert fires in one, and not in another.

    *modules*, *jaeger* and *pipeline* are those that the rules were made with.
    *rules* is the path of the rule file, as seen from the folder of the tests.

    Raises as ``generate_alerts`` does. ``promtool test rules otelflow.rules.test.yml`` runs them.

    >>> from pathlib import Path
    >>> from otelflow.generate import generate_promtool_tests
    >>> characters = Path("otelflow.rules.test.yml").write_text(generate_promtool_tests(["shop.flows"]))
    """
    return rule_test_file(_program(modules, jaeger, pipeline), rules)


def generate_dashboards(
    modules: Iterable[str] = (), *, prometheus: str = "otelflow-prometheus", jaeger: str = JAEGER
) -> dict[str, dict[str, Any]]:
    """Return three Grafana dashboards by file name: the fleet, one flow, one task.

    *modules* are names of modules as in ``import package.module``, or paths of files, whose objectives the fleet shows.
    *prometheus* is the uid of Grafana's data source.
    *jaeger* is the address that links to traces lead to.

    Each dashboard is plain data, as Grafana reads it from JSON. Raises TargetNotFound for a module that is not there,
    TargetNotImportable for one that raises, and ConfigurationError for an address that is none.

    >>> import json
    >>> from pathlib import Path
    >>> from otelflow.generate import generate_dashboards
    >>> for name, dashboard in generate_dashboards(["shop.flows"]).items():
    ...     characters = Path(name).write_text(json.dumps(dashboard))
    """
    program = _program(modules, jaeger)
    boards = (fleet(program.flows, prometheus), one_flow(prometheus, jaeger), one_task(prometheus, jaeger))
    return {f"{board.uid}.json": board.as_json() for board in boards}


def _program(modules: Iterable[str], jaeger: str, pipeline: Iterable[str] = PIPELINE) -> Program:
    if not jaeger.startswith(("http://", "https://")):
        raise ConfigurationError(f"jaeger={jaeger!r:.80} is no address: give one such as {JAEGER}")
    jobs = tuple(dict.fromkeys(pipeline))
    if isinstance(pipeline, str) or not all(job and job.isprintable() for job in jobs):
        raise ConfigurationError(
            f"pipeline={pipeline!r:.80} names no jobs of Prometheus: give those such as ('collector', 'jaeger'), or ()"
        )
    return Program(flows_of(modules), jaeger, jobs)
