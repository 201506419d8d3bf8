"""A coordinator's containers start what `cmrfed provision` wrote, and nobody outside reaches more than the proxy."""

import re
from datetime import UTC, datetime
from pathlib import PurePosixPath

import pytest
import yaml
from deployments import DEPLOY, README, services, targets
from provisioned import provisioned

from cmrfed import __version__
from cmrfed.provision.server_files import CONTAINER

CHART = DEPLOY / "helm" / "cmrfed-server"
VALUES = {
    "secretName": "hearts-server",
    "image": {"repository": "registry.example.org/cmrfed-server"},
    "imagePullSecrets": ["pull"],
    "service": {"type": "ClusterIP", "port": 8443, "annotations": {"example.org/balancer": "internal"}},
    "allowedFrom": [{"ipBlock": {"cidr": "203.0.113.0/24"}}],
    "state": {"size": "5Gi", "storageClass": "fast"},
    "resources": {"superlink": {"limits": {"memory": "8Gi"}}, "proxy": {"requests": {"cpu": "100m"}}},
    "nodeSelector": {"disk": "ssd"},
}
"""All that the chart lets one choose."""


@pytest.fixture(scope="module")
def server():
    return services(DEPLOY / "server" / "compose.yaml")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return provisioned(tmp_path_factory.mktemp("provisioned") / "federation", datetime.now(UTC))


def starts(words, made):
    """The file that was provisioned, which such a command starts."""
    path = PurePosixPath(words[-1])
    return made.server / path.relative_to(CONTAINER.keys)


def test_the_containers_start_what_was_provisioned(server, made):
    assert starts(server["superlink"]["entrypoint"], made).read_text().startswith("#!/bin/sh")
    assert server["superlink"]["entrypoint"][0] == "sh"
    assert "location /v1/fleet/" in starts(server["proxy"]["entrypoint"], made).read_text()
    for name in ("superlink", "proxy"):
        assert targets(server[name])[str(CONTAINER.keys)]["read_only"] is True
        assert targets(server[name])[str(CONTAINER.keys)]["source"].endswith("/server")
    assert str(CONTAINER.state) in targets(server["superlink"])
    assert set(targets(server["proxy"])) == {str(CONTAINER.keys)}, "nothing of the runs"
    assert server["proxy"]["ports"] == [f"443:{CONTAINER.port}"]


def test_a_run_and_the_register_lie_where_the_superlink_and_the_coordinators_commands_both_write(
    server, made, monkeypatch
):
    assert made.state == made.server
    monkeypatch.setenv("CMRFED_STATE", server["cmrfed"]["environment"]["CMRFED_STATE"])
    assert made.state == CONTAINER.state
    mounts = [targets(server[name])[str(CONTAINER.state)] for name in ("superlink", "cmrfed")]
    assert mounts[0] == mounts[1] and not mounts[0].get("read_only")


def test_the_superlink_shares_a_network_with_the_proxy_alone_and_has_no_way_out(server):
    networks = yaml.safe_load((DEPLOY / "server" / "compose.yaml").read_text(encoding="utf-8"))["networks"]
    assert networks["inside"] == {"internal": True}
    assert server["superlink"]["networks"] == ["inside"] and CONTAINER.superlink == "superlink"
    assert [name for name, service in server.items() if "inside" in service.get("networks", [])] == [
        "superlink",
        "proxy",
    ]
    assert [name for name, service in server.items() if "ports" in service] == ["proxy"]
    assert server["cmrfed"]["network_mode"] == "service:superlink" and server["cmrfed"]["profiles"]


def test_no_container_has_the_authoritys_key(server, made):
    keys = [path.relative_to(made.folder) for path in made.folder.rglob("authority.key")]
    assert [str(path) for path in keys] == ["authority/authority.key"]
    for name in ("superlink", "proxy"):
        assert all(not mount["source"].endswith("federation") for mount in targets(server[name]).values())
    whole = targets(server["cmrfed"])["/srv/coordinator"]
    assert whole["source"] == "/srv/federation"
    assert any(line.split(":")[0] == "/srv/coordinator/authority" for line in server["cmrfed"]["tmpfs"]), "an empty one"


# The chart. helm_python is Helm's own library, in one wheel, for most machines.


@pytest.fixture(scope="module")
def helm():
    return pytest.importorskip("helm_python", reason="Helm's library has no wheel for this machine")


def rendered(helm, values):
    """Manifests by kind."""
    with helm.Chart.load(str(CHART)) as chart:
        texts = chart.render(values, name="hearts", namespace="federation")
    found = [yaml.safe_load(text) for name, text in texts.items() if name.endswith(".yaml")]
    return {manifest["kind"]: manifest for manifest in found}


@pytest.fixture(scope="module")
def manifests(helm):
    return rendered(helm, {"secretName": "hearts-server"})


