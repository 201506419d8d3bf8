"""The membership audit at the sites, from the server's side: one question to every site, and the answers pooled."""

import json
from functools import partial

from flwr.app import Message, MessageType, RecordDict
from flwr.serverapp import Grid

from cmrfed.config import UserError
from cmrfed.core import atomic
from cmrfed.federation import Arm
from cmrfed.privacy import NoPrivacy
from cmrfed.provision import Register
from cmrfed.replies import Attendance, message_of
from cmrfed.site.membership_audit import MembershipAuditRequest, MembershipSummary, pooled

from .strategy import received, said


def audit_membership(arm: Arm, grid: Grid, register: Register) -> None:
    """Ask every connected site to attack its own patients with the global weights that it last trained from.

    Writes membership_audit.json into the arm's folder: pooled rates, each site's own, and why any site did not answer.
    """
    content = {"asked": said(_request(arm))}
    messages = [
        Message(RecordDict(dict(content)), node, f"{MessageType.QUERY}.membership_audit")
        for node in register.among(grid.get_node_ids(), arm.sites)
    ]
    replies = grid.send_and_receive(messages, timeout=arm.config.federation.round_timeout_s)
    attendance = Attendance(arm.sites, registered=register.nodes)
    summaries = attendance.heard(map(received, replies), partial(message_of, MembershipSummary))
    found = {
        "attacks": pooled(summaries),
        "sites": {site: one.model_dump(mode="json")["attacks"] for site, one in summaries.items()},
        "not_answered": attendance.reasons,
    }
    atomic.write_text(arm.folder / "membership_audit.json", json.dumps(found, indent=2))


def _request(arm: Arm) -> MembershipAuditRequest:
    config, plan = arm.config, arm.plan
    if config.evaluation.leakage is None:
        raise UserError("evaluation.leakage: is null; a membership audit needs its settings")
    return MembershipAuditRequest(
        run=arm.run_at_sites,
        generator=config.generator,
        training=config.training,
        leakage=config.evaluation.leakage,
        seed=config.seed,
        bootstrap=config.evaluation.bootstrap,
        epsilon=None if isinstance(plan, NoPrivacy) else plan.target_epsilon,
        delta=0.0 if isinstance(plan, NoPrivacy) else plan.delta,
    )
