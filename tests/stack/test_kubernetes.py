"""Every combination of the layers of deploy/kubernetes is right by kustomize and by the schemas, and holds together."""

import base64
import copy
import functools
import itertools
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

jsonschema = pytest.importorskip("jsonschema", reason="not installed: pip install 'otelflow[stack]'")
kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="not installed: pip install 'otelflow[stack]'")
yaml = pytest.importorskip("yaml", reason="not installed: pip install 'otelflow[stack]'")

DEPLOY = Path(__file__).parents[2] / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
COMPONENTS = sorted(folder.name for folder in (KUBERNETES / "components").iterdir())
COMBINATIONS = [
    parts for count in range(len(COMPONENTS) + 1) for parts in itertools.combinations(COMPONENTS, count)
]  # fmt: skip
LAYERS = sorted(file.parent.name for file in KUBERNETES.glob("*/kustomization.yaml"))
NOTIFY = {"NOTIFY_BY": "slack", "NOTIFY_URL": "http://127.0.0.1/hook"}
APP = "app.kubernetes.io/name"

# What the Prometheus operator makes of its two kinds: the port of their pods, and how each container is secured.
OPERATED = {"Prometheus": 9090, "Alertmanager": 9093}
OPERATED_SECURITY = {
    "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
}  # fmt: skip
MADE_BY_THE_USER = {("Secret", "notify-url")}
SECURED_VOLUMES = {"configMap", "secret", "emptyDir", "persistentVolumeClaim", "projected", "downwardAPI", "ephemeral"}

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
# The operator probes its own; what runs once a day and ends is not probed.
NOT_PROBED = {"prometheus", "alertmanager", "opensearch-forgets"}
NO_LONGER = {"scale": {("collector", "jaeger", 4317)}}


def name(parts):
    return "+".join(parts) or "base"


