"""A federation as its coordinator sees it: read from a run's folder, the coordinator's folder and the SuperLink.

Nothing here is a site's own number: epsilon is the plan's for as many rounds as a site answered, which is public.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Literal

from cmrfed.config import Stage, UserError
from cmrfed.federation import Arm, RoundLine, epsilon_by_site, read_rounds
from cmrfed.privacy import DistributedNoise, NoPrivacy
from cmrfed.provision import Coordinator
from cmrfed.provision.invited import InvitedSite, NodeSeen
from cmrfed.provision.node_key import read_node_key

_REFUSED = "refused"
"""How a round's line says that a site declined; why, only the site knows."""


Nodes = Mapping[bytes, NodeSeen]
"""By public key, PEM."""


class SiteStanding(Stage):
    """One site.

    state: as it was provisioned; None where no coordinator's folder was given, or this one does not name it.
    connected, last_seen: as the SuperLink says; None where it was not asked or does not know.
    """

    name: str
    state: Literal["invited", "registered", "revoked"] | None = None
    invitation_until: datetime | None = None
    connected: bool | None = None
    last_seen: float | None = None


class RoundStatus(Stage):
    """One time that a round was asked for; 0 is the start, before anybody trains.

    applied: False where too few answered: their answers are kept, and the round is asked for again.
    missing: of the arm's sites, those that were not heard. refused: those that declined. dropped: why others' replies
    were not used, by site or by what else the round's line names. Times are Unix times, s.
    """

    number: int
    applied: bool
    started: float
    finished: float
    answered: tuple[str, ...]
    missing: tuple[str, ...]
    refused: tuple[str, ...]
    dropped: dict[str, str]
    bytes_down: int
    bytes_up: int
    held_out_loss: dict[str, float]

    @property
    def seconds(self) -> float:
        return self.finished - self.started


class ArmStatus(Stage):
    """One arm of a run.

    state: "begins" before its first line, "open" while a round is to be done, whether or not a server is at work on it,
    "stopped" early, "done". done: rounds applied, of those planned. needed: answers that a round is made of at least.
    epsilon: by site, of the rounds it answered, at `delta`; empty without privacy. guaranteed: whether that holds.
    stopped: why, and after how many rounds. problem: what of its files cannot be read.
    """

    name: str
    state: Literal["begins", "open", "stopped", "done"]
    sites: tuple[str, ...]
    planned: int
    done: int
    needed: int
    rounds: tuple[RoundStatus, ...]
    epsilon: dict[str, float]
    target_epsilon: float | None
    delta: float | None
    guaranteed: bool
    stopped: str = ""
    problem: str = ""

    @property
    def open_round(self) -> int | None:
        """The round that is asked for now or next; None once there is none."""
        return self.done + 1 if self.state in ("begins", "open") and self.done < self.planned else None

    def rounds_answered(self, site: str) -> int:
        return len({one.number for one in self.rounds if site in one.answered})


class FederationStatus(Stage):
    """All of it. `read_at` and `last_event` are Unix times, s. `notes`: what is not known, and why."""

    run: str
    read_at: float
    last_event: float | None
    sites: tuple[SiteStanding, ...]
    arms: tuple[ArmStatus, ...]
    notes: tuple[str, ...]


def read_status(
    run: Path, now: float, coordinator: Coordinator | None = None, nodes: Callable[[], Nodes] | None = None
) -> FederationStatus:
    """Read a run's folder, and what else is given. Raises UserError where there is no such folder.

    nodes: asks the SuperLink for its nodes; may raise UserError.
    """
    folder = run.expanduser().resolve()
    if not folder.is_dir():
        raise UserError(f"run: {run} is no folder; give the one that holds arms/, as runs/latest")
    notes: list[str] = []
    seen = _seen(nodes, notes)
    arms = _arms(folder, notes)
    return FederationStatus(
        run=folder.name,
        read_at=now,
        last_event=max((one.finished for arm in arms for one in arm.rounds), default=None),
        sites=_sites(arms, coordinator, seen, notes),
        arms=arms,
        notes=tuple(notes),
    )


