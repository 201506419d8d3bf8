"""Whether a site is ready to take part: each thing looked at alone, with what was found and what to do about it.

For the hospital's own eyes: what is found here is told to nobody else.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from cmrfed.config import UserError, read_stage_yaml
from cmrfed.core.check import Check
from cmrfed.outputs import open_to_others
from cmrfed.provision import Connection, read_connection
from cmrfed.provision.connection import NODE_KEY
from cmrfed.provision.node_key import public_half
from cmrfed.provision.reachability import check_connection
from cmrfed.site.division import HELD_OUT, TRAINED_ON, refuse_twins
from cmrfed.site.home import Home
from cmrfed.site.policy import SitePolicy
from cmrfed.slices import Slices

_LEAST_FREE_GIB = 5.0
"""Below this a long run may end for want of room: it writes an answer and the weights it began from for each round."""


def check_site(home: Path, now: datetime, node: Path | None = None) -> list[Check]:
    """All checks, in the order in which one would mend what they find. `node`: its folder, by default the home."""
    local = [check_permissions, check_policy, check_slices, check_ledger, check_disk, check_device]
    found = [_caught(check, home) for check in local]
    try:
        connection = read_connection(node or home)
    except UserError as error:
        return [*found, Check("connection", "mend", str(error), "join the federation"), *check_versions()]
    reached = check_connection(connection, now)
    return [*found, check_name(home, connection), check_key(connection), *reached, *check_versions()]


def _caught(check: Callable[[Path], Check], home: Path) -> Check:
    """What a check found; a home that cannot be read at all is something to mend too."""
    try:
        return check(home)
    except (UserError, OSError) as error:
        return Check(check.__name__.removeprefix("check_"), "mend", str(error), "mend what it names")


def check_permissions(home: Path) -> Check:
    """That nobody else on this machine can read the home."""
    if not home.is_dir():
        return Check("permissions", "mend", f"{home}: no such folder", "join first: cmrfed site join")
    said = open_to_others(home, (TRAINED_ON, HELD_OUT, NODE_KEY, "identity.pem", "division.json"))
    if said:
        return Check("permissions", "mend", "others on this machine can read it", f"chmod -R go-rwx {home}")
    return Check("permissions", "good", f"{home} is closed to others")


def check_policy(home: Path) -> Check:
    """That the policy reads."""
    policy = read_stage_yaml(SitePolicy, home / "site.yaml")
    found = f"{policy.name}: epsilon at most {policy.maximum_epsilon:g}, delta {policy.maximum_delta:g}"
    return Check("policy", "good", found)


def check_slices(home: Path) -> Check:
    """That there are whole slices, each patient's once, of as many patients as the policy asks for."""
    path = home / TRAINED_ON
    if not path.exists():
        return Check("slices", "mend", "none yet", f"cmrfed prepare data=... data.root=... home={home}")
    slices = Slices.load(path)
    refuse_twins(slices, str(path))  # reads every image
    found = f"{slices.number_of_patients} patients, {len(slices)} slices"
    least = read_stage_yaml(SitePolicy, home / "site.yaml").minimum_patients
    if slices.number_of_patients < least:
        return Check("slices", "mend", found, f"minimum_patients in site.yaml is {least}: add patients")
    return Check("slices", "good", found)


def check_ledger(home: Path) -> Check:
    """That what was spent is all there."""
    ledger = Home(home).ledger
    if not ledger.path.exists():
        ledger.head()  # raises where an anchor or this home knows of one that is gone
        return Check("ledger", "good", f"none yet; the first release begins it in {ledger.path}")
    book = ledger.verify()
    return Check("ledger", "good", f"whole: {len(book.rows)} rows in {ledger.path}")


def check_disk(home: Path) -> Check:
    """That rounds have room."""
    free = shutil.disk_usage(home).free / 2**30
    if free < _LEAST_FREE_GIB:
        return Check("disk", "mend", f"{free:.1f} GiB free", f"make room: {_LEAST_FREE_GIB:g} GiB at least")
    return Check("disk", "good", f"{free:.0f} GiB free")


def check_device(home: Path) -> Check:
    """What this site computes on."""
    asked = read_stage_yaml(SitePolicy, home / "site.yaml").execution.device
    if torch.cuda.is_available():
        name, memory = torch.cuda.get_device_name(), torch.cuda.get_device_properties(0).total_memory / 2**30
        return Check("GPU", "good", f"{name}, {memory:.0f} GiB; site.yaml says device: {asked}")
    if asked.startswith("cuda"):
        return Check("GPU", "mend", f"none, and site.yaml says device: {asked}", "set execution.device: auto")
    return Check("GPU", "look", f"none; {os.cpu_count()} processors", "rounds take longer; nothing must be done")


def check_name(home: Path, connection: Connection) -> Check:
    """That the policy bears the name by which the federation knows the site."""
    to_do = f"the federation knows this site as {connection.site!r}: set name in site.yaml"
    try:
        own = read_stage_yaml(SitePolicy, home / "site.yaml").name
    except UserError:
        return Check("name", "look", "site.yaml says none", to_do)
    return Check("name", "good", own) if own == connection.site else Check("name", "look", own, to_do)


def check_key(connection: Connection) -> Check:
    """That the node's key is here, and nobody else's to read."""
    path = Path(connection.node_key)
    try:
        shown = public_half(path).fingerprint
    except UserError as error:
        return Check("node key", "mend", str(error), "ask for a new invitation; join with rotate=true")
    if path.stat().st_mode & 0o077:
        return Check("node key", "mend", f"{path} can be read by others", f"chmod 600 {path}")
    return Check("node key", "good", shown)


def check_versions() -> Iterator[Check]:
    """What is installed: every site and the server need the same cmrfed and Flower."""
    for name in ("cmrfed", "flwr", "torch"):
        try:
            yield Check(name, "good", version(name))
        except PackageNotFoundError:
            yield Check(name, "mend", "is not installed", f"pip install {name}")
