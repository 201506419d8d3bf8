"""A provisioned federation in real processes on loopback: who gets in, who does not, and what the proxy refuses."""

from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest
from federations import Federation, wait_for_words
from proxies import MISSING, NGINX

from cmrfed.provision import Coordinator
from cmrfed.provision.node_key import read_node_key


@pytest.mark.skipif(not NGINX, reason=MISSING)
def test_a_registered_sites_node_gets_in_and_no_other_and_nobody_reaches_control_from_outside(tmp_path):
    with ExitStack() as stack:
        here = Federation(tmp_path, stack)
        log = here.serve()
        here.join("South")
        west_key = here.join("West").public.read_text()
        here.coordinator.register("West", key := read_node_key(west_key, "mail"), key.fingerprint, datetime.now(UTC))
        assert "lets in North, West" in here.join_and_register("North")

        outside, inside = here.ports["proxy"], here.ports["superlink"]
        north, west = here.node("North"), here.node("West")
        unregistered, keyless = here.node("South"), here.node("South", key=False)
        other = Coordinator.provision(tmp_path / "other", here.coordinator.description, datetime.now(UTC))
        impostor = here.node("North", authority=other.server / "ca.crt")
        for log_of_node in (north, west):
            wait_for_words(r"SuperNode ID: \d+", log_of_node)
        wait_for_words(r"/v1/fleet/activate-node HTTP/1.\d\" 412", log)
        wait_for_words(r"/v1/fleet/register-node HTTP/1.\d\" 4\d\d", log)
        for refused in (unregistered, keyless, impostor):
            wait_for_words("Connection attempt failed", refused)

        here.cmrfed("provision", "revoke", "site=West", "folder=federation")
        wait_for_words("shutdown complete", west)
        assert sorted(here.nodes_of_superlink().values()) == ["online", "unregistered"]
        again = here.node("West")
        wait_for_words("Connection attempt failed", again)

        assert here.ask(outside, "/v1/control/list-runs") == 404
        assert here.ask(inside, "/v1/control/list-runs") == 200
        assert here.ask(outside, "/v1/fleet/activate-node") == here.ask(inside, "/v1/fleet/activate-node") == 401
        now = datetime.now(UTC)
        told = {hours: here.ask_as("North", now + timedelta(hours=hours)) for hours in (0, -1, 1)}
        assert told[0] != 401 and told[-1] == told[1] == 401, "a clock in the past, or what was said an hour ago again"
        for shut_out in (unregistered, keyless, impostor, again):
            assert "SuperNode ID" not in shut_out.read_text()
        assert "SuperNode ID" in north.read_text() and "shutdown" not in north.read_text()


@pytest.mark.skipif(not NGINX, reason=MISSING)
def test_by_the_containers_files_the_same_get_in_and_no_other(tmp_path):
    with ExitStack() as stack:
        here = Federation(tmp_path, stack)
        log = here.serve("container")
        assert "lets in North" in here.join_and_register("North")
        here.join("South")
        north, south = here.node("North"), here.node("South")
        wait_for_words(r"SuperNode ID: \d+", north)
        wait_for_words("Connection attempt failed", south)
        assert here.ask(here.ports["proxy"], "/v1/control/list-runs") == 404
        assert here.ask(here.ports["superlink"], "/v1/control/list-runs") == 200
        assert (
            tmp_path / "state" / "superlink.db"
        ).exists() and "Uvicorn running on https://127.0.0.1" in log.read_text()
        given = here.coordinator.server / "containers" / "flwr" / "config.toml"
        assert (tmp_path / "state" / "flwr" / "config.toml").read_text() == given.read_text()
