"""Commands with which a hospital joins a federation: site join and site check; and the policy put into a new home."""

import json
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import yaml
from rich.prompt import Confirm, FloatPrompt, IntPrompt

from cmrfed.cli.checks import say_checks
from cmrfed.cli.stages import SiteCheckup, SiteJoin
from cmrfed.composition import configs_folder
from cmrfed.config import UserError, read_stage
from cmrfed.console import console, safe_text
from cmrfed.core import atomic
from cmrfed.outputs import output_folder, writing
from cmrfed.provision import Invitation, Joined, read_invitation
from cmrfed.provision import join as join_home
from cmrfed.provision.fingerprint import same_fingerprint

_ASKED: dict[str, tuple[type[FloatPrompt] | type[IntPrompt], str]] = {
    "maximum_epsilon": (FloatPrompt, "epsilon that may be spent on a patient, over all runs (smaller is more private)"),
    "maximum_delta": (FloatPrompt, "delta: how likely the guarantee may fail, well below one in your patients"),
    "minimum_patients": (IntPrompt, "with fewer patients this site takes no part"),
}
"""Keys of a policy that a hospital should decide before anything else, and how they are asked for."""

_COMPARE = "Does the coordinator, called at a number you know, read out the same?"


def join(config: SiteJoin) -> None:
    invitation = _invitation(config.invitation)
    home = output_folder(config.home, key="home")
    console.print(safe_text(f"{invitation.site} is invited to {invitation.federation}, at {invitation.superlink}"))
    _confirm(invitation, config)
    node = output_folder(config.node, key="node") if config.node else home
    policy = home / "site.yaml"
    limits = {} if policy.exists() else _limits(config)
    with writing(home, key="home"):
        joined = join_home(node, invitation, config.rotate)
        if not policy.exists():
            write_policy(policy, {"name": invitation.site, **limits})
    _say_what_next(home, node, joined)


def check(config: SiteCheckup) -> None:
    from cmrfed.site.checks import check_site

    home = Path(config.home).expanduser().resolve()
    node = Path(config.node).expanduser().resolve() if config.node else home
    say_checks(check_site(home, datetime.now(UTC), node))


def write_policy(path: Path, changes: Mapping[str, str | float]) -> None:
    """The example to edit, these keys set, with this hospital's ledger by its absolute place: a home that is copied
    goes on with it."""
    from cmrfed.site.policy import default_ledger

    text = (configs_folder() / "site" / "example.yaml").read_text(encoding="utf-8")
    for key, value in {"ledger": str(default_ledger()), **changes}.items():
        before, _, after = text.partition(f"\n{key}: ")
        comment = after[len(after.split(maxsplit=1)[0]) :]
        text = f"{before}\n{key}: {json.dumps(value, ensure_ascii=False)}{comment}"
    atomic.write_text(path, text)


def _invitation(given: str) -> Invitation:
    """From a file, or the text itself."""
    now = datetime.now(UTC)
    if "cmrfed-invitation-" in given:
        return read_invitation(given, "invitation", now)
    path = Path(given).expanduser()
    try:
        return read_invitation(path.read_text(encoding="utf-8"), str(path), now)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"invitation: {path} cannot be read ({getattr(error, 'strerror', None) or error})") from None


def _confirm(invitation: Invitation, config: SiteJoin) -> None:
    """Compare the authority with what the coordinator read out, or have somebody do so where there is somebody."""
    console.print(f"the coordinator's certificate: {invitation.fingerprint}", soft_wrap=True)
    if config.fingerprint is not None:
        agree = same_fingerprint(config.fingerprint, invitation.fingerprint)
    else:
        agree = config.yes or not console.is_terminal or Confirm.ask(_COMPARE, console=console)
    if not agree:
        raise UserError(
            f"fingerprint: the invitation's is {invitation.fingerprint}, and the coordinator reads out another: do not "
            "join, ask for the invitation again; nothing was written"
        )


def _limits(config: SiteJoin) -> dict[str, float]:
    """Those of a new policy: as given, else asked for, else the example's."""
    example = yaml.safe_load((configs_folder() / "site" / "example.yaml").read_text(encoding="utf-8"))
    asking = console.is_terminal and not config.yes
    found: dict[str, float] = {}
    for key, (prompt, what) in _ASKED.items():
        given = getattr(config, key)
        if given is None and asking:
            given = prompt.ask(what, default=example[key], console=console)
        found[key] = example[key] if given is None else given
    read_stage(SiteJoin, config.model_dump() | found)
    return found


def _say_what_next(home: Path, node: Path, joined: Joined) -> None:
    folders = f"home={shlex.quote(str(home))}" + (f" node={shlex.quote(str(node))}" if node != home else "")
    lines = [
        "this home had joined with this very invitation; nothing was changed" if joined.before else f"joined: {node}",
        f"send to the coordinator: {joined.public}",
        f"and read out on the phone, this site's key: {joined.key.fingerprint}",
        f"limits that any server must keep: {home / 'site.yaml'}",
        f"next: cmrfed site check {folders}",
    ]
    for line in lines:
        console.print(line, soft_wrap=True, markup=False)
