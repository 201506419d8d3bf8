"""Flower's Control API, as the coordinator on the server's machine uses it: nodes, and runs of this app."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from flwr.cli.build import build_fab_from_disk
from flwr.common.constant import Status, SubStatus
from flwr.common.serde import fab_to_proto, user_config_to_proto
from flwr.proto.control_pb2 import ListRunsRequest, StartRunRequest, StopRunRequest, StreamLogsRequest
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.interceptors.http.runtime_version import RuntimeVersionHttpInterceptor

from cmrfed.config import UserError


@contextmanager
def control(address: str, authority: Path) -> Iterator[ControlHttpClient]:
    """A client of the SuperLink at host:port, whose certificate `authority` signed.

    Raises UserError, within the block, where none answers there or it answers with an error.
    """
    try:
        client = ControlHttpClient.from_server_address(
            server_address=address,
            insecure=False,
            root_certificates=authority.read_bytes(),
            interceptors=[RuntimeVersionHttpInterceptor(component_name="flwr CLI")],
        )
    except OSError as error:
        raise UserError(f"{authority}: cannot be read ({error.strerror or error})") from None
    try:
        yield client
    except httpx.HTTPError as error:
        raise UserError(
            f"the SuperLink at {address} does not answer as it should ({error}); cmrfed server start starts it"
        ) from None
    finally:
        client.close()


@dataclass(frozen=True)
class RunStatus:
    """How a run of the app is: at work or over, and what its end was, in Flower's words."""

    status: str
    end: str = ""
    details: str = ""

    @property
    def over(self) -> bool:
        return self.status == Status.FINISHED

    @property
    def completed(self) -> bool:
        return self.over and self.end == SubStatus.COMPLETED


def start_run(client: ControlHttpClient, apps: Path, run_config: Mapping[str, str | bool]) -> int:
    """Have the apps in a folder run; returns the run's number."""
    content = build_fab_from_disk(apps)
    fab = Fab(hashlib.sha256(content).hexdigest(), content, {})
    asked = StartRunRequest(fab=fab_to_proto(fab), override_config=user_config_to_proto(dict(run_config)))
    told = client.StartRun(asked)
    if not told.HasField("run_id"):
        raise UserError(f"the SuperLink did not take the run ({told.note or 'it says nothing'})")
    return int(told.run_id)


def run_status(client: ControlHttpClient, number: int) -> RunStatus | None:
    """None for a run that this SuperLink does not know."""
    known = client.ListRuns(ListRunsRequest(run_id=number)).run_dict
    if number not in known:
        return None
    status = known[number].status
    return RunStatus(status.status, status.sub_status, status.details)


def stop_run(client: ControlHttpClient, number: int) -> None:
    client.StopRun(StopRunRequest(run_id=number))


def log_of(client: ControlHttpClient, number: int) -> str:
    """What a run that is over has logged."""
    return "".join(part.log_output for part in client.StreamLogs(StreamLogsRequest(run_id=number)))
