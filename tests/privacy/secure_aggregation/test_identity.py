"""A hospital's key is written once, for its owner alone, and only its own signatures verify."""

import stat

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from played_rounds import new_identity
from refusals import refuses

from cmrfed.privacy.secure_aggregation import Identity, verify


def test_a_key_is_loaded_as_it_was_created_and_only_its_owner_may_read_it(tmp_path):
    path = tmp_path / "keys" / "identity.pem"
    created = Identity.create(path)
    assert Identity.load(path).public == created.public
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["identity.pem"]


def test_a_key_is_never_overwritten(tmp_path):
    path = tmp_path / "identity.pem"
    created = Identity.create(path)
    with refuses(path, "holds a key already"):
        Identity.create(path)
    assert Identity.load(path).public == created.public


def test_a_missing_damaged_or_foreign_key_is_refused_by_file(tmp_path):
    path = tmp_path / "identity.pem"
    with refuses(path, "cannot be read"):
        Identity.load(path)
    path.write_text("not a key")
    with refuses(path, "is not an unencrypted PEM"):
        Identity.load(path)
    path.write_bytes(X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with refuses(path, "not an Ed25519 key"):
        Identity.load(path)
    with refuses(tmp_path / "file", "cannot be written"):
        (tmp_path / "file").write_text("")
        Identity.create(tmp_path / "file" / "identity.pem")


def test_only_the_signer_and_only_the_message_verify():
    one, other = new_identity(), new_identity()
    signature = one.sign(b"message")
    assert verify(one.public, b"message", signature)
    assert not verify(other.public, b"message", signature)
    assert not verify(one.public, b"another", signature)


@pytest.mark.parametrize(("public", "signature"), [("", "00" * 64), ("zz", "00" * 64), ("00" * 32, "0")])
def test_what_is_no_key_or_no_signature_does_not_verify(public, signature):
    assert not verify(public, b"message", signature)
