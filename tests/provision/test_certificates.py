"""Certificates, read by OpenSSL and by Python's ssl rather than by what made them."""

import contextlib
import socket
import ssl
import subprocess
import threading
from datetime import UTC, datetime, timedelta

import pytest
from provisioned import NOW, provisioned
from refusals import refuses

from cmrfed.provision.certificates import Authority, certificate_fingerprint, new_key


def openssl(*words):
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def verified(coordinator, authority, when=NOW, name="fed.example.org"):
    server = coordinator.server / "server.pem"
    words = ["-x509_strict", "-purpose", "sslserver", "-attime", int(when.timestamp()), "-verify_hostname", name]
    return openssl("verify", *words, "-CAfile", authority.server / "ca.crt", server)


@pytest.fixture(scope="module")
def coordinator(tmp_path_factory):
    return provisioned(tmp_path_factory.mktemp("here") / "federation")


@pytest.fixture(scope="module")
def another(tmp_path_factory):
    return provisioned(tmp_path_factory.mktemp("there") / "federation")


@pytest.mark.parametrize("name", ["fed.example.org", "localhost"])
def test_openssl_takes_the_server_under_each_of_its_names(coordinator, name):
    code, said = verified(coordinator, coordinator, name=name)
    assert code == 0, said


def test_names_longer_than_a_certificate_has_room_for_are_cut_there_and_the_server_is_known_by_them_whole(tmp_path):
    server = ".".join(["a" * 60, "b" * 60, "example.org"])
    made = provisioned(tmp_path / "federation", name="ü" * 60, servers=[server])
    code, said = verified(made, made, name=server)
    assert code == 0, said


def test_openssl_takes_the_server_under_its_addresses(coordinator):
    for address in ("192.0.2.7", "127.0.0.1", "::1"):
        words = ["-attime", int(NOW.timestamp()), "-verify_ip", address, "-CAfile", coordinator.server / "ca.crt"]
        assert openssl("verify", *words, coordinator.server / "server.pem")[0] == 0, address


def test_another_name_another_authority_and_another_time_are_refused(coordinator, another):
    assert "hostname mismatch" in verified(coordinator, coordinator, name="evil.example.org")[1].lower()
    assert verified(coordinator, another)[0] != 0, "same names, another key"
    assert "expired" in verified(coordinator, coordinator, when=NOW + timedelta(days=366))[1]
    assert "not yet valid" in verified(coordinator, coordinator, when=NOW - timedelta(days=1))[1]


def test_the_authority_signs_servers_alone_and_a_server_signs_nobody(coordinator):
    authority = openssl("x509", "-noout", "-text", "-in", coordinator.server / "ca.crt")[1]
    assert "CA:TRUE, pathlen:0" in authority
    assert "Certificate Sign, CRL Sign" in authority and "Digital Signature" not in authority
    server = openssl("x509", "-noout", "-text", "-in", coordinator.server / "server.pem")[1]
    assert "CA:FALSE" in server and "TLS Web Server Authentication" in server and "Client" not in server
    assert authority.count("critical") == server.count("critical") == 2
    for extension in ("Subject Key Identifier", "Authority Key Identifier"):
        assert extension in authority and extension in server


def test_the_fingerprint_is_the_beginning_of_what_openssl_prints(coordinator):
    words = ["-noout", "-fingerprint", "-sha256", "-in", coordinator.server / "ca.crt"]
    digits = openssl("x509", *words)[1].strip().partition("=")[2].replace(":", "").lower()
    assert certificate_fingerprint(coordinator.authority).replace("-", "") == digits[:32]


def test_a_server_never_outlives_its_authority_and_a_dead_authority_signs_nothing():
    made = Authority.create("hearts", new_key(), days=10, now=NOW)
    pem = made.server_certificate(["a.example"], 365, NOW)
    ends = ssl.cert_time_to_seconds(_field(pem, "-enddate"))
    assert ends == (NOW + timedelta(days=10)).timestamp()
    with refuses("ended on 2030-05-11", "new folder"):
        made.server_certificate(["a.example"], 365, NOW + timedelta(days=10))


def _field(pem, which):
    done = subprocess.run(["openssl", "x509", "-noout", which], input=pem, capture_output=True, check=True)
    return done.stdout.decode().strip().partition("=")[2]


def handshake(server_pem, authority):
    """What a client that trusts `authority` alone says to a server on loopback; None where it is satisfied."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server_pem)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = threading.Thread(target=_accept_one, args=(listening, context))
        serving.start()
        try:
            trusting = ssl.create_default_context(cafile=str(authority))
            with socket.create_connection(listening.getsockname(), timeout=10) as raw:
                trusting.wrap_socket(raw, server_hostname="localhost").close()
        except ssl.SSLError as error:
            return error
        finally:
            serving.join()
    return None


def _accept_one(listening, context):
    raw, _ = listening.accept()
    with raw, contextlib.suppress(OSError):
        context.wrap_socket(raw, server_side=True).close()


def test_a_tls_client_that_trusts_the_authority_connects_and_one_that_trusts_another_does_not(tmp_path):

    here, there = (provisioned(tmp_path / name, datetime.now(UTC)) for name in ("here", "there"))
    assert handshake(here.server / "server.pem", here.server / "ca.crt") is None
    refused = handshake(here.server / "server.pem", there.server / "ca.crt")
    assert isinstance(refused, ssl.SSLCertVerificationError)
