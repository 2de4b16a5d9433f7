"""What kustomize makes of each combination of layers is right by the schemas, and each layer says how it is used."""

import json
from pathlib import Path

import pytest

jsonschema = pytest.importorskip("jsonschema", reason="not installed: pip install 'otelflow[stack]'")
kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="not installed: pip install 'otelflow[stack]'")
yaml = pytest.importorskip("yaml", reason="not installed: pip install 'otelflow[stack]'")

DEPLOY = Path(__file__).parents[3] / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
LAYERS = sorted(file.parent.name for file in KUBERNETES.glob("*/kustomization.yaml"))


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
