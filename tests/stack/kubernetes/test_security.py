"""What a pod may do, what it takes, and how it says that it is well."""

SECURED_VOLUMES = {"configMap", "secret", "emptyDir", "persistentVolumeClaim", "projected", "downwardAPI", "ephemeral"}
# The operator probes its own; what runs once a day and ends is not probed.
NOT_PROBED = {"prometheus", "alertmanager", "opensearch-forgets"}


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
            for probe in (spec for key, spec in container.spec.items() if key.endswith("Probe")):
                (request,) = (probe[kind] for kind in ("httpGet", "tcpSocket") if kind in probe)
                assert request["port"] in pod.ports, container.name
