"""The files of deploy/ are right by the programs that read them, and hold together."""

import itertools
import json
import os
import re
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml", reason="not installed: pip install 'otelflow[stack]'")

DEPLOY = Path(__file__).parents[2] / "deploy"
COMPOSE = sorted(DEPLOY.glob("compose*.yaml"))
LAYERS = [file for file in COMPOSE if file.name != "compose.yaml"]
COMBINATIONS = [
    layers for count in range(len(LAYERS) + 1) for layers in itertools.combinations(LAYERS, count)
]  # fmt: skip
RULES = sorted(DEPLOY.glob("prometheus/rules/*.rules.yml"))
RULE_TESTS = sorted(DEPLOY.glob("prometheus/rules/*.rules.test.yml"))
NOTIFY = {"NOTIFY_BY": "slack", "NOTIFY_URL": "http://127.0.0.1/hook"}

COLLECTOR_COMBINATIONS = {
    "base": ["collector.yaml", "traces-to-jaeger.yaml", "logs-to-console.yaml"],
    "logs": ["collector.yaml", "traces-to-jaeger.yaml", "logs-to-loki.yaml"],
    "scale": ["collector.yaml", "traces-to-kafka.yaml", "logs-to-console.yaml"],
    "scale and logs": ["collector.yaml", "traces-to-kafka.yaml", "logs-to-loki.yaml"],
    "dispatcher": ["dispatcher.yaml"],
    "sampler": ["sampler.yaml"],
}


def name(item):
    return item.name if isinstance(item, Path) else "+".join(map(name, item)) or "base"


def read(file):
    return yaml.safe_load(file.read_text())


