"""Messages between two accounts of one machine, over a local socket, which no network reaches.

A message is its length, eight bytes, the most significant first, and then as many bytes. Who connects is told by the
kernel (SO_PEERCRED, unix(7)), not by what is said.
"""

import socket
import struct
from dataclasses import dataclass
from pathlib import Path

from cmrfed.config import UserError
from cmrfed.door.messages import Answer, Question, packed, unpacked

_LENGTH = struct.Struct(">Q")
_CREDENTIALS = struct.Struct("3i")
_CONNECT_TIMEOUT_S = 10
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


def ask(path: Path, question: Question) -> Answer:
    """What the door behind this socket answers, however long that takes.

    Raises UserError where nobody answers there, and where the answer is none.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_CONNECT_TIMEOUT_S)
            connection.connect(str(path))
            connection.settimeout(None)
            send(connection, packed(question))
            return unpacked(Answer, receive(connection, _LARGEST_ANSWER))
    except OSError as error:
        raise UserError(
            f"{path}: nobody answers there ({error.strerror or error}); start `cmrfed site serve` with this socket, "
            "and let this account ask (node_account)"
        ) from None


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
