"""Messages between two accounts of one machine, over a local socket, which no network reaches.

A message is its length, eight bytes, the most significant first, and then as many bytes. Who connects is told by the
kernel (SO_PEERCRED, unix(7)), not by what is said.
"""

import socket
import struct
import time
from dataclasses import dataclass
from pathlib import Path

from cmrfed.config import UserError
from cmrfed.door.messages import Answer, Question, packed, unpacked

_LENGTH = struct.Struct(">Q")
_CREDENTIALS = struct.Struct("3i")
_CONNECT_TIMEOUT_S = 10
_LOOK_EVERY_S = 0.5
_TRIES = 3
"""Of one question, if the door ends at work: it may be the question that ends it."""
_LARGEST_ANSWER = 4 * 2**30


@dataclass(frozen=True)
class Peer:
    """The process at the other end, and the account it runs under."""

    process: int
    account: int


def peer_of(connection: socket.socket) -> Peer:
    """Who connected, as the kernel has it."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process, account, _ = _CREDENTIALS.unpack(found)
    return Peer(process, account)


def ask(path: Path, question: Question, patience_s: float = 0.0) -> Answer:
    """What the door behind this socket answers, however long that takes.

    With `patience_s`, a door that is away is waited for as long, and one that ends at work is asked again when it is
    back: the same question costs nothing twice. Raises UserError where nobody answers, and where the answer is none.
    """
    found: OSError = ConnectionError("nobody was there")
    for _ in range(_TRIES if patience_s else 1):
        try:
            with _connected(path, patience_s) as connection:
                send(connection, packed(question))
                return unpacked(Answer, receive(connection, _LARGEST_ANSWER))
        except OSError as error:
            found = error
    raise UserError(
        f"{path}: nobody answers there ({found.strerror or found}); start `cmrfed site serve` with this socket, and "
        "let this account ask (node_account)"
    )


def _connected(path: Path, patience_s: float) -> socket.socket:
    """A connection, once there is somebody to connect to. Raises OSError where nobody comes in time."""
    until = time.monotonic() + patience_s
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(_CONNECT_TIMEOUT_S)
            connection.connect(str(path))
            connection.settimeout(None)
            return connection
        except OSError:
            connection.close()
            if time.monotonic() >= until:
                raise
            time.sleep(_LOOK_EVERY_S)


def send(connection: socket.socket, message: bytes) -> None:
    """A message, whole."""
    connection.sendall(_LENGTH.pack(len(message)))
    connection.sendall(message)


def receive(connection: socket.socket, largest: int) -> bytes:
    """The next message. Raises UserError, before reading it, for one of more than `largest` bytes, and ConnectionError
    where it ends early."""
    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    if length > largest:
        raise UserError(f"a message of {length} bytes is larger than the allowed {largest}")
    return bytes(_exactly(connection, length))


def _exactly(connection: socket.socket, length: int) -> bytearray:
    """So many bytes. Memory grows with what has come, not with what was promised."""
    found = bytearray()
    while len(found) < length:
        part = connection.recv(min(1 << 20, length - len(found)))
        if not part:
            raise ConnectionError("the message ended early")
        found += part
    return found
