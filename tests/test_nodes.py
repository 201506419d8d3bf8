"""The SuperLink is told exactly whose nodes may connect, whatever it knew before."""

import pytest
from flwr.proto.control_pb2 import ListNodesResponse
from flwr.proto.node_pb2 import NodeInfo
from hypothesis import given
from hypothesis import strategies as st
from provisioned import provisioned
from refusals import refuses

from cmrfed.apps.server import nodes
from cmrfed.apps.simulations.flower import free_ports


class SuperLink(nodes.ControlHttpClient):
    """Keeps nodes as Flower's SuperLink does: a key that was shut out is never taken again."""

    def __init__(self, known):
        self.known = dict(known)  # key -> status
        self.told = []

    def ListNodes(self, request):  # noqa: N802 - Flower's name
        numbered = enumerate(self.known.items(), start=1)
        return ListNodesResponse(
            nodes_info=[NodeInfo(node_id=number, public_key=key, status=status) for number, (key, status) in numbered]
        )

    def UnregisterNode(self, request):  # noqa: N802
        key = list(self.known)[request.node_id - 1]
        assert self.known[key] != "unregistered"
        self.known[key] = "unregistered"
        self.told.append("out")

    def RegisterNode(self, request):  # noqa: N802
        assert request.public_key not in self.known, "Public key already in use"
        self.known[request.public_key] = "registered"
        self.told.append("in")

    @property
    def let_in(self):
        return {key for key, status in self.known.items() if status != "unregistered"}


keys = st.sampled_from([b"a", b"b", b"c", b"d", b"e"])
states = st.sampled_from(["registered", "online", "offline", "unregistered"])


@given(
    known=st.dictionaries(keys, states),
    wanted=st.lists(keys, unique=True).map(lambda found: {key.decode().upper(): key for key in found}),
)
def test_whatever_it_knew_the_superlink_lets_in_those_who_are_registered_and_no_others(known, wanted):
    superlink = SuperLink(known)
    told = nodes._admit(superlink, wanted)
    for_good = {key for key, status in known.items() if status == "unregistered"}
    assert superlink.let_in == set(wanted.values()) - for_good
    assert {wanted[name] for name in told.refused} == set(wanted.values()) & for_good
    assert superlink.told == sorted(superlink.told, reverse=True), "out first: an interruption leaves too few in"
    again = nodes._admit(superlink, wanted)
    assert (again.let_in, again.shut_out) == ((), 0)


@pytest.mark.parametrize(
    ("told", "connected", "last_seen"),
    [
        ({"status": "online", "online_until": 130.0}, True, 100.0),
        ({"status": "offline", "online_until": 70.0}, False, 70.0),
        ({"status": "registered"}, False, None),
    ],
)
def test_a_node_is_connected_as_the_superlink_says_and_was_seen_no_later_than_now(told, connected, last_seen):
    seen = nodes._seen(NodeInfo(public_key=b"a", **told), 100.0)
    assert (seen.connected, seen.last_seen) == (connected, last_seen)


def test_where_no_superlink_answers_that_is_said(tmp_path):
    made = provisioned(tmp_path / "federation")
    address = f"127.0.0.1:{free_ports(1)[0]}"
    with refuses(address, "does not answer"):
        nodes.admit(address, made.server / "ca.crt", {})
    with refuses(address, "does not answer"):
        nodes.nodes_seen(address, made.server / "ca.crt")
    with refuses("none.crt", "cannot be read"):
        nodes.nodes_seen(address, tmp_path / "none.crt")


@pytest.mark.parametrize("name", ["ListNodes", "RegisterNode", "UnregisterNode"])
def test_flowers_own_client_has_what_is_asked_of_it(name):
    assert hasattr(nodes.ControlHttpClient, name)