def _seen(nodes: Callable[[], Nodes] | None, notes: list[str]) -> Nodes | None:
    try:
        return nodes() if nodes else None
    except UserError as error:
        notes.append(f"who is connected is not known: {error}")
        return None


def _arms(folder: Path, notes: list[str]) -> tuple[ArmStatus, ...]:
    """Those with a plan, the first begun first."""
    found: list[ArmStatus] = []
    for path in folder.glob("arms/*/arm.json"):
        try:
            found.append(_arm(Arm.open(path.parent)))
        except UserError as error:
            notes.append(f"arm {path.parent.name}: {error}")
    if not found:
        notes.append("not yet: no arm of this run has begun (arms/NAME/arm.json)")
    return tuple(sorted(found, key=lambda arm: (arm.rounds[0].started if arm.rounds else math.inf, arm.name)))


def _arm(arm: Arm) -> ArmStatus:
    lines, problem = read_rounds(arm.folder / "rounds.jsonl")
    plan, planned = arm.plan, arm.config.federation.rounds
    done = max((line.round for line in lines if line.applied), default=0)
    stopped = _text(arm.folder / "stopped.txt")
    finished = done >= planned and (arm.folder / "model.safetensors").exists()
    return ArmStatus(
        name=arm.name,
        state="stopped" if stopped else "done" if finished else "open" if lines else "begins",
        sites=arm.sites,
        planned=planned,
        done=done,
        needed=plan.quorum if isinstance(plan, DistributedNoise) else arm.minimum_replies,
        rounds=tuple(_round(line, arm.sites) for line in lines),
        epsilon=epsilon_by_site(plan, arm.config.training.local_steps, lines),
        target_epsilon=None if isinstance(plan, NoPrivacy) else plan.target_epsilon,
        delta=None if isinstance(plan, NoPrivacy) else plan.delta,
        guaranteed=plan.guaranteed,
        stopped=stopped,
        problem=problem,
    )


def _text(path: Path) -> str:
    """Of a file that may not be there."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        return ""


def _round(line: RoundLine, sites: Iterable[str]) -> RoundStatus:
    answered, reasons = line.answered, line.reasons
    return RoundStatus(
        number=line.round,
        applied=line.applied,
        started=line.started,
        finished=line.finished,
        answered=answered,
        missing=tuple(site for site in sites if line.round and site not in (*answered, *reasons)),
        refused=tuple(site for site, reason in reasons.items() if reason == _REFUSED),
        dropped={site: reason for site, reason in reasons.items() if reason != _REFUSED},
        bytes_down=line.bytes.down,
        bytes_up=line.bytes.up,
        held_out_loss=line.validation,
    )


def _sites(
    arms: Iterable[ArmStatus], coordinator: Coordinator | None, seen: Nodes | None, notes: list[str]
) -> tuple[SiteStanding, ...]:
    """Those that were invited, in that order, then those that only an arm names."""
    found = {site: SiteStanding(name=site) for arm in arms for site in arm.sites}
    try:
        invited = coordinator.sites.sites if coordinator else {}
    except UserError as error:
        notes.append(f"who was invited is not known: {error}")
        return tuple(found.values())
    return tuple(
        ({name: _standing(name, site, seen) for name, site in invited.items()} | _only(found, invited)).values()
    )


def _only(found: Mapping[str, SiteStanding], invited: Mapping[str, InvitedSite]) -> dict[str, SiteStanding]:
    return {name: site for name, site in found.items() if name not in invited}


def _standing(name: str, site: InvitedSite, seen: Nodes | None) -> SiteStanding:
    node = seen.get(read_node_key(site.public_key, name).pem) if seen is not None and site.public_key else None
    return SiteStanding(
        name=name,
        state=site.state,
        invitation_until=site.invitation.expires if site.invitation else None,
        connected=None if seen is None else node is not None and node.connected,
        last_seen=node.last_seen if node else None,
    )