def settings():
    lines = (DEPLOY / ".env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@dataclass(frozen=True)
class Mount:
    """A path of a container; *files* is None where the program itself writes, or where the user says what is there."""

    path: str
    files: dict[str, str] | None


@dataclass(frozen=True)
class Container:
    """One container, with all that its program is told."""

    name: str
    spec: dict
    environment: dict[str, str]
    mounts: list[Mount]

    @property
    def words(self):
        return [*self.spec.get("command", []), *self.spec.get("args", [])]

    @property
    def read(self):
        """The mounted files that the program reads: those that are named, or all where none is."""
        mounted = {f"{mount.path}/{file}": text for mount in self.mounts for file, text in (mount.files or {}).items()}
        told = " ".join(self.words)
        named = {}
        for _ in mounted:
            told += "".join(named.values())
            named = {path: text for path, text in mounted.items() if path in told}
        return named or mounted

    @property
    def told(self):
        """Everything that says something to the program, without comments."""
        environment = [f"{key}={value}" for key, value in self.environment.items()]
        files = [text for path, text in self.read.items() if not path.endswith(".json")]
        lines = "\n".join([*self.words, *environment, *files]).splitlines()
        return "\n".join(line for line in lines if not line.lstrip().startswith("#"))


@dataclass(frozen=True)
class Pod:
    """One pod as it would run."""

    labels: dict[str, str]
    spec: dict
    containers: list[Container]

    @property
    def app(self):
        return self.labels[APP]

    @property
    def ports(self):
        return {
            port["name"]: port["containerPort"]
            for container in self.containers
            for port in container.spec.get("ports", [])
        }


class Build:
    """What kustomize makes of a combination of layers."""

    def __init__(self, parts, documents):
        self.parts = parts
        self.documents = documents
        self.pods = [pod for document in documents for pod in self._pods(document)]
        self.containers = [container for pod in self.pods for container in pod.containers]

    def of(self, kind):
        return [document for document in self.documents if document["kind"] == kind]

    def named(self, kind, wanted):
        return next((each for each in self.of(kind) if each["metadata"]["name"] == wanted), None)

    def one(self, app):
        return next(pod for pod in self.pods if pod.app == app)

    def pods_of(self, service):
        return [pod for pod in self.pods if service["spec"]["selector"].items() <= pod.labels.items()]

    def reached(self, host, port):
        """Whom a program reaches as *host*:*port*, as (app, port of the pod)."""
        service = self.named("Service", host)
        assert service, f"{host}:{port} is named, and no Service is called so"
        targets = [each["targetPort"] for each in service["spec"]["ports"] if each["port"] == port]
        assert targets, f"{host}:{port} is named, and the Service has no such port"
        return {(pod.app, pod.ports[target]) for pod in self.pods_of(service) for target in targets}

    def monitored(self):
        """Each pod's port that Prometheus asks through a ServiceMonitor, once for each time it does."""
        return [
            (pod.labels.get("statefulset.kubernetes.io/pod-name", pod.app), pod.app, pod.ports[port["targetPort"]])
            for monitor in self.of("ServiceMonitor")
            for service in self.of("Service")
            if selects(monitor["spec"]["selector"], service["metadata"]["labels"])
            for endpoint in monitor["spec"]["endpoints"]
            for port in service["spec"]["ports"]
            if port["name"] == endpoint["port"]
            for pod in self.pods_of(service)
        ]

    def flows(self):
        """Every connection that the configuration asks for, as (from, to, port of the pod)."""
        found = {("prometheus", app, port) for _, app, port in self.monitored()}
        for prometheus in self.of("Prometheus"):
            for each in prometheus["spec"]["alerting"]["alertmanagers"]:
                ports = {port["name"]: port["port"] for port in self.named("Service", each["name"])["spec"]["ports"]}
                found |= {("prometheus", *there) for there in self.reached(each["name"], ports[each["port"]])}
        for pod in self.pods:
            told = "\n".join(container.told for container in pod.containers)
            for host, port in re.findall(r"(?<![\w.-])([a-z][a-z0-9-]*):(\d{4,5})\b", told):
                if host not in {"localhost", pod.app}:
                    found |= {(pod.app, *there) for there in self.reached(host, int(port))}
        return found

    def lets_in(self, pod, port, labels, *, same_namespace):
        """Whether the policies let somebody with *labels* reach a port of *pod*."""
        policies = [
            each["spec"] for each in self.of("NetworkPolicy") if selects(each["spec"]["podSelector"], pod.labels)
        ]
        rules = [rule for policy in policies for rule in policy.get("ingress", [])]
        names = {port} | {each for each, number in pod.ports.items() if number == port}
        return not policies or any(
            any(each["port"] in names for each in rule["ports"])
            and any(is_peer(peer, labels, same_namespace) for peer in rule["from"])
            for rule in rules
        )

    def _pods(self, document):
        if document["kind"] in OPERATED:
            return [self._pod(self._operated(document))]
        if document["kind"] == "Deployment":
            return [self._pod(document["spec"]["template"])]
        if document["kind"] == "CronJob":
            return [self._pod(document["spec"]["jobTemplate"]["spec"]["template"])]
        if document["kind"] == "StatefulSet":
            first = document["spec"].get("ordinals", {}).get("start", 0)
            names = [f"{document['metadata']['name']}-{first + each}" for each in range(document["spec"]["replicas"])]
            claims = [claim["metadata"]["name"] for claim in document["spec"].get("volumeClaimTemplates", [])]
            named = [{"statefulset.kubernetes.io/pod-name": each} for each in names]
            return [self._pod(document["spec"]["template"], labels, claims) for labels in named]
        return []

    def _operated(self, document):
        kind, spec = document["kind"], document["spec"]
        container = {
            "name": kind.lower(),
            "image": spec["image"],
            "ports": [{"name": "web", "containerPort": OPERATED[kind]}],
            "resources": spec["resources"],
            "securityContext": OPERATED_SECURITY,
            "volumeMounts": list(spec.get("volumeMounts", [])),
        }
        volumes = list(spec.get("volumes", []))
        if "configSecret" in spec:
            volumes.append({"name": "config-volume", "secret": {"secretName": spec["configSecret"]}})
            container["volumeMounts"].append({"name": "config-volume", "mountPath": "/etc/alertmanager/config"})
        labels = {APP: kind.lower(), "app.kubernetes.io/instance": document["metadata"]["name"]}
        return {"metadata": {"labels": labels}, "spec": spec | {"containers": [container], "volumes": volumes}}

    def _pod(self, template, labels=(), claims=()):
        spec = template["spec"]
        volumes = {volume["name"]: volume for volume in spec.get("volumes", [])} | {claim: {} for claim in claims}
        containers = [*spec.get("initContainers", []), *spec["containers"]]
        return Pod(
            template["metadata"]["labels"] | dict(labels), spec, [self._container(each, volumes) for each in containers]
        )

    def _container(self, spec, volumes):
        mounts = [
            Mount(mount["mountPath"], self._files(volumes[mount["name"]])) for mount in spec.get("volumeMounts", [])
        ]
        environment = {each["name"]: each["value"] for each in spec.get("env", [])}
        for each in spec.get("envFrom", []):
            environment |= self.named("ConfigMap", each["configMapRef"]["name"])["data"]
        return Container(spec["name"], spec, environment, mounts)

    def _files(self, volume):
        if "configMap" in volume:
            source = self.named("ConfigMap", volume["configMap"]["name"])
            data = source["data"] if source else {}
        elif "secret" in volume and ("Secret", volume["secret"]["secretName"]) not in MADE_BY_THE_USER:
            source = self.named("Secret", volume["secret"]["secretName"])
            data = {key: base64.b64decode(text).decode() for key, text in source["data"].items()} if source else {}
        else:
            return None
        items = volume.get("configMap", {}).get("items")
        return {item["path"]: data[item["key"]] for item in items} if items else data


def selects(selector, labels):
    meets = {
        "In": lambda each: labels.get(each["key"]) in each["values"],
        "Exists": lambda each: each["key"] in labels,
    }
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        meets[each["operator"]](each) for each in selector.get("matchExpressions", [])
    )