def settings():
    lines = (DEPLOY / ".env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@pytest.fixture
def composed(tools):
    """The services that a combination of layers makes, as docker compose itself understands it."""

    def compose(layers):
        files = [f"--file={file}" for file in (DEPLOY / "compose.yaml", *layers)]
        command = [tools.program("docker-compose"), *files, "config"]
        done = tools.run(*command, env={**os.environ, **NOTIFY})
        assert done.returncode == 0, done.stderr
        assert "level=warning" not in done.stderr, done.stderr
        return yaml.safe_load(done.stdout)

    return compose


# Compose


@pytest.mark.parametrize("layers", COMBINATIONS, ids=name)
def test_every_combination_of_layers_is_valid_and_closed_to_the_network(layers, composed):
    project = composed(layers)

    for service, definition in project["services"].items():
        published = definition.get("ports", [])
        assert all(port["host_ip"] == "127.0.0.1" for port in published), service
        assert "mem_limit" in definition, f"{service} may eat the machine"
        assert definition["logging"]["options"].keys() == {"max-size", "max-file"}, f"{service}'s log fills the disk"
        assert not definition.get("network_mode", "").startswith("service:"), f"{service} goes stale with the other"
        assert not re.search(r":(latest)?$", definition.get("image", "image:1")), service
        for volume in definition.get("volumes", []):
            if volume["type"] == "bind":
                assert Path(volume["source"]).exists(), f"{service} mounts {volume['source']}"


@pytest.mark.parametrize("layers", COMBINATIONS, ids=name)
def test_every_service_that_another_waits_for_says_when_it_is_healthy(layers, composed):
    services = composed(layers)["services"]

    for service, definition in services.items():
        for dependency, how in definition.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[dependency], f"{service} waits for {dependency}"


@pytest.mark.parametrize("file", sorted(DEPLOY.glob("*/Dockerfile")), ids=lambda file: file.parent.name)
def test_an_image_is_nobodys_but_for_the_spool_which_outlives_its_containers(file):
    text = file.read_text()
    last_user = re.findall(r"^USER (.+)$", text, re.MULTILINE)[-1]
    (spool,) = re.findall(r"\bOTELFLOW_SPOOL_DIR=(\S+)", text)
    built = [
        definition
        for layer in LAYERS
        for definition in read(layer)["services"].values()
        if definition.get("build", {}).get("dockerfile") == str(file.relative_to(DEPLOY.parent))
    ]

    assert int(last_user) > 0
    assert re.search(rf"install --directory --owner=\S+ --group=\S+ --mode=0700 {spool}$", text, re.MULTILINE)
    assert built
    for definition in built:
        assert definition["read_only"], "what the program writes beside its spool would be noticed nowhere else"
        assert [place.split(":")[1:] for place in definition["volumes"]] == [[spool]]
        assert re.search(r"\bHOME=(\S+)", text)[1] in definition["tmpfs"]


@pytest.mark.parametrize("missing", NOTIFY)
def test_notifications_without_a_way_or_an_address_are_refused(missing, tools):
    files = [f"--file={DEPLOY / file}" for file in ("compose.yaml", "compose.notify.yaml")]

    done = tools.run(tools.program("docker-compose"), *files, "config", env={**os.environ, **NOTIFY, missing: ""})

    assert done.returncode != 0
    assert f"say {missing}=" in done.stderr


@pytest.mark.parametrize("file", COMPOSE, ids=name)
def test_every_compose_file_opens_with_the_command_that_uses_it(file):
    first = file.read_text().splitlines()[0]

    assert re.match(r"# (\w+=\S+ )*docker compose -f deploy/compose\.yaml .*up .*--detach --wait$", first)
    assert f"-f deploy/{file.name}" in first
    assert first.removeprefix("# ") in (DEPLOY / "README.md").read_text()


@pytest.mark.parametrize("file", COMPOSE, ids=name)
def test_every_image_takes_its_version_from_env(file):
    images = re.findall(r"image: (\S+)", file.read_text())

    assert all(re.fullmatch(r"[\w/-]+:\$\{[A-Z]+_VERSION\}", image) for image in images), images


def test_every_setting_of_env_is_used():
    text = "".join(file.read_text() for file in COMPOSE)

    assert [key for key in settings() if f"${{{key}}}" not in text] == []


# Prometheus and Alertmanager


def test_prometheus_configuration_is_valid(prometheus_config, tools):
    done = tools.run(tools.program("promtool"), "check", "config", prometheus_config)

    assert done.returncode == 0, done.stderr


def test_only_the_collector_that_applications_know_has_its_job():
    layers = [target for file in DEPLOY.glob("*/*-targets.yaml") for target in read(file)]
    configured = read(DEPLOY / "prometheus/prometheus.yml")["scrape_configs"]

    assert [target for target in layers if target["labels"]["job"] == "collector"] == []
    assert [job["static_configs"] for job in configured if job["job_name"] == "collector"] == [
        [{"targets": ["collector:8888"]}]
    ]


@pytest.mark.parametrize("file", RULES, ids=name)
def test_every_rule_file_is_valid(file, tools):
    done = tools.run(tools.program("promtool"), "check", "rules", "--lint=all", "--lint-fatal", file)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", RULE_TESTS, ids=name)
def test_every_rule_passes_its_unit_tests(file, tools):
    done = tools.run(tools.program("promtool"), "test", "rules", file)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", RULES, ids=name)
def test_every_alert_has_unit_tests_and_tells_a_human_what_is_wrong_and_what_to_do(file):
    tested = file.with_name(file.name.replace(".rules.yml", ".rules.test.yml")).read_text()

    for rule in (rule for group in read(file)["groups"] for rule in group["rules"] if "alert" in rule):
        assert rule["alert"] in tested
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"].keys() >= {"summary", "description", "runbook"}, rule["alert"]


@pytest.mark.parametrize("file", sorted(DEPLOY.glob("alertmanager/*.yml")), ids=name)
def test_every_alertmanager_configuration_is_valid(file, tools):
    done = tools.run(tools.program("amtool"), "check-config", file)

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_name_in_a_chat_is_a_text_and_calls_nobody(tools, tmp_path):
    (tmp_path / "none.tmpl").write_text("")
    annotations = {
        "summary": "flow <!channel> & <lambda> failed",
        "runbook": "https://wiki/?a=1&b=2",
        "traces": "http://j",
    }
    alert = {"status": "firing", "labels": {"alertname": "FlowLastRunFailed"}, "annotations": annotations}
    (tmp_path / "data.json").write_text(json.dumps({"status": "firing", "alerts": [alert]}))
    (chat,) = read(DEPLOY / "alertmanager/slack.yml")["receivers"]

    done = tools.run(
        tools.program("amtool"),
        *("template", "render", f"--template.glob={tmp_path}/*.tmpl", f"--template.data={tmp_path}/data.json"),
        f"--template.text={chat['slack_configs'][0]['text']}",
    )

    assert done.stdout.splitlines()[:3] == [
        "flow &lt;!channel> &amp; &lt;lambda> failed",
        "https://wiki/?a=1&amp;b=2",
        "<http://j|The traces in Jaeger>",
    ]


@pytest.mark.parametrize("file", sorted(DEPLOY.glob("alertmanager/*.yml")), ids=name)
def test_a_page_of_a_flow_silences_nothing_but_the_slower_word_about_the_same_failures(file):
    (rule,) = read(file)["inhibit_rules"]

    assert rule == {
        "source_matchers": ['alertname=~"FlowLastRunFailed|FlowErrorBudgetBurnsFast"'],
        "target_matchers": ['alertname="FlowErrorBudgetBurnsSlowly"'],
        "equal": ["job", "flow"],
    }


# The Collector and Jaeger


@pytest.mark.parametrize("files", COLLECTOR_COMBINATIONS.values(), ids=COLLECTOR_COMBINATIONS.keys())
def test_every_combination_of_collector_files_is_valid(files, tools):
    configs = [f"--config={DEPLOY / 'collector' / file}" for file in files]

    done = tools.run(tools.program("otelcol"), "validate", *configs)

    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr.lower()


def test_every_collector_file_is_part_of_a_combination():
    used = {file for files in COLLECTOR_COMBINATIONS.values() for file in files}

    assert {file.name for file in DEPLOY.glob("collector/*.yaml")} - {"kustomization.yaml"} == used


def test_the_collector_under_test_is_of_the_deployed_version():
    builder = read(Path(__file__).with_name("collector-builder.yaml"))

    assert builder["dist"]["version"] == settings()["COLLECTOR_VERSION"]


# The deployed Jaeger is newer (2.20): no later one can be built here, see .ci/stack.
@pytest.mark.parametrize("file", sorted(DEPLOY.glob("jaeger/jaeger*.yaml")), ids=name)
def test_every_jaeger_configuration_is_valid_for_jaeger_2_13(file, tools):
    done = tools.run(tools.program("jaeger"), "validate", f"--config={file}")

    assert done.returncode == 0, done.stderr


# Grafana

DOCUMENTED = {
    "file": {"apiVersion", "prune", "deleteDatasources", "datasources"},
    "datasource": {
        "name", "uid", "type", "access", "url", "isDefault", "editable", "jsonData", "secureJsonData", "orgId",
        "basicAuth", "basicAuthUser", "version", "readOnly",
    },
    "prometheus": {
        "httpMethod", "timeInterval", "prometheusType", "prometheusVersion", "exemplarTraceIdDestinations",
        "queryTimeout", "cacheLevel", "manageAlerts", "incrementalQuerying", "disableRecordingRules",
    },
    "alertmanager": {"implementation", "handleGrafanaManagedAlerts"},
    "jaeger": {"tracesToLogsV2", "tracesToMetrics", "nodeGraph", "traceQuery", "spanBar"},
    "loki": {"derivedFields", "maxLines", "manageAlerts", "timeout"},
    "exemplarTraceIdDestinations": {"name", "datasourceUid", "url", "urlDisplayLabel"},
    "derivedFields": {"name", "matcherType", "matcherRegex", "url", "datasourceUid", "urlDisplayLabel"},
    "tracesToLogsV2": {
        "datasourceUid", "spanStartTimeShift", "spanEndTimeShift", "tags", "filterByTraceID", "filterBySpanID",
        "customQuery", "query",
    },
    "tracesToMetrics": {"datasourceUid", "spanStartTimeShift", "spanEndTimeShift", "tags", "queries"},
    "spanBar": {"type", "tag"},
    "nodeGraph": {"enabled"},
    "provider": {
        "name", "orgId", "folder", "folderUid", "type", "disableDeletion", "allowUiUpdates", "updateIntervalSeconds",
        "options",
    },
}  # fmt: skip


def undocumented(kind, fields):
    return sorted(set(fields) - DOCUMENTED[kind])


@pytest.mark.parametrize("file", sorted(DEPLOY.glob("grafana/datasources/*.yaml")), ids=name)
def test_every_data_source_says_only_what_grafana_documents(file):
    provisioning = read(file)

    assert provisioning["apiVersion"] == 1
    assert undocumented("file", provisioning) == []
    for source in provisioning["datasources"]:
        assert undocumented("datasource", source) == []
        assert undocumented(source["type"], source["jsonData"]) == []
        for key, value in source["jsonData"].items():
            for part in value if isinstance(value, list) else [value]:
                assert key not in DOCUMENTED or undocumented(key, part) == []


def test_links_between_data_sources_lead_to_data_sources_that_exist():
    with_logs = ["metrics.yaml", "traces-with-logs.yaml", "logs.yaml"]
    for files in (["metrics.yaml", "traces.yaml"], with_logs):
        text = "".join((DEPLOY / "grafana/datasources" / file).read_text() for file in files)

        uids = re.findall(r"^    uid: (\S+)", text, re.MULTILINE)
        assert len(uids) == len(set(uids))
        assert set(re.findall(r"datasourceUid: (\S+)", text)) <= set(uids)
        assert not re.search(r"(?<!\$)\$(?!\$)", text), "Grafana would expand a single $ itself"


def test_the_two_jaeger_data_sources_differ_in_their_link_to_logs_only():
    without = read(DEPLOY / "grafana/datasources/traces.yaml")
    with_logs = read(DEPLOY / "grafana/datasources/traces-with-logs.yaml")

    assert with_logs["datasources"][0]["jsonData"].pop("tracesToLogsV2")
    assert with_logs == without


def test_dashboards_come_from_the_mounted_folder():
    (provider,) = read(DEPLOY / "grafana/dashboards.yaml")["providers"]

    assert undocumented("provider", provider) == []
    assert f":{provider['options']['path']}:ro" in (DEPLOY / "compose.yaml").read_text()
