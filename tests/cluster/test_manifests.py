"""The manifests of docs/cluster, against the schemas of what reads them.

Ray brings the schema of `ray up`. KubeRay's is a file of its own, `ray.io_rayclusters.yaml` of its
Helm chart, which `KUBERAY_CRD` may name.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import batch_sdxl
import pytest
import yaml  # type: ignore[import-untyped]

ray = pytest.importorskip("ray")

FOLDER = Path(batch_sdxl.__file__).parent / "docs" / "cluster"
FIELDS = ("properties", "additionalProperties", "x-kubernetes-preserve-unknown-fields")

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own


def read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text("utf-8"))
    return content


def test_the_cluster_of_virtual_machines_is_one_that_ray_up_takes() -> None:
    from jsonschema import ValidationError
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(read("ray-up.yaml")))
    with pytest.raises(ValidationError):
        validate_config(prepare_config(read("ray-up.yaml") | {"max_worker": 16}))


def test_the_cluster_of_kubernetes_is_one_that_kuberay_takes() -> None:
    from jsonschema import Draft202012Validator

    if "KUBERAY_CRD" not in os.environ:
        pytest.skip("KUBERAY_CRD is not set")
    crd = yaml.safe_load(Path(os.environ["KUBERAY_CRD"]).read_text("utf-8"))
    manifest = read("kuberay.yaml")
    group, _, version = manifest["apiVersion"].partition("/")
    assert (group, manifest["kind"]) == (crd["spec"]["group"], crd["spec"]["names"]["kind"])
    (schema,) = (
        one["schema"]["openAPIV3Schema"]
        for one in crd["spec"]["versions"]
        if one["name"] == version
    )
    assert not [error.message for error in Draft202012Validator(schema).iter_errors(manifest)]
    assert not list(unknown(schema, manifest, "kuberay.yaml"))


def unknown(schema: dict[str, Any], value: Any, at: str) -> Iterator[str]:
    """Fields that the server would drop without a word, since the schema has none of that name."""
    if isinstance(value, list):
        for number, one in enumerate(value):
            yield from unknown(schema.get("items", {}), one, f"{at}[{number}]")
    elif isinstance(value, dict) and any(field in schema for field in FIELDS):
        known = schema.get("properties", {})
        others = schema.get("additionalProperties")
        for name, one in value.items():
            if name in known:
                yield from unknown(known[name], one, f"{at}.{name}")
            elif not others and not schema.get(FIELDS[2]):
                yield f"{at}.{name}"


@pytest.mark.parametrize("name", ["head", "worker"])
def test_what_containers_mount_is_there(name: str) -> None:
    spec = read("kuberay.yaml")["spec"]
    groups = {"head": spec["headGroupSpec"], "worker": spec["workerGroupSpecs"][0]}
    pod = groups[name]["template"]["spec"]
    (container,) = pod["containers"]
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}
    assert container["name"] == f"ray-{name}"