def is_peer(peer, labels, same_namespace):
    assert peer.get("namespaceSelector") in (None, {}), "the tests know one namespace, or all of them"
    return (same_namespace or "namespaceSelector" in peer) and selects(peer.get("podSelector", {}), labels)


@pytest.fixture(scope="session")
def kustomize(tools):
    """The documents that kustomize makes of a folder."""

    def build(folder):
        done = tools.run(tools.program("kustomize"), "build", folder)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return list(yaml.safe_load_all(done.stdout))

    return build


@pytest.fixture(scope="session")
def combine(kustomize, tmp_path_factory):
    """The documents of the base with some components, by a kustomization such as a user would write."""

    @functools.cache
    def combine(parts):
        folder = tmp_path_factory.mktemp("layers")
        above = os.path.relpath(KUBERNETES, folder.resolve())
        kustomization = {"resources": [f"{above}/base"], "components": [f"{above}/components/{each}" for each in parts]}
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        return kustomize(folder)

    return combine


@pytest.fixture(scope="session", params=COMBINATIONS, ids=name)
def build(request, combine):
    return Build(request.param, combine(request.param))


@pytest.fixture(scope="session")
def composed(tools):
    """The services that docker compose makes of the same layers."""

    @functools.cache
    def compose(parts):
        files = [f"--file={DEPLOY / file}" for file in ("compose.yaml", *(f"compose.{part}.yaml" for part in parts))]
        done = tools.run(tools.program("docker-compose"), *files, "config", env={**os.environ, **NOTIFY})
        assert done.returncode == 0, done.stderr
        return yaml.safe_load(done.stdout)["services"]

    return compose


@pytest.fixture(scope="session")
def operator_schema(tools):
    """The Prometheus operator's own definition of a kind."""

    @functools.cache
    def of(kind):
        plural = kind.lower() + ("es" if kind.endswith("s") else "s")
        file = tools.program("operator-schemas") / f"monitoring.coreos.com_{plural}.yaml"
        (version,) = (each for each in yaml.safe_load(file.read_text())["spec"]["versions"] if each["name"] == "v1")
        return closed(version["schema"]["openAPIV3Schema"])

    return of


