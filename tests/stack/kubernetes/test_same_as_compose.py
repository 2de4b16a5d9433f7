"""The same programs as under compose, told the same."""

import copy
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml", reason="not installed: pip install 'otelflow[stack]'")

DEPLOY = Path(__file__).parents[3] / "deploy"


def settings():
    lines = (DEPLOY / ".env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_every_image_is_the_one_that_compose_starts(build, composed):
    services = composed(build.parts).values()
    deployed = {service["image"] for service in services if not service.get("image", "busybox:").startswith("busybox:")}

    assert {container.spec["image"] for container in build.containers} == deployed


def test_the_operator_is_told_the_version_of_the_image(build):
    for document in (*build.of("Prometheus"), *build.of("Alertmanager")):
        assert document["spec"]["image"].split(":")[1] == document["spec"]["version"]


def test_every_program_is_told_what_it_is_told_under_compose(build, composed):
    services = composed(build.parts)

    for container in build.containers:
        service = services[{"sampler": "sampler-1"}.get(container.name, container.name)]
        assert service.get("environment", {}).items() <= container.environment.items()
        if container.name in {"kafka-topics", "loki", "pushgateway"}:
            assert container.words == service["command"]


def test_every_program_has_the_memory_that_it_has_under_compose(build, composed):
    services = composed(build.parts)
    unit = {"Mi": 2**20, "Gi": 2**30}

    for container in build.containers:
        service = services[{"sampler": "sampler-1"}.get(container.name, container.name)]
        limit = container.spec["resources"]["limits"]["memory"]
        assert int(limit[:-2]) * unit[limit[-2:]] == int(service["mem_limit"]), container.name


def test_every_program_reads_the_files_that_it_reads_under_compose(build, composed):
    services = composed(build.parts)
    assert len(build.containers) > len(build.parts)

    for container in (container for container in build.containers if container.name != "prometheus"):
        service = services[{"sampler": "sampler-1"}.get(container.name, container.name)]
        sources = [Path(volume["source"]) for volume in service.get("volumes", []) if volume["type"] == "bind"]
        files = [file for source in sources for file in (source.glob("*.json") if source.is_dir() else [source])]
        assert sorted(container.read.values()) == sorted(file.read_text() for file in files), container.name


def test_prometheus_is_set_as_under_compose(build, composed):
    (prometheus,) = build.of("Prometheus")
    spec = prometheus["spec"]
    flags = dict(flag.lstrip("-").split("=", 1) for flag in composed(())["prometheus"]["command"] if "=" in flag)
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())

    assert spec["retention"] == flags["storage.tsdb.retention.time"] == settings()["KEEP_METRICS"]
    assert spec["externalUrl"] == flags["web.external-url"]
    assert spec["enableFeatures"] == flags["enable-feature"].split(",")
    assert spec["exemplars"]["maxSize"] == config["storage"]["exemplars"]["max_exemplars"]
    assert spec["scrapeInterval"] == config["global"]["scrape_interval"]
    assert spec["evaluationInterval"] == config["global"]["evaluation_interval"]


def test_the_operators_rules_are_those_of_compose(build):
    (rule,) = build.of("PrometheusRule")
    files = sorted(DEPLOY.glob("prometheus/rules/*.rules.yml"))

    deployed = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    assert without_advice(rule["spec"]["groups"]) == without_advice(deployed)


def without_advice(groups):
    """What to do is said in the words of compose or of kubectl."""
    rest = copy.deepcopy(groups)
    for rule in (rule for group in rest for rule in group["rules"]):
        rule.get("annotations", {}).pop("runbook", None)
    return rest
