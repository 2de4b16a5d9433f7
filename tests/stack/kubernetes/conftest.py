"""What kustomize makes of every combination of the layers of deploy/kubernetes, as the tests look at it."""

import base64
import functools
import itertools
import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

DEPLOY = Path(__file__).parents[3] / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
COMPONENTS = sorted(folder.name for folder in (KUBERNETES / "components").iterdir())
COMBINATIONS = [
    parts for count in range(len(COMPONENTS) + 1) for parts in itertools.combinations(COMPONENTS, count)
]  # fmt: skip
NOTIFY = {"NOTIFY_BY": "slack", "NOTIFY_URL": "http://127.0.0.1/hook"}
APP = "app.kubernetes.io/name"

# What the Prometheus operator makes of its two kinds: the port of their pods, and how each container is secured.
OPERATED = {"Prometheus": 9090, "Alertmanager": 9093}
OPERATED_SECURITY = {
    "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
}  # fmt: skip
MADE_BY_THE_USER = {("Secret", "notify-url")}


def name(parts):
    return "+".join(parts) or "base"


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

    made_by_the_user = MADE_BY_THE_USER

    def __init__(self, parts, documents):
        self.parts = parts
        self.documents = documents
        self.pods = [pod for document in documents for pod in self._pods(document)]
        self.containers = [container for pod in self.pods for container in pod.containers]

    def of(self, kind):
        return [document for document in self.documents if document["kind"] == kind]

    def named(self, kind, name):
        return next((document for document in self.of(kind) if document["metadata"]["name"] == name), None)

    def one(self, app):
        return next(pod for pod in self.pods if pod.app == app)

    @staticmethod
    def selects(selector, labels):
        """Whether a *selector* of Kubernetes picks what has *labels*."""
        meets = {
            "In": lambda rule: labels.get(rule["key"]) in rule["values"],
            "Exists": lambda rule: rule["key"] in labels,
        }
        return selector.get("matchLabels", {}).items() <= labels.items() and all(
            meets[rule["operator"]](rule) for rule in selector.get("matchExpressions", [])
        )

    def pods_of(self, service):
        return [pod for pod in self.pods if service["spec"]["selector"].items() <= pod.labels.items()]

    def reached(self, host, port):
        """The pods that a program reaches as *host*:*port*, as (app, port of the pod)."""
        service = self.named("Service", host)
        assert service, f"{host}:{port} is named, and no Service is called so"
        targets = [entry["targetPort"] for entry in service["spec"]["ports"] if entry["port"] == port]
        assert targets, f"{host}:{port} is named, and the Service has no such port"
        return {(pod.app, pod.ports[target]) for pod in self.pods_of(service) for target in targets}

    def monitored(self):
        """Each pod's port that Prometheus asks through a ServiceMonitor, once for each time it does."""
        return [
            (pod.labels.get("statefulset.kubernetes.io/pod-name", pod.app), pod.app, pod.ports[port["targetPort"]])
            for monitor in self.of("ServiceMonitor")
            for service in self.of("Service")
            if self.selects(monitor["spec"]["selector"], service["metadata"]["labels"])
            for endpoint in monitor["spec"]["endpoints"]
            for port in service["spec"]["ports"]
            if port["name"] == endpoint["port"]
            for pod in self.pods_of(service)
        ]

    def flows(self):
        """Every connection that the configuration asks for, as (from, to, port of the pod)."""
        flows = {("prometheus", app, port) for _, app, port in self.monitored()}
        for prometheus in self.of("Prometheus"):
            for target in prometheus["spec"]["alerting"]["alertmanagers"]:
                ports = {port["name"]: port["port"] for port in self.named("Service", target["name"])["spec"]["ports"]}
                flows |= {("prometheus", *end) for end in self.reached(target["name"], ports[target["port"]])}
        for pod in self.pods:
            told = "\n".join(container.told for container in pod.containers)
            for host, port in re.findall(r"(?<![\w.-])([a-z][a-z0-9-]*):(\d{4,5})\b", told):
                if host not in {"localhost", pod.app}:
                    flows |= {(pod.app, *end) for end in self.reached(host, int(port))}
        return flows

    def lets_in(self, pod, port, labels, *, same_namespace):
        """Whether the policies let a pod with *labels* reach a port of *pod*."""
        policies = [
            policy["spec"]
            for policy in self.of("NetworkPolicy")
            if self.selects(policy["spec"]["podSelector"], pod.labels)
        ]
        rules = [rule for policy in policies for rule in policy.get("ingress", [])]
        names = {port} | {name for name, number in pod.ports.items() if number == port}
        return not policies or any(
            any(entry["port"] in names for entry in rule["ports"])
            and any(self._is_peer(peer, labels, same_namespace) for peer in rule["from"])
            for rule in rules
        )

    def _is_peer(self, peer, labels, same_namespace):
        assert peer.get("namespaceSelector") in (None, {}), "the tests know one namespace, or all of them"
        is_near = same_namespace or "namespaceSelector" in peer
        return is_near and self.selects(peer.get("podSelector", {}), labels)

    def _pods(self, document):
        if document["kind"] in OPERATED:
            return [self._pod(self._operated(document))]
        if document["kind"] == "Deployment":
            return [self._pod(document["spec"]["template"])]
        if document["kind"] == "CronJob":
            return [self._pod(document["spec"]["jobTemplate"]["spec"]["template"])]
        if document["kind"] == "StatefulSet":
            first = document["spec"].get("ordinals", {}).get("start", 0)
            names = [f"{document['metadata']['name']}-{first + place}" for place in range(document["spec"]["replicas"])]
            claims = [claim["metadata"]["name"] for claim in document["spec"].get("volumeClaimTemplates", [])]
            named = [{"statefulset.kubernetes.io/pod-name": name} for name in names]
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
            template["metadata"]["labels"] | dict(labels),
            spec,
            [self._container(entry, volumes) for entry in containers],
        )

    def _container(self, spec, volumes):
        mounts = [
            Mount(mount["mountPath"], self._files(volumes[mount["name"]])) for mount in spec.get("volumeMounts", [])
        ]
        environment = {variable["name"]: variable["value"] for variable in spec.get("env", [])}
        for source in spec.get("envFrom", []):
            environment |= self.named("ConfigMap", source["configMapRef"]["name"])["data"]
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
        kustomization = {"resources": [f"{above}/base"], "components": [f"{above}/components/{part}" for part in parts]}
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
        versions = yaml.safe_load(file.read_text())["spec"]["versions"]
        (version,) = (version for version in versions if version["name"] == "v1")
        return closed(version["schema"]["openAPIV3Schema"])

    return of


def closed(schema):
    """The same schema in Python's words, refusing each field it does not name, as a strict API server does."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        inner.setdefault("additionalProperties", False)
    if isinstance(schema.get("pattern"), str) and "(?i)" in schema["pattern"]:
        inner["pattern"] = "(?i)" + schema["pattern"].replace("(?i)", "")
    return inner