@pytest.mark.parametrize("values", [{"secretName": "hearts-server"}, VALUES], ids=["defaults", "everything"])
def test_the_chart_is_one_that_helm_and_kubernetes_take(helm, values):
    from kubernetes_validate import validate

    report = helm.lint(str(CHART), values, strict=True)
    assert not report["errors"], report
    for version in ("1.25", "1.30", "1.34"):
        for manifest in rendered(helm, values).values():
            validate(manifest, version, strict=True)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"secretName": "Hearts"},
        {"secretName": "s", "servise": {}},
        {"secretName": "s", "service": {"port": 0}},
        {"secretName": "s", "image": {"digest": "sha256:abc"}},
        {"secretName": "s", "state": {"size": "much"}},
    ],
)
def test_values_that_the_chart_does_not_know_are_refused(helm, values):
    with pytest.raises(helm.HelmError, match="schema"):
        rendered(helm, values)


def test_what_is_chosen_is_what_is_rendered(helm):
    chosen = rendered(helm, VALUES)
    pod = chosen["StatefulSet"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == f"registry.example.org/cmrfed-server:{__version__}"
    assert [container["resources"] for container in pod["containers"]] == list(VALUES["resources"].values())
    assert pod["imagePullSecrets"] == [{"name": "pull"}] and pod["nodeSelector"] == {"disk": "ssd"}
    claim = chosen["StatefulSet"]["spec"]["volumeClaimTemplates"][0]["spec"]
    assert claim["storageClassName"] == "fast" and claim["resources"]["requests"]["storage"] == "5Gi"
    assert chosen["Service"]["spec"]["type"] == "ClusterIP"
    assert chosen["Service"]["metadata"]["annotations"] == VALUES["service"]["annotations"]
    assert chosen["NetworkPolicy"]["spec"]["ingress"][0]["from"] == VALUES["allowedFrom"]
    digest = f"sha256:{'0' * 64}"
    chosen = rendered(helm, {"secretName": "s", "image": {"repository": "cmrfed-server", "digest": digest}})
    assert chosen["StatefulSet"]["spec"]["template"]["spec"]["containers"][0]["image"] == f"cmrfed-server@{digest}"


def test_the_pod_starts_what_compose_starts_and_listens_on_its_own_loopback(manifests, server, made):
    assert manifests["StatefulSet"]["spec"]["replicas"] == 1
    pod = manifests["StatefulSet"]["spec"]["template"]["spec"]
    superlink, proxy = pod["containers"]
    assert superlink["command"] == server["superlink"]["entrypoint"]
    assert proxy["command"] == server["proxy"]["entrypoint"]
    assert pod["hostAliases"] == [{"ip": "127.0.0.1", "hostnames": [CONTAINER.superlink]}]
    variables = {pair["name"]: pair["value"] for pair in superlink["env"]}
    assert "SUPERLINK_HOST" not in variables
    assert '--host "${SUPERLINK_HOST:-127.0.0.1}"' in starts(superlink["command"], made).read_text()
    assert variables.items() <= server["superlink"]["environment"].items()


def test_the_pod_has_no_rights_and_writes_nowhere_but_to_its_state(manifests):
    pod = manifests["StatefulSet"]["spec"]["template"]["spec"]
    context = pod["securityContext"]
    assert context["runAsNonRoot"] and context["runAsUser"] == 10001
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC", "initContainers"}
    for container in pod["containers"]:
        closed = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        assert container["securityContext"] == closed
    writable = [
        {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
        for container in pod["containers"]
    ]
    assert writable == [{str(CONTAINER.state), "/tmp"}, {"/tmp"}]
    account = manifests["ServiceAccount"]
    assert pod["serviceAccountName"] == account["metadata"]["name"]
    assert pod["automountServiceAccountToken"] is account["automountServiceAccountToken"] is False


def test_the_pod_mounts_what_was_provisioned_for_the_server_and_no_other_key(manifests, made):
    assert set(manifests) == {"StatefulSet", "Service", "ServiceAccount", "NetworkPolicy"}, "no Secret among them"
    pod = manifests["StatefulSet"]["spec"]["template"]["spec"]
    (secret,) = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
    assert secret["secretName"] == "hearts-server"
    paths = {item["path"] for item in secret["items"]}
    assert all((made.server / path).is_file() for path in paths)
    (command,) = re.findall(r"kubectl create secret generic.*?\n\n", README.read_text(encoding="utf-8"), re.DOTALL)
    assert set(re.findall(r"--from-file=(\S+)", command)) == paths
    assert {item["key"] for item in secret["items"]} == {PurePosixPath(path).name for path in paths}


def test_the_clusters_way_in_is_the_proxys_port_and_there_is_no_way_out(manifests):
    pod = manifests["StatefulSet"]["spec"]["template"]
    ports = [port for container in pod["spec"]["containers"] for port in container.get("ports", [])]
    assert ports == [{"name": "fleet", "containerPort": CONTAINER.port}]
    assert manifests["Service"]["spec"]["ports"] == [{"name": "fleet", "port": 443, "targetPort": "fleet"}]
    policy = manifests["NetworkPolicy"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"] and policy["egress"] == []
    assert policy["ingress"] == [{"ports": [{"protocol": "TCP", "port": "fleet"}]}]
    assert policy["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert manifests["Service"]["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
