"""An invitation says what it said when it was written, or is refused."""

import base64
import hashlib
import io
import json
from datetime import timedelta

import pytest
import zxingcpp
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from provisioned import NOW, invitation_of, provisioned
from refusals import refuses

from cmrfed.config import UserError
from cmrfed.provision import Invitation, read_invitation
from cmrfed.provision.certificates import Authority, certificate_fingerprint, new_key
from cmrfed.provision.invitation import qr_code


@pytest.fixture(scope="module")
def invitation(tmp_path_factory):
    return invitation_of(provisioned(tmp_path_factory.mktemp("federation")), "South 2")


def rewritten(invitation, **changes):
    """The text of somebody who knows how invitations are written, checksum included."""
    values = json.dumps(invitation.model_dump(mode="json") | changes)
    payload = base64.urlsafe_b64encode(values.encode()).decode().rstrip("=")
    return checked(payload)


def checked(payload):
    return f"cmrfed-invitation-1.{payload}.{hashlib.sha256(payload.encode()).hexdigest()[:16]}"


letters = st.characters(categories=["L", "Nd"], include_characters="_")
names = st.builds("{}{}{}".format, letters, st.text(letters | st.sampled_from(" .-"), max_size=57), letters)


@given(name=names, site=names, days=st.integers(1, 365), code=st.binary(min_size=16, max_size=16), data=st.data())
def test_whatever_is_written_is_read_again_from_any_mail(invitation, name, site, days, code, data):
    changes = {"federation": name, "site": site, "code": code.hex(), "expires": NOW + timedelta(days=days)}
    written = Invitation.model_validate(invitation.model_dump() | changes)
    cut = data.draw(st.integers(1, len(written.text) - 1))
    for text in (written.text, f"Dear all,\n\n{written.text[:cut]}\r\n{written.text[cut:]}\n\nYours, A. B."):
        assert read_invitation(text, "mail", NOW) == written


@given(data=st.data())
def test_one_changed_character_is_refused(invitation, data):
    text = invitation.text
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda letter: letter != text[place]))
    with pytest.raises(UserError):
        read_invitation(text[:place] + other + text[place + 1 :], "mail", NOW)


@given(text=st.text())
def test_anything_else_is_refused_in_one_line(text):
    payload = base64.urlsafe_b64encode(text.encode("utf-8", "surrogatepass")).decode().rstrip("=")
    for written in (text, checked(payload or "x")):
        with refuses("mail"):
            read_invitation(written, "mail", NOW)


def test_an_invitation_ends_to_the_second(invitation):
    assert invitation.expires == NOW + timedelta(days=14)
    read_invitation(invitation.text, "mail", invitation.expires - timedelta(seconds=1))
    with refuses("mail", "ended on 2030-05-15", "rotate site='South 2'"):
        read_invitation(invitation.text, "mail", invitation.expires)


def test_a_certificate_that_is_not_the_one_the_fingerprint_says_is_refused(invitation):
    other = Authority.create("hearts", new_key(), 365, NOW).certificate
    swapped = Invitation.model_validate(
        invitation.model_dump() | {"authority": base64.b64encode(other.public_bytes(Encoding.DER)).decode()}
    )
    with refuses(certificate_fingerprint(other), invitation.fingerprint):
        read_invitation(swapped.text, "mail", NOW)
    with refuses("certificate cannot be read"):
        read_invitation(rewritten(invitation, authority="AAAA"), "mail", NOW)


@pytest.mark.parametrize(
    "changes",
    [
        {"site": "../North"},
        {"site": "."},
        {"superlink": "evil.example/path:1"},
        {"version": 2},
        {"code": "short"},
        {"expires": "2031-01-01T00:00:00"},
        {"more": 1},
    ],
)
def test_what_somebody_else_wrote_may_hold_nothing_but_what_invitations_hold(invitation, changes):
    with refuses("mail", next(iter(changes))):
        read_invitation(rewritten(invitation, **changes), "mail", NOW)


def scanned(picture):
    """What a camera reads, from another library than the one that draws."""
    (code,) = zxingcpp.read_barcodes(Image.open(io.BytesIO(picture)).convert("L").rotate(7, expand=True, fillcolor=255))
    return code.text


@pytest.mark.parametrize(("site", "servers"), [("North", ["fed.example.org"]), ("Ü" * 60, ["a" * 60 + ".example.org"])])
def test_an_invitations_qr_code_is_read_as_the_invitation(tmp_path, site, servers):
    made = provisioned(tmp_path / "federation", sites=[site], servers=servers)
    picture = made.invitation(site).with_suffix(".png").read_bytes()
    assert read_invitation(scanned(picture), "camera", NOW) == invitation_of(made, site)


def test_what_fits_no_qr_code_is_sent_as_text_alone(tmp_path):
    assert qr_code("cmrfed-invitation-1." + "x" * 3000) is None
    assert scanned(qr_code("x" * 2953)) == "x" * 2953, "the longest that fits"
