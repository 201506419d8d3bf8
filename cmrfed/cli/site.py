"""Commands of a hospital's engineer and its data-protection officer: site serve, node, approve, journal, watch, pause
and resume."""

import hashlib
import os
import pwd
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from cmrfed.cli.stages import SiteApprove, SiteJournal, SiteNode, SitePause, SiteResume, SiteServe, SiteWatch
from cmrfed.config import UserError
from cmrfed.console import console, errors, safe_text, say
from cmrfed.provision import Connection, read_connection
from cmrfed.provision.node_key import public_half
from cmrfed.provision.reachability import check_connection

if TYPE_CHECKING:
    from cmrfed.door.bundles import Bundles
    from cmrfed.door.decisions import Decisions

_OPEN_DOOR = (
    "node_account is not given: node and home are one account's, and code that a coordinator gets to run can read "
    "the patients' images. Give the node an account of its own."
)


def serve(config: SiteServe) -> None:
    from cmrfed.door.daemon import Door, serve

    home, path = _folder(config.home), Path(config.socket).expanduser().resolve()
    account, group = _account(config.node_account)
    if config.node_account is None:
        errors.print(_OPEN_DOOR, style="yellow", markup=False)
    door = Door(home, frozenset([account]))
    told = f"answering at {path} to account {account}; Ctrl-C ends it"
    serve(door, path, group, lambda: console.print(told, markup=False, soft_wrap=True))


def _account(name: str | None) -> tuple[int, int | None]:
    """The number of the account that may ask, and of its group where that is another's."""
    if name is None:
        return os.geteuid(), None
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        raise UserError(f"node_account: there is no account {name!r}; make it (adduser --system {name})") from None
    return found.pw_uid, found.pw_gid


def node(config: SiteNode) -> None:
    from cmrfed.apps.client.node import run_node

    door = Path(config.socket).expanduser().resolve()
    if config.insecure:
        run_node(config.insecure, door, ["--insecure"])
        return
    if config.node is None:
        raise UserError("node: give the folder that `cmrfed site join node=FOLDER` wrote")
    found = read_connection(Path(config.node).expanduser().resolve())
    keys = ["--root-certificates", found.root_certificates, "--auth-supernode-private-key", found.node_key]
    with ServerWatch(found).watching():
        run_node(found.superlink, door, keys)


class ServerWatch:
    """Says why a node does not reach its server, which Flower's own SuperNode does not: it tries again for ever."""

    every_s = 20.0

    def __init__(self, connection: Connection) -> None:
        self._connection, self._said = connection, ""

    def look(self) -> None:
        """Print what is wrong, and that it is well again; what was said before is not repeated."""
        found = [one for one in check_connection(self._connection, datetime.now(UTC)) if one.verdict == "mend"]
        told = "; ".join(f"{one.what}: {one.found}; {one.to_do}" for one in found)
        if told != self._said:
            style, line = ("yellow", told) if told else ("", f"{self._connection.superlink} answers again")
            errors.print(line, style=style, markup=False, soft_wrap=True)
        self._said = told

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look now, and then every `every_s` seconds until the block ends."""
        fingerprint = public_half(Path(self._connection.node_key)).fingerprint
        told = f"node of {self._connection.site}; the server lets it in once it has registered the key {fingerprint}"
        console.print(told, markup=False, soft_wrap=True)
        ended = threading.Event()

        def watch() -> None:
            self.look()
            while not ended.wait(self.every_s):
                self.look()

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()


def approve(config: SiteApprove) -> None:
    from cmrfed.door.decisions import Decisions

    decisions = Decisions(_folder(config.home))
    bundles = decisions.bundles
    if config.own:
        _approve(decisions, _own(bundles), config.yes)
    elif config.bundle is None:
        _list(bundles)
    elif config.withdraw:
        decisions.withdraw(config.bundle)
        console.print(f"{config.bundle} may ask no longer", soft_wrap=True)
    else:
        _approve(decisions, config.bundle, config.yes)


def _own(bundles: "Bundles") -> str:
    """The bundle of this installation's own app, once it is among those that can be read."""
    from cmrfed import apps
    from cmrfed.apps.client.bundle import bundle_of

    bundle = bundle_of(apps.FOLDER)
    bundles.admits(bundle)
    return hashlib.sha256(bundle).hexdigest()


def _list(bundles: "Bundles") -> None:
    for digest in bundles.approved:
        console.print(f"approved  {digest}", soft_wrap=True)
    for digest in bundles.waiting():
        console.print(f"waits     {digest}", soft_wrap=True)
    if not bundles.approved and not bundles.waiting():
        console.print("no app has asked yet, and none is approved")


def _approve(decisions: "Decisions", digest: str, yes: bool) -> None:
    for line in decisions.bundles.changes(digest):
        console.print(_coloured(line), soft_wrap=True)
    if not yes:
        if not sys.stdin.isatty():
            raise UserError("yes: nobody is at a terminal to ask; read the bundle, then give yes=true")
        if console.input("Let it ask this site? Type yes: ").strip() != "yes":
            console.print("not approved")
            return
    decisions.approve(digest)
    console.print(f"{digest} may ask from now on", soft_wrap=True)


def _coloured(line: str) -> Text:
    text = safe_text(line)
    text.stylize({"+": "green", "-": "red", "@": "cyan"}.get(line[:1], ""))
    return text


def journal(config: SiteJournal) -> None:
    from cmrfed.door.journal import read_journal

    lines = list(read_journal(_folder(config.home) / "journal.jsonl"))
    table = Table("time", "asked", "run", "round", "decided", "in", "out", "why", box=box.SIMPLE)
    for line in lines[-config.rows :]:
        when = f"{datetime.fromtimestamp(line['time']):%Y-%m-%d %H:%M:%S}"
        sizes = [str(line.get(name, "")) for name in ("bytes_in", "bytes_out")]
        texts = [str(line.get(name, "")) for name in ("action", "run", "round", "decision")]
        table.add_row(when, *map(safe_text, [*texts, *sizes, str(line.get("reason", ""))]))
    console.print(table)
    console.print(f"{len(lines)} lines, each following from the one before")


def watch(config: SiteWatch) -> None:
    from cmrfed.door.decisions import Decisions
    from cmrfed.watching.pages import hospital_page
    from cmrfed.watching.web import LOOPBACK, serve

    page = hospital_page(Decisions(_folder(config.home), "page"))
    serve(page, LOOPBACK, config.port, secret=True, say=say)


def pause(config: SitePause) -> None:
    from cmrfed.door.decisions import Decisions

    made = Decisions(_folder(config.home)).pause(config.why)
    say(f"{config.home}: {made}")
    say(f"every question is refused until: cmrfed site resume home={config.home}")


def resume(config: SiteResume) -> None:
    from cmrfed.door.decisions import Decisions

    ended = Decisions(_folder(config.home)).resume()
    say(f"{config.home}: answers again; it was {ended}" if ended else f"{config.home}: was not paused")


def _folder(home: str) -> Path:
    folder = Path(home).expanduser().resolve()
    if not (folder / "site.yaml").exists():
        raise UserError(f"{folder / 'site.yaml'}: is missing; `cmrfed prepare home={home}` writes one to edit")
    return folder
