"""What a coordinator knows of its sites over all runs: whose node is whose, and where each site's ledger stood."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cmrfed.config import UserError
from cmrfed.core import atomic

_NODES, _HEADS = "nodes.json", "ledger_heads.json"


@dataclass(frozen=True)
class Register:
    """A folder of the coordinator's own:

    nodes.json         node's number -> the site whose key the SuperLink lets that node in by
    ledger_heads.json  site -> the last head of its ledger that it told. It is said to the site again in each round:
                       a ledger that does not know it any more was restored from a backup, copied, or is another

    Without a folder nothing is known, as in a simulation: a site is whoever uses its name, and no head is kept.
    """

    folder: Path | None = None

    @property
    def nodes(self) -> Mapping[int, str] | None:
        """Site by node's number, as of now; None where any node may be any site.

        Raises UserError where the file is missing: no name may then be believed.
        """
        if self.folder is None:
            return None
        path = self.folder / _NODES
        if not path.exists():
            raise UserError(f"{path}: is missing; cmrfed provision admit writes it")
        return {int(node): site for node, site in _read(path).items()}

    def among(self, connected: Iterable[int], sites: Collection[str]) -> list[int]:
        """Of the nodes that are connected, those of these sites; where any node may be any site, all of them."""
        known = self.nodes
        return [node for node in connected if known is None or known.get(node) in sites]

    def set_nodes(self, nodes: Mapping[int, str]) -> None:
        """Remember whose key the SuperLink knows each node by."""
        self._write(_NODES, {str(node): site for node, site in sorted(nodes.items(), key=lambda one: one[1])})

    @property
    def heads(self) -> Mapping[str, str]:
        """The last head that each site told, hex."""
        path = self.folder / _HEADS if self.folder else None
        return _read(path) if path and path.exists() else {}

    def keep_heads(self, heads: Mapping[str, str]) -> None:
        """Remember these, durably, instead of those that the same sites told before."""
        if self.folder and heads:
            self._write(_HEADS, dict(sorted({**self.heads, **heads}.items())))

    def _write(self, name: str, values: Mapping[str, str]) -> None:
        if self.folder is None:
            raise ValueError("a register without a folder keeps nothing")
        atomic.write_text(self.folder / name, json.dumps(values, indent=2, ensure_ascii=False), mode=atomic.PRIVATE)


def _read(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: cannot be read ({error}); put the last copy of it back") from None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise UserError(f"{path}: is no list of names; put the last copy of it back")
    return found
