"""Everything that a pod names is there: resources, paths, files, and what its program makes of them."""

import os
import re

import pytest


def test_everything_that_a_pod_names_is_there(build):
    for pod in build.pods:
        needed = {("ServiceAccount", pod.spec["serviceAccountName"])} if "serviceAccountName" in pod.spec else set()
        for volume in pod.spec.get("volumes", []):
            needed |= {("ConfigMap", volume["configMap"]["name"])} if "configMap" in volume else set()
            needed |= {("Secret", volume["secret"]["secretName"])} if "secret" in volume else set()
            claim = volume.get("persistentVolumeClaim")
            needed |= {("PersistentVolumeClaim", claim["claimName"])} if claim else set()

        missing = [resource for resource in needed - build.made_by_the_user if not build.named(*resource)]
        assert missing == [], pod.app


def test_every_path_that_a_program_is_told_is_mounted_and_every_file_in_it(build):
    for container in build.containers:
        paths = re.findall(r"(?<=[\s=\"])/[a-z][\w./-]*", container.told)
        for path in sorted({path.rstrip("/") for path in paths} - {"/dev/null"} - set(container.words[:1])):
            mounts = [mount for mount in container.mounts if f"{path}/".startswith(f"{mount.path}/")]
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
    for container in (container for container in build.containers if container.spec["image"].startswith(f"{image}:")):
        for path, text in container.read.items():
            file = tmp_path / container.name / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        words = [word.replace("=/", f"={tmp_path / container.name}/") for word in container.words]

        done = tools.run(tools.program(program), "validate", *words, env={**os.environ, **container.environment})

        assert done.returncode == 0, done.stderr
