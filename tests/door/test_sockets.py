"""What two accounts of one machine say to each other over a local socket."""

import os
import socket
import struct
import threading

import pytest
from refusals import refuses

from cmrfed.door import Answer, Question
from cmrfed.door.messages import packed, unpacked
from cmrfed.door.sockets import ask, peer_of, receive, send


@pytest.fixture
def ends():
    here, there = socket.socketpair(socket.AF_UNIX)
    with here, there:
        yield here, there


def test_a_message_arrives_whole_however_it_is_cut(ends):
    here, there = ends
    message = os.urandom(300_000)
    sender = threading.Thread(target=send, args=(here, message))
    sender.start()
    assert receive(there, len(message)) == message
    sender.join()


def test_a_message_longer_than_allowed_is_refused_before_it_is_read(ends):
    here, there = ends
    here.sendall(struct.pack(">Q", 2**60))
    with refuses(2**60, 1000):
        receive(there, 1000)


def test_a_message_that_ends_early_is_none(ends):
    here, there = ends
    here.sendall(struct.pack(">Q", 10) + b"half")
    here.close()
    with pytest.raises(ConnectionError):
        receive(there, 1000)


def test_the_other_end_is_known_by_the_kernel_and_not_by_what_it_says(ends):
    peer = peer_of(ends[0])
    assert (peer.process, peer.account) == (os.getpid(), os.geteuid())


def test_a_door_that_comes_back_is_asked_again(tmp_path):
    """As after a crash at work: the first that listened took the question and died."""
    path, told = tmp_path / "site.sock", []

    def doors():
        for dies in (True, False):
            path.unlink(missing_ok=True)
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(path))
                listener.listen()
                with listener.accept()[0] as visitor:
                    told.append(unpacked(Question, receive(visitor, 1000)).action)
                    if not dies:
                        send(visitor, packed(Answer(notes={"site": "here"})))

    served = threading.Thread(target=doors, daemon=True)
    served.start()
    assert ask(path, Question(action="train"), patience_s=10.0).notes == {"site": "here"}
    served.join(10)
    assert told == ["train", "train"]


def test_where_nobody_answers_one_line_says_what_to_start(tmp_path):
    with refuses("cmrfed site serve"):
        ask(tmp_path / "site.sock", Question(action="train"))
