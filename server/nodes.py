"""Which nodes the SuperLink lets in, exactly those whose keys the coordinator has registered; and who is connected."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flwr.proto.control_pb2 import ListNodesRequest, RegisterNodeRequest, UnregisterNodeRequest
from flwr.proto.node_pb2 import NodeInfo
from flwr.supercore.control import ControlHttpClient

from cmrfed.provision.invited import NodeSeen

from .control import control

_GONE = "unregistered"
"""Of a node that was let in once; Flower never takes its key again."""
_CONNECTED = "online"


@dataclass(frozen=True)
class NodesAdmitted:
    """What the SuperLink was told: sites that it lets in from now on, how many nodes it shut out, and sites whose keys
    it had shut out before, for good. `nodes`: of all that it lets in, the site by the number it gives the node."""

    let_in: tuple[str, ...]
    shut_out: int
    refused: tuple[str, ...]
    nodes: Mapping[int, str]


def admit(address: str, authority: Path, keys: Mapping[str, bytes]) -> NodesAdmitted:
    """Let the nodes with these keys in, PEM by site, and no others; who is in already stays.

    Raises UserError as `control` does.
    """
    with control(address, authority) as client:
        return _admit(client, keys)


def nodes_seen(address: str, authority: Path) -> dict[bytes, NodeSeen]:
    """By public key, PEM, the nodes that may connect, and whether they are connected. Raises UserError as `admit`."""
    with control(address, authority) as client:
        known, now = client.ListNodes(ListNodesRequest()).nodes_info, time.time()
    return {node.public_key: _seen(node, now) for node in known if node.status != _GONE}


def _seen(node: NodeInfo, now: float) -> NodeSeen:
    last = min(node.online_until, now) if node.HasField("online_until") else None
    return NodeSeen(connected=node.status == _CONNECTED, last_seen=last)


def _admit(client: ControlHttpClient, keys: Mapping[str, bytes]) -> NodesAdmitted:
    """Out first, then in: an interruption leaves too few in, never too many."""
    known = list(client.ListNodes(ListNodesRequest()).nodes_info)
    present = [node for node in known if node.status != _GONE]
    strangers = [node for node in present if node.public_key not in keys.values()]
    for node in strangers:
        client.UnregisterNode(UnregisterNodeRequest(node_id=node.node_id))
    gone = _keys(known) - _keys(present)
    missing = [name for name, key in keys.items() if key not in _keys(known)]
    for name in missing:
        client.RegisterNode(RegisterNodeRequest(public_key=keys[name], name=name))
    refused = tuple(name for name, key in keys.items() if key in gone)
    names = {key: name for name, key in keys.items()}
    let_in = [node for node in client.ListNodes(ListNodesRequest()).nodes_info if node.status != _GONE]
    nodes = {node.node_id: names[node.public_key] for node in let_in if node.public_key in names}
    return NodesAdmitted(tuple(missing), len(strangers), refused, nodes)


def _keys(nodes: list[NodeInfo]) -> set[bytes]:
    return {node.public_key for node in nodes}
