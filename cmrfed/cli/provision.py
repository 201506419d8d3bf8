"""Commands of a federation's coordinator: provision, and provision add, register, revoke, rotate and admit."""

from datetime import UTC, datetime
from pathlib import Path

from rich import box
from rich.table import Table

from cmrfed.cli.stages import (
    OfACoordinator,
    Provision,
    ProvisionAdd,
    ProvisionAdmit,
    ProvisionRegister,
    ProvisionRevoke,
    ProvisionRotate,
    Submit,
)
from cmrfed.config import UserError
from cmrfed.console import console, safe_text, say
from cmrfed.outputs import new_folder, output_folder, writing
from cmrfed.provision import Coordinator, Register, read_description
from cmrfed.provision.certificates import certificate_fingerprint
from cmrfed.provision.node_key import NodeKey, read_node_key


def provision(config: Provision) -> None:
    description = read_description(Path(config.federation).expanduser())
    folder = output_folder(config.out)
    if not (folder / "federation.yaml").exists():
        new_folder(folder)
    with writing(folder):
        coordinator = Coordinator.provision(folder, description, _now())
    say(f"the coordinator's folder: {folder}; README.txt there says what is what")
    say(f"server certificate until {coordinator.server_certificate.not_valid_after_utc:%Y-%m-%d}")
    console.print(_table_of_sites(coordinator))
    say(f"to read out to sites, the authority's fingerprint: {certificate_fingerprint(coordinator.authority)}")
    say(f"next: cmrfed server start folder={folder}, and nginx; send each site its file of invitations/")


def add(config: ProvisionAdd) -> None:
    _say_invited(config.site, coordinator_of(config).add(config.site, _now()))


def register(config: ProvisionRegister) -> None:
    coordinator = coordinator_of(config)
    coordinator.register(config.site, _node_key(config.key), config.fingerprint, _now())
    say(f"{config.site} is registered")
    try:
        admit_registered(coordinator)
    except UserError as error:
        say(f"{error}; when it runs: cmrfed provision admit folder={coordinator.folder}", style="yellow")


def revoke(config: ProvisionRevoke) -> None:
    coordinator = coordinator_of(config)
    coordinator.revoke(config.site)
    say(f"{config.site} is revoked")
    try:
        admit_registered(coordinator)
    except UserError as error:
        raise UserError(
            f"{error}: until it is told, it may let {config.site!r} in; on its machine, once it runs: cmrfed provision "
            f"admit folder={coordinator.folder}"
        ) from None


def rotate(config: ProvisionRotate) -> None:
    coordinator = coordinator_of(config)
    if config.site is not None:
        _say_invited(config.site, coordinator.invite_again(config.site, _now()))
        return
    certificate = coordinator.renew_certificate(_now())
    say(f"{coordinator.server / 'server.pem'}: until {certificate.not_valid_after_utc:%Y-%m-%d}")
    say("next: reload nginx and restart the SuperLink; sites need do nothing")


def admit(config: ProvisionAdmit) -> None:
    admit_registered(coordinator_of(config))


def admit_registered(coordinator: Coordinator) -> None:
    """Tell the SuperLink of this machine whose nodes may connect, and keep which node is whose."""
    from cmrfed.apps.server.nodes import admit

    address = f"127.0.0.1:{coordinator.description.superlink_port}"
    keys = {name: key.pem for name, key in coordinator.sites.admitted.items()}
    told = admit(address, coordinator.server / "ca.crt", keys)
    Register(coordinator.state).set_nodes(told.nodes)
    say(f"the SuperLink lets in {', '.join(sorted(set(keys) - set(told.refused))) or 'nobody'}")
    if told.shut_out:
        say(f"nodes shut out: {told.shut_out}")
    for name in told.refused:
        say(f"it shut out the key of {name} before, for good: cmrfed provision rotate site={name!r}", style="yellow")


def coordinator_of(config: OfACoordinator | Submit) -> Coordinator:
    return Coordinator(Path(config.folder).expanduser().resolve())


def _node_key(given: str) -> NodeKey:
    path = Path(given).expanduser()
    is_text = " " in given.strip() and not path.exists()
    try:
        return read_node_key(given if is_text else path.read_text(encoding="utf-8"), "key" if is_text else str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"key: {path} cannot be read ({getattr(error, 'strerror', None) or error})") from None


def _table_of_sites(coordinator: Coordinator) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in ("site", "state", "key's fingerprint, or invitation"):
        table.add_column(column, overflow="fold")
    for name, site in coordinator.sites.sites.items():
        waits = site.invitation
        invited = f"{coordinator.invitation(name).name}, until {waits.expires:%Y-%m-%d}" if waits else ""
        table.add_row(safe_text(name), site.state, safe_text("; ".join(filter(None, [site.fingerprint, invited]))))
    return table


def _say_invited(site: str, path: Path) -> None:
    say(f"send this to {site} and to nobody else: {path}")


def _now() -> datetime:
    return datetime.now(UTC)
