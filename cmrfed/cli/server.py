"""Commands of a federation's coordinator about its server: server status."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from cmrfed.cli.stages import ServerStatus
from cmrfed.console import console, errors, safe_text, say
from cmrfed.provision import Coordinator

if TYPE_CHECKING:
    from cmrfed.watching.federation import ArmStatus, FederationStatus, Nodes

_SHOWN = 12
"""Rounds of an arm in the terminal, the last ones."""


def status(config: ServerStatus) -> None:
    read = _reader(config)
    if config.web:
        _serve(config, read)
    elif config.format == "json":
        console.print(read().model_dump_json(indent=2), markup=False, soft_wrap=True)
    else:
        _print(read())


def _reader(config: ServerStatus) -> "Callable[[], FederationStatus]":
    """What reads it all anew, each time."""
    from cmrfed.watching.federation import read_status

    run = Path(config.run)
    coordinator = Coordinator(Path(config.federation).expanduser().resolve()) if config.federation else None
    nodes = _nodes_of(coordinator) if coordinator else None
    return lambda: read_status(run, time.time(), coordinator, nodes)


def _nodes_of(coordinator: Coordinator) -> "Callable[[], Nodes]":
    from cmrfed.apps.server.nodes import nodes_seen

    address = f"127.0.0.1:{coordinator.description.superlink_port}"
    return lambda: nodes_seen(address, coordinator.server / "ca.crt")


def _serve(config: ServerStatus, read: "Callable[[], FederationStatus]") -> None:
    from cmrfed.watching.pages import federation_page
    from cmrfed.watching.web import is_loopback, serve

    read()  # what is wrong with run= is said here, and not in a browser
    secret = not is_loopback(config.address)
    if secret:
        errors.print(_NO_TLS, style="yellow", markup=False)
    serve(federation_page(read), config.address, config.port, secret, say)


_NO_TLS = (
    "address: this page is reached from other machines. Whoever has the link below may read it, and it travels "
    "unencrypted: put a proxy with TLS before it, or leave address out and come by ssh -L."
)


def _print(found: "FederationStatus") -> None:
    from cmrfed.watching import words

    say(f"run {found.run}: last event {words.when(found.last_event)} ({words.zone()})")
    for note in found.notes:
        say(note, "yellow")
    if any(site.state for site in found.sites):
        table = _table("site", "provisioned", "node")
        for site in found.sites:
            table.add_row(*map(safe_text, (site.name, words.provisioned(site), words.connection(site))))
        console.print(table)
    for arm in found.arms:
        _print_arm(arm)


def _print_arm(arm: "ArmStatus") -> None:
    from cmrfed.watching import words

    console.print()
    say(f"arm {arm.name}: {words.progress(arm)}", "bold")
    say(words.privacy(arm))
    if arm.problem:
        say(arm.problem, "yellow")
    console.print(_table_of_answers(arm))
    if arm.rounds:
        console.print(_table_of_rounds(arm))
    if len(arm.rounds) > _SHOWN:
        say(f"the last {_SHOWN} of {len(arm.rounds)}; format=json has all")


def _table_of_answers(arm: "ArmStatus") -> Table:
    from cmrfed.formats import epsilon
    from cmrfed.watching import words

    table = _table("site", "last round", "rounds answered", *(["ε"] if arm.target_epsilon else []))
    for site in arm.sites:
        spent = [epsilon(arm.epsilon.get(site, 0.0))] if arm.target_epsilon else []
        table.add_row(*map(safe_text, (site, words.last_word(arm, site), str(arm.rounds_answered(site)), *spent)))
    return table


def _table_of_rounds(arm: "ArmStatus") -> Table:
    from cmrfed.formats import seconds
    from cmrfed.watching import words

    table = _table("round", "ended", "took", "answers", "who not, and why", "bytes", "held-out loss")
    for one in arm.rounds[-_SHOWN:]:
        cells = [words.round_name(one), words.when(one.finished), seconds(one.seconds)]
        cells += [f"{len(one.answered)} of {len(arm.sites)}" if one.number else ""]
        cells += ["\n".join(words.absences(one))]
        cells += [f"down {words.size(one.bytes_down)}\nup {words.size(one.bytes_up)}" if one.number else ""]
        cells += ["\n".join(f"{vendor} {loss:.4f}" for vendor, loss in one.held_out_loss.items())]
        table.add_row(*map(safe_text, cells))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
