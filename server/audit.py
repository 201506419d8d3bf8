"""The audit at the sites, from the server's side: one question to every site, and the answers pooled."""

import json
from collections.abc import Iterable

from flwr.app import Message, MessageType, RecordDict
from flwr.serverapp import Grid

from cmrfed.config import UserError, read_stage_json_text
from cmrfed.evaluation.leakage.site import AuditRequest, SiteSummary, pooled
from cmrfed.federation import Arm
from cmrfed.updates import write_durably
from server.strategy import said


def audit_sites(arm: Arm, grid: Grid) -> None:
    """Ask every connected site to attack its own patients with the global weights that it last trained from.

    Writes audit.json into the arm's folder: the pooled rates, each site's own, and why any site did not answer.
    """
    content = {"asked": said(_request(arm))}
    messages = [Message(RecordDict(dict(content)), node, f"{MessageType.QUERY}.audit") for node in grid.get_node_ids()]  # type: ignore[arg-type]
    timeout = arm.config.federation.round_timeout_s
    summaries, reasons = _sorted(grid.send_and_receive(messages, timeout=timeout))
    found = {
        "attacks": pooled(summaries),
        "sites": {site: one.model_dump(mode="json")["attacks"] for site, one in summaries.items()},
        "not_answered": reasons,
    }
    write_durably(arm.folder / "audit.json", json.dumps(found, indent=2))


def _request(arm: Arm) -> AuditRequest:
    config, plan = arm.config, arm.plan
    if config.evaluation.leakage is None:
        raise UserError("evaluation.leakage: is null; an audit at the sites needs its settings")
    return AuditRequest(
        run=arm.run_at_sites,
        generator=config.generator,
        training=config.training,
        leakage=config.evaluation.leakage,
        seed=config.seed,
        bootstrap=config.evaluation.bootstrap,
        epsilon=plan.target_epsilon if plan else None,
        delta=plan.delta if plan else 0.0,
    )


def _sorted(replies: Iterable[Message]) -> tuple[dict[str, SiteSummary], dict[str, str]]:
    """Summaries by site, and reasons of those who have none."""
    summaries: dict[str, SiteSummary] = {}
    reasons: dict[str, str] = {}
    for reply in replies:
        if reply.has_error():
            reasons[f"node {reply.metadata.src_node_id}"] = f"failed: {reply.error.reason}"
            continue
        notes = reply.content["answer"]
        site = str(notes["site"])
        if "refused" in notes:
            reasons[site] = f"refused: {notes['refused']}"
        elif site in summaries:
            reasons[f"node {reply.metadata.src_node_id}"] = f"failed: calls itself {site}, as another node does"
        else:
            summaries[site] = read_stage_json_text(SiteSummary, str(notes["json"]), where=f"{site}'s answer")
    return dict(sorted(summaries.items())), reasons
