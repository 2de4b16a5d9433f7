"""Which pod reaches which: services, monitors, rights, network policies."""

from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml", reason="not installed: pip install 'otelflow[stack]'")

DEPLOY = Path(__file__).parents[3] / "deploy"
APP = "app.kubernetes.io/name"

BASE_FLOWS = {
    ("collector", "jaeger", 4317), ("grafana", "prometheus", 9090), ("grafana", "jaeger", 16686),
    ("grafana", "alertmanager", 9093), ("jaeger", "prometheus", 9090), ("prometheus", "alertmanager", 9093),
    ("prometheus", "collector", 8888), ("prometheus", "collector", 8889), ("prometheus", "collector", 8890),
    ("prometheus", "jaeger", 8888), ("prometheus", "pushgateway", 9091), ("prometheus", "prometheus", 9090),
}  # fmt: skip
FLOWS = {
    "logs": {("collector", "loki", 3100), ("grafana", "loki", 3100)},
    "notify": set(),
    "scale": {
        ("collector", "kafka", 9092), ("dispatcher", "kafka", 9092), ("dispatcher", "sampler", 4317),
        ("sampler", "jaeger", 4317), ("jaeger", "opensearch", 9200), ("opensearch-forgets", "opensearch", 9200),
        ("prometheus", "dispatcher", 8888), ("prometheus", "sampler", 8888),
    },
}  # fmt: skip
NO_LONGER = {"scale": {("collector", "jaeger", 4317)}}


def test_every_service_leads_to_a_pod_that_has_its_ports(build):
    for service in build.of("Service"):
        pods = build.pods_of(service)
        assert pods, service["metadata"]["name"]
        for pod in pods:
            assert {port["targetPort"] for port in service["spec"]["ports"]} <= pod.ports.keys()


def test_a_dispatcher_reaches_each_sampler_by_a_name_of_its_own(build):
    samplers = [service for service in build.of("Service") if service["metadata"]["name"].startswith("sampler-")]

    assert len(samplers) == (2 if "scale" in build.parts else 0)
    for service in samplers:
        (pod,) = build.pods_of(service)
        assert pod.labels["statefulset.kubernetes.io/pod-name"] == service["metadata"]["name"]


def test_every_monitor_names_ports_that_the_services_it_picks_have(build):
    for monitor in build.of("ServiceMonitor"):
        picked = [
            service
            for service in build.of("Service")
            if build.selects(monitor["spec"]["selector"], service["metadata"]["labels"])
        ]
        assert picked, monitor["metadata"]["name"]
        for service in picked:
            ports = {port["name"] for port in service["spec"]["ports"]}
            assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= ports


def test_prometheus_picks_every_monitor_and_rule_of_ours(build):
    (prometheus,) = build.of("Prometheus")
    kinds = {"ServiceMonitor": "serviceMonitor", "PodMonitor": "podMonitor", "PrometheusRule": "rule"}

    for kind, selector in kinds.items():
        assert build.of(kind)
        assert f"{selector}NamespaceSelector" not in prometheus["spec"], "without it, the namespace is its own"
        for document in build.of(kind):
            assert build.selects(prometheus["spec"][f"{selector}Selector"], document["metadata"]["labels"])


def test_prometheus_may_read_what_it_finds_its_targets_by_and_no_more(build):
    rights = {}
    for binding in (*build.of("RoleBinding"), *build.of("ClusterRoleBinding")):
        (subject,) = binding["subjects"]
        assert subject == {"kind": "ServiceAccount", "name": "prometheus", "namespace": "otelflow"}
        role = build.named(binding["roleRef"]["kind"], binding["roleRef"]["name"])
        assert {verb for rule in role["rules"] for verb in rule["verbs"]} == {"get", "list", "watch"}
        rights[role["kind"]] = {resource for rule in role["rules"] for resource in rule["resources"]}

    assert rights == {"Role": {"services", "pods", "endpointslices"}, "ClusterRole": {"pods"}}


def test_prometheus_scrapes_each_target_of_compose_once(build):
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    listed = [entry for job in config["scrape_configs"] for entry in job.get("static_configs", [])]
    if "scale" in build.parts:
        listed += yaml.safe_load((DEPLOY / "prometheus/scale-targets.yaml").read_text())
    targets = [target.replace("localhost", "prometheus") for entry in listed for target in entry["targets"]]

    asked = [f"{pod if app == 'sampler' else app}:{port}" for pod, app, port in build.monitored()]

    assert sorted(asked) == sorted(targets)


def test_only_the_collector_that_applications_know_has_its_job(build):
    relabelled = [
        monitor["metadata"]["name"]
        for monitor in build.of("ServiceMonitor")
        for endpoint in monitor["spec"]["endpoints"]
        if "jobLabel" in monitor["spec"] or "relabelings" in endpoint or "metricRelabelings" in endpoint
    ]
    services = [service for service in build.of("Service") if service["metadata"]["name"] == "collector"]

    # Without a word about it, the job of a target is the name of its Service.
    assert relabelled == []
    assert [pod.app for service in services for pod in build.pods_of(service)] == ["collector"]


def test_the_network_policies_let_through_everything_that_the_configuration_needs(build):
    expected = BASE_FLOWS.union(*(FLOWS[part] for part in build.parts))
    expected -= set().union(*(NO_LONGER.get(part, set()) for part in build.parts))
    flows = build.flows()

    assert flows == expected
    for source, target, port in flows:
        for pod in (pod for pod in build.pods if pod.app == target):
            labels = build.one(source).labels
            assert build.lets_in(pod, port, labels, same_namespace=True), f"{source} -> {target}:{port}"


@pytest.mark.parametrize("same_namespace", [True, False])
def test_a_stranger_reaches_the_collector_and_the_pushgateway_only(same_namespace, build):
    reached = {
        (pod.app, port)
        for pod in build.pods
        for port in pod.ports.values()
        if build.lets_in(pod, port, {APP: "stranger"}, same_namespace=same_namespace)
    }

    assert reached == {("collector", 4317), ("collector", 4318), ("pushgateway", 9091)}


def test_every_pod_has_a_network_policy_that_names_ports_it_has(build):
    for pod in build.pods:
        policies = [
            policy["spec"] for policy in build.of("NetworkPolicy")
            if policy["spec"]["podSelector"] and build.selects(policy["spec"]["podSelector"], pod.labels)
        ]  # fmt: skip
        assert policies, pod.app
        rules = [rule for policy in policies for rule in policy["ingress"]]
        assert {port["port"] for rule in rules for port in rule["ports"]} <= pod.ports.keys()


def test_every_network_policy_is_for_a_pod_of_the_build(build):
    for policy in build.of("NetworkPolicy"):
        assert any(build.selects(policy["spec"]["podSelector"], pod.labels) for pod in build.pods), policy["metadata"][
            "name"
        ]
