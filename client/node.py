"""`cmrfed site node`: Flower's SuperNode, and in the place of its executor one that runs nobody's code but the relay of
this installation.

A SuperNode left to itself installs and runs whatever app a run brings. This one starts it with isolation "process",
which leaves the running to somebody else, and takes its tasks here: the bundle of a task is shown to the site's door,
and only if the engineer approved it is the message carried on, by `client.app` as it is installed here. The bundle
itself is never run, nor unpacked.
"""

import logging
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import httpx
from flwr.app import Context, Message
from flwr.common.constant import SubStatus
from flwr.proto.runtime_pb2 import AcquireTaskRequest, SendTaskHeartbeatRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.protobuf.client import ProtobufClientInterceptor
from flwr.supercore.retry import make_simple_http_retry_invoker
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode.runtime.run_clientapp import pull_task_input, push_message, push_task_output

from cmrfed.config import UserError
from cmrfed.core.processes import guarded, stop
from cmrfed.door import BUNDLE, Question, refusal
from cmrfed.door.sockets import ask
from cmrfed.provision.server_files import QUIET

from .app import PATIENCE_S, app, content_of

_log = logging.getLogger("cmrfed.node")

_POLL_S = 0.5
_HEARTBEAT_S = 10.0
_LEAST_WAIT_S, _MOST_WAIT_S = 5.0, 60.0
"""Until a SuperNode that ended is started again."""
_TASKS = [TaskType.CLIENT_APP.value, TaskType.AGENT_APP.value]
"""All that a SuperNode waits for; of these, agents are refused."""


def run_node(superlink: str, door: Path, options: Sequence[str]) -> NoReturn:
    """Be a node of the SuperLink at HOST:PORT for the site whose door is at this socket, until interrupted.

    options: Flower's own, as certificates and keys. A SuperNode that ends is started again: it gives up on much that
    passes, as on a server's certificate that has expired and will be renewed.
    """
    wait_s = _LEAST_WAIT_S
    while True:
        began = time.monotonic()
        code = _run_supernode(superlink, door, options)
        wait_s = _LEAST_WAIT_S if time.monotonic() - began > _MOST_WAIT_S else min(2 * wait_s, _MOST_WAIT_S)
        _log.warning("the SuperNode ended with exit code %d; it is started again in %d s", code, wait_s)
        time.sleep(wait_s)


def _run_supernode(superlink: str, door: Path, options: Sequence[str]) -> int:
    """Do a SuperNode's tasks for as long as it runs; its exit code."""
    with _supernode(superlink, options) as (process, address, secret):
        executor = Executor(address, secret, door)
        while process.poll() is None:
            if not executor.step():
                time.sleep(_POLL_S)
        return int(process.returncode)


@contextmanager
def _supernode(superlink: str, options: Sequence[str]) -> Iterator[tuple["subprocess.Popen[bytes]", str, bytes]]:
    """A SuperNode; yields it, the loopback address at which it hands out tasks, and the secret that it asks for
    there, which other processes of this machine do not have."""
    with tempfile.TemporaryDirectory(prefix="cmrfed-node-") as folder:
        secret, file = secrets.token_bytes(32), Path(folder) / "secret"
        file.touch(mode=0o600)
        file.write_bytes(secret)
        with socket.create_server(("127.0.0.1", 0)) as bound:
            port = bound.getsockname()[1]
        command = [sys.executable, "-P", "-m", "cmrfed.apps.client.supernode_process", "--superlink", superlink]
        command += ["--isolation", "process", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--superexec-auth-secret-file", str(file), *options]
        process = subprocess.Popen(guarded(command), env={**os.environ, **QUIET})
        try:
            yield process, f"127.0.0.1:{port}", secret
        finally:
            stop(process)


class Executor:
    """Takes a SuperNode's tasks, one at a time."""

    def __init__(self, address: str, secret: bytes, door: Path) -> None:
        self._address, self._door = address, door
        sign = SuperExecAuthHttpInterceptor(
            master_secret=secret, protected_methods=frozenset({"/flwr.proto.Runtime/AcquireTask"})
        )
        own = RuntimeVersionHttpInterceptor(component_name="SuperExec")
        # whether the SuperNode still runs is looked at between two tries
        self._tasks = self._client([own, sign], patient=False)

    def step(self) -> bool:
        """Do the next task; False where there is none."""
        try:
            found = self._tasks.AcquireTask(AcquireTaskRequest(supported_task_types=_TASKS))
        except httpx.HTTPError as error:
            _log.debug("the SuperNode hands out no tasks: %s", error)
            return False
        if not found.token:
            return False
        self._do(found.token, is_app=found.task.type == TaskType.CLIENT_APP)
        return True

    def _do(self, token: str, is_app: bool) -> None:
        own = RuntimeVersionHttpInterceptor(component_name="flwr-clientapp")
        client = self._client([own, RuntimeTokenHttpInterceptor(token)])
        try:
            with _alive(client):
                message, context, _, bundle = pull_task_input(client)
                reply = self._reply(message, context, bundle.content) if is_app else _refused(message)
                push_message(client, reply, context)
                push_task_output(client, context, SubStatus.COMPLETED, "")
        except Exception as error:  # a SuperNode that went away, or a message that is none: nothing to say to anybody
            _log.warning("a task was not done: %s: %s", type(error).__name__, error)
            push_task_output(client, None, SubStatus.FAILED, "")
        finally:
            client.close()

    def _reply(self, message: Message, context: Context, bundle: bytes) -> Message:
        """What the door answers to an approved app; the constant refusal for any other."""
        try:
            admitted = not ask(self._door, Question(action=BUNDLE, arrays={"bundle": bundle}), PATIENCE_S).refused
        except UserError as error:
            _log.warning("not answered: %s", error)
            return _refused(message)
        context.node_config = {"socket": str(self._door)}
        return app(message, context) if admitted else _refused(message)

    def _client(self, interceptors: Sequence[ProtobufClientInterceptor], patient: bool = True) -> RuntimeHttpClient:
        return RuntimeHttpClient.from_server_address(
            server_address=self._address,
            insecure=True,  # within this machine's loopback
            root_certificates=None,
            interceptors=list(interceptors),
            retry_invoker=make_simple_http_retry_invoker() if patient else None,
        )


def _refused(message: Message) -> Message:
    return Message(content_of(refusal()), reply_to=message)


@contextmanager
def _alive(client: RuntimeHttpClient) -> Iterator[None]:
    """Tell the SuperNode that its task is being worked on, for as long as the block takes."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(_HEARTBEAT_S):
            try:
                client.SendTaskHeartbeat(SendTaskHeartbeatRequest())
            except httpx.HTTPError as error:
                _log.warning("the SuperNode does not hear of its task: %s", error)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
