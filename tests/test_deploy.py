"""What a hospital starts its door and node by says what it means, and the commands in it are ours."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from deployments import DEPLOY, README, accepted, documented, environment, instructions, services, targets

from cmrfed import __version__
from cmrfed.provision.server_files import QUIET

FOLDER = DEPLOY / "site"
UNITS = sorted(FOLDER.glob("*.service"))
COMPOSE = sorted(DEPLOY.glob("*/compose*.yaml"))


def settings(unit):
    """(Key, value) of each line."""
    lines = unit.read_text(encoding="utf-8").splitlines()
    return [tuple(line.split("=", 1)) for line in lines if "=" in line and not line.startswith("#")]


def keys(words):
    return dict(word.split("=", 1) for word in words if "=" in word)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_units_command_is_one_of_ours_with_all_it_needs(unit):
    program, *words = shlex.split(dict(settings(unit))["ExecStart"])
    assert accepted(words) in ("site serve", "site node")
    assert Path(program).name == "cmrfed"


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_understands_every_line(unit, tmp_path):
    if not (analyze := shutil.which("systemd-analyze")):
        pytest.skip("systemd-analyze is not here")
    copy = tmp_path / unit.name
    text = unit.read_text(encoding="utf-8").replace("/opt/cmrfed/bin/cmrfed", sys.executable)
    copy.write_text(text.replace("cmrfed-door.service\n", "\n"), encoding="utf-8")
    said = subprocess.run([analyze, "verify", str(copy)], capture_output=True, text=True)
    assert unit.name not in said.stderr, said.stderr


def test_door_and_node_meet_at_one_socket_under_two_accounts_and_only_one_of_them_has_a_network():
    assert len(UNITS) == 2
    door, node = (dict(settings(unit)) for unit in UNITS)
    words = [keys(shlex.split(unit["ExecStart"])) for unit in (door, node)]
    assert words[0]["socket"] == words[1]["socket"]
    assert words[0]["node_account"] == node["User"] != door["User"]
    assert door["PrivateNetwork"] == "true" and door["RestrictAddressFamilies"] == "AF_UNIX"
    assert node["InaccessiblePaths"] == words[0]["home"] == door["ReadWritePaths"]


@pytest.fixture
def site():
    return services(FOLDER / "compose.yaml")


def test_the_containers_commands_are_the_units_own(site):
    assert dict(instructions("site"))["ENTRYPOINT"] == '["cmrfed"]'
    for name, unit in zip(("door", "node"), UNITS, strict=True):
        assert "entrypoint" not in site[name]
        accepted(site[name]["command"])
        assert ["cmrfed", *site[name]["command"]] == [
            Path(word).name if word.endswith("/cmrfed") and "=" not in word else word
            for word in shlex.split(dict(settings(unit))["ExecStart"])
        ]


@pytest.mark.parametrize("folder", ["site", "server"])
def test_a_container_has_no_rights_and_writes_nowhere_but_where_it_is_told(folder):
    for name, service in services(DEPLOY / folder / "compose.yaml").items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"] and "cap_add" not in service
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert re.fullmatch(r"1000[12]:1000[12]", service["user"])
        assert not service.keys() & {"privileged", "pid", "ipc", "userns_mode", "devices"}
        assert service.get("network_mode") in (None, "none", "service:superlink")
        assert "/tmp:mode=1777" in service["tmpfs"]
        if "build" in service:
            assert service["image"] == f"cmrfed-{folder}:{__version__}", "the version that it is built from"


def test_only_the_door_has_the_home_and_it_has_no_network(site):
    door, node, commands = site["door"], site["node"], site["cmrfed"]
    home = keys(door["command"])["home"]
    assert door["network_mode"] == "none" and "networks" not in door
    assert home in targets(door) and door["environment"]["HOME"] in targets(door), "the ledger's folder too"
    assert set(targets(node)) == {keys(node["command"])["node"], "/run/cmrfed"}
    assert all(mount["read_only"] for mount in targets(node).values())
    assert node["networks"] == ["out"]
    assert commands["network_mode"] == "none" and commands["profiles"], "for one command, never beside the others"
    assert targets(commands)["/data"]["read_only"] is True
    assert not any("ports" in service for service in site.values())


def test_the_door_knows_the_node_by_its_account_and_may_give_it_the_socket(site):
    """The accounts of both containers are those of one image, for the kernel tells the door a number."""
    made = " ".join(rest for name, rest in instructions("site") if name == "RUN")
    numbers = dict(re.findall(r"groupadd --gid (\d+) (\S+)", made))
    accounts = {name: number for number, name in re.findall(r"useradd --uid (\d+) [^&]* (\S+) +&&", made)}
    assert {number: name for name, number in accounts.items()} == numbers, "each has a group of its own number"
    door, node = site["door"], site["node"]
    number = accounts[keys(door["command"])["node_account"]]
    assert node["user"] == f"{number}:{number}" != door["user"] == f"{accounts['cmrfed']}:{accounts['cmrfed']}"
    assert door["group_add"] == [number] and "group_add" not in node
    assert site["door"]["image"] == site["node"]["image"]
    socket = Path(keys(door["command"])["socket"])
    assert keys(node["command"])["socket"] == str(socket)
    assert targets(door)[str(socket.parent)]["source"] == targets(node)[str(socket.parent)]["source"] == "socket"
    assert f"install -d -m 0755 -o cmrfed -g cmrfed {socket.parent}" in made
    assert door["healthcheck"]["test"] == ["CMD", "test", "-S", str(socket)]


def test_a_gpu_is_the_doors_alone():
    added = yaml.safe_load((FOLDER / "compose.gpu.yaml").read_text(encoding="utf-8"))["services"]
    assert list(added) == ["door"] and list(added["door"]) == ["deploy"]


@pytest.mark.parametrize("file", [README, *COMPOSE], ids=lambda file: f"{file.parent.name}/{file.name}")
def test_commands_for_containers_that_a_text_names_are_ours(file):
    found = documented(file, "docker compose run --rm cmrfed")
    assert found or file.name == "compose.gpu.yaml"
    for words in found:
        accepted(words)


@pytest.mark.parametrize("file", COMPOSE, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_compose_files_follow_the_compose_specification(file):
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    done = subprocess.run(check, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "files", [["site/compose.yaml"], ["site/compose.yaml", "site/compose.gpu.yaml"], ["server/compose.yaml"]]
)
def test_docker_compose_reads_them(files):
    docker = shutil.which("docker")
    if not docker or subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
        pytest.skip("docker compose is not here")
    words = [word for file in files for word in ("--file", str(DEPLOY / file))]
    done = subprocess.run(
        [docker, "compose", *words, "--profile", "commands", "config", "--quiet"], capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()


def test_the_dockerfile_is_well_written():
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, "--no-color", DEPLOY / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_image_installs_by_hash_and_holds_of_a_clone_what_a_wheel_holds():
    installs = [line for name, rest in instructions() if name == "RUN" for line in rest.split("&&") if "pip" in line]
    for line in installs:
        assert "--require-hashes" in line or "--no-index --no-deps --no-build-isolation ." in line, line
    assert len(installs) == 3
    copied = [rest.split()[:-1] for name, rest in instructions("installed") if name == "COPY"]
    packages = {"cmrfed", "server", "client", "simulations", "configs"}
    texts = {"pyproject.toml", "README.md", "LICENSE", "deploy/build.lock", "deploy/requirements.lock"}
    assert {name for names in copied for name in names} == packages | texts


@pytest.mark.parametrize("target", ["site", "server"])
def test_an_image_runs_as_nobody_in_particular_and_tells_nobody_anything(target):
    users = [rest for name, rest in instructions(target) if name == "USER"]
    assert users[-1] == "10001"
    assert QUIET.items() <= environment(target).items()