def closed(schema):
    """The same schema in Python's words, refusing each field it does not name, as a strict API server does."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        inner.setdefault("additionalProperties", False)
    if isinstance(schema.get("pattern"), str) and "(?i)" in schema["pattern"]:
        inner["pattern"] = "(?i)" + schema["pattern"].replace("(?i)", "")
    return inner


# What is applied


def test_every_document_validates_against_its_schema(build, operator_schema):
    for document in build.documents:
        if document["apiVersion"].startswith("monitoring.coreos.com/"):
            jsonschema.validate(document, operator_schema(document["kind"]))
        else:
            kubernetes_validate.validate(document, "1.31", strict=True)


def test_the_namespace_comes_first_and_all_lies_in_it(build):
    first, *others = build.documents

    assert (first["kind"], first["metadata"]["name"]) == ("Namespace", "otelflow")
    assert first["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for document in others:
        if not document["kind"].startswith("ClusterRole"):
            assert document["metadata"]["namespace"] == "otelflow", document["metadata"]["name"]


def test_kubectl_can_note_on_every_document_what_it_applied(build):
    for document in build.documents:
        assert len(json.dumps(document)) < 262_144, document["metadata"]["name"]


@pytest.mark.parametrize("layer", LAYERS)
def test_every_layer_is_the_base_with_its_components(layer, kustomize, combine):
    parts = yaml.safe_load((KUBERNETES / layer / "kustomization.yaml").read_text()).get("components", [])

    assert kustomize(KUBERNETES / layer) == combine(tuple(Path(part).name for part in parts))


@pytest.mark.parametrize("layer", LAYERS)
def test_every_layer_opens_with_the_command_that_uses_it(layer):
    first = (KUBERNETES / layer / "kustomization.yaml").read_text().splitlines()[0]

    assert first == f"# kubectl apply -k deploy/kubernetes/{layer}"
    assert first.removeprefix("# ") in (DEPLOY / "README.md").read_text()


def test_the_notify_layer_names_what_comes_before_it_in_the_order_in_which_it_works():
    lines = (KUBERNETES / "notify/kustomization.yaml").read_text().splitlines()
    commands = [line.removeprefix("#   ") for line in lines if line.startswith("#   kubectl ")]
    namespace, secret = commands
    file = Path(namespace.removeprefix("kubectl apply -f "))

    assert yaml.safe_load((DEPLOY.parent / file).read_text())["kind"] == "Namespace"
    assert secret.startswith("kubectl create secret generic notify-url -n otelflow ")


# What a pod names


def test_everything_that_a_pod_names_is_there(build):
    for pod in build.pods:
        wanted = {("ServiceAccount", pod.spec["serviceAccountName"])} if "serviceAccountName" in pod.spec else set()
        for volume in pod.spec.get("volumes", []):
            wanted |= {("ConfigMap", volume["configMap"]["name"])} if "configMap" in volume else set()
            wanted |= {("Secret", volume["secret"]["secretName"])} if "secret" in volume else set()
            claim = volume.get("persistentVolumeClaim")
            wanted |= {("PersistentVolumeClaim", claim["claimName"])} if claim else set()

        missing = [each for each in wanted - MADE_BY_THE_USER if not build.named(*each)]
        assert missing == [], pod.app


def test_every_path_that_a_program_is_told_is_mounted_and_every_file_in_it(build):
    for container in build.containers:
        paths = re.findall(r"(?<=[\s=\"])/[a-z][\w./-]*", container.told)
        for path in sorted({path.rstrip("/") for path in paths} - {"/dev/null"} - set(container.words[:1])):
            mounts = [each for each in container.mounts if f"{path}/".startswith(f"{each.path}/")]
            assert mounts, f"{container.name} is told {path}"
            file = path.removeprefix(mounts[0].path).lstrip("/")
            assert not file or mounts[0].files is None or file in mounts[0].files, f"{container.name} is told {path}"


def test_every_alertmanager_secret_has_the_key_that_the_operator_asks_for(build):
    assert {secret["metadata"]["name"] for secret in build.of("Secret")} >= {"alertmanager", "alertmanager-slack"}
    for secret in build.of("Secret"):
        assert secret["data"].keys() == {"alertmanager.yaml"}


@pytest.mark.parametrize(
    ("image", "program"),
    [
        ("otel/opentelemetry-collector-contrib", "otelcol"),
        pytest.param(
            "jaegertracing/jaeger", "jaeger", id="jaeger_2_13_for_2_20"
        ),  # the newest that .ci/stack can build
    ],
)
def test_the_program_accepts_the_files_that_its_pod_gives_it(image, program, build, tools, tmp_path):
    for container in (each for each in build.containers if each.spec["image"].startswith(f"{image}:")):
        for path, text in container.read.items():
            file = tmp_path / container.name / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        here = [word.replace("=/", f"={tmp_path / container.name}/") for word in container.words]

        done = tools.run(tools.program(program), "validate", *here, env={**os.environ, **container.environment})

        assert done.returncode == 0, done.stderr


# Who reaches whom


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
            each for each in build.of("Service") if selects(monitor["spec"]["selector"], each["metadata"]["labels"])
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
            assert selects(prometheus["spec"][f"{selector}Selector"], document["metadata"]["labels"])


def test_prometheus_may_read_what_it_finds_its_targets_by_and_no_more(build):
    rights = {}
    for binding in (*build.of("RoleBinding"), *build.of("ClusterRoleBinding")):
        (subject,) = binding["subjects"]
        assert subject == {"kind": "ServiceAccount", "name": "prometheus", "namespace": "otelflow"}
        role = build.named(binding["roleRef"]["kind"], binding["roleRef"]["name"])
        assert {verb for rule in role["rules"] for verb in rule["verbs"]} == {"get", "list", "watch"}
        rights[role["kind"]] = {resource for rule in role["rules"] for resource in rule["resources"]}

    assert rights == {"Role": {"services", "pods", "endpointslices"}, "ClusterRole": {"pods"}}


def test_prometheus_asks_once_everybody_whom_it_asks_under_compose(build):
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    listed = [each for job in config["scrape_configs"] for each in job.get("static_configs", [])]
    if "scale" in build.parts:
        listed += yaml.safe_load((DEPLOY / "prometheus/scale-targets.yaml").read_text())
    targets = [target.replace("localhost", "prometheus") for each in listed for target in each["targets"]]

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
            each["spec"] for each in build.of("NetworkPolicy")
            if each["spec"]["podSelector"] and selects(each["spec"]["podSelector"], pod.labels)
        ]  # fmt: skip
        assert policies, pod.app
        rules = [rule for policy in policies for rule in policy["ingress"]]
        assert {port["port"] for rule in rules for port in rule["ports"]} <= pod.ports.keys()


def test_every_network_policy_is_for_a_pod_of_the_build(build):
    for policy in build.of("NetworkPolicy"):
        assert any(selects(policy["spec"]["podSelector"], pod.labels) for pod in build.pods), policy["metadata"]["name"]


# What a pod may do


def test_every_pod_satisfies_the_restricted_pod_security_standard(build):
    for pod in build.pods:
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.spec.keys(), pod.app
        for volume in pod.spec.get("volumes", []):
            assert volume.keys() - {"name"} <= SECURED_VOLUMES, pod.app
        for container in pod.containers:
            context = pod.spec["securityContext"] | container.spec["securityContext"]
            assert context["runAsNonRoot"] is True, container.name
            assert context["runAsUser"] > 0, container.name
            assert context["seccompProfile"] == {"type": "RuntimeDefault"}, container.name
            assert context["allowPrivilegeEscalation"] is False, container.name
            assert context["capabilities"] == {"drop": ["ALL"]}, container.name
            assert not {"privileged", "procMount", "windowsOptions"} & context.keys(), container.name
            assert not any("hostPort" in port for port in container.spec.get("ports", [])), container.name


def test_every_pod_does_with_less_than_the_standard_allows(build):
    for pod in build.pods:
        assert pod.spec["enableServiceLinks"] is False, "a Service named kafka would make variables of Kafka"
        assert pod.spec.get("automountServiceAccountToken") is False or pod.app == "prometheus", pod.app
        for container in pod.containers:
            read_only = container.spec["securityContext"]["readOnlyRootFilesystem"]
            assert read_only is (container.name != "opensearch"), container.name


def test_every_container_says_what_it_takes_and_how_it_is(build):
    for pod in build.pods:
        own = pod.spec.get("initContainers", [])
        for container in pod.containers:
            assert container.spec["resources"]["requests"].keys() == {"cpu", "memory"}, container.name
            assert "memory" in container.spec["resources"]["limits"], container.name
            if container.spec not in own and container.name not in NOT_PROBED:
                assert {"readinessProbe", "livenessProbe"} <= container.spec.keys(), container.name


def test_every_probe_asks_a_port_that_the_pod_has(build):
    for pod in build.pods:
        for container in pod.containers:
            for probe in (container.spec[each] for each in container.spec if each.endswith("Probe")):
                (how,) = (probe[each] for each in ("httpGet", "tcpSocket") if each in probe)
                assert how["port"] in pod.ports, container.name


# The same as compose


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

    for container in (each for each in build.containers if each.name != "prometheus"):
        service = services[{"sampler": "sampler-1"}.get(container.name, container.name)]
        sources = [Path(each["source"]) for each in service.get("volumes", []) if each["type"] == "bind"]
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
    said = copy.deepcopy(groups)
    for rule in (rule for group in said for rule in group["rules"]):
        rule.get("annotations", {}).pop("runbook", None)
    return said
