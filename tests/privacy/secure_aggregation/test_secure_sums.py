"""The unmasked sum is the survivors' plain sum, whoever drops out; and a masked vector is what the paper says."""

import hashlib
import json

import numpy as np
import pytest
from Crypto.Cipher import ChaCha20
from Crypto.Hash import SHA256
from Crypto.Protocol.DH import import_x25519_private_key, import_x25519_public_key, key_agreement
from Crypto.Protocol.KDF import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st
from played_rounds import Round, zeros
from refusals import refuses

from cmrfed.privacy.secure_aggregation import unmask


@st.composite
def rounds_with_dropouts(draw):
    """Sites, how many may drop, and who does: before sharing, before masking, before confirming."""
    sites = draw(st.integers(3, 6))
    dropouts = draw(st.integers(0, (sites - 1) // 2))
    names = [chr(ord("a") + number) for number in range(sites)]
    leavers = draw(st.lists(st.sampled_from(names), unique=True, max_size=dropouts))
    phases = [draw(st.sampled_from(["share", "mask", "confirm"])) for _ in leavers]
    length = draw(st.integers(1, 5))
    largest = (2**31 - 1) // sites
    entries = st.one_of(st.sampled_from([-largest, largest]), st.integers(-largest, largest))
    vectors = draw(st.lists(st.lists(entries, min_size=length, max_size=length), min_size=sites, max_size=sites))
    values = {name: np.array(vector, dtype=np.int64) for name, vector in zip(names, vectors, strict=True)}
    return sites, dropouts, dict(zip(leavers, phases, strict=True)), values


@settings(max_examples=40, deadline=None)
@given(rounds_with_dropouts())
def test_the_sum_is_that_of_the_survivors_whoever_drops_out_within_the_allowed(case):
    sites, dropouts, leaves, values = case
    senders = [name for name in values if leaves.get(name) != "share"]
    survivors = {name: values[name] for name in senders if leaves.get(name) != "mask"}
    late = [name for name, phase in leaves.items() if phase == "confirm"]
    total = Round(sites, dropouts).run(survivors, senders, late)
    assert total.dtype == np.int64
    np.testing.assert_array_equal(total, sum(survivors.values()))


def test_a_vector_longer_than_one_block_of_keystream_sums_as_well():
    round = Round(3, dropouts=1)
    values = {name: np.arange(300_001) * (number - 1) for number, name in enumerate("abc")}
    survivors = {name: values[name] for name in "ac"}
    np.testing.assert_array_equal(round.run(survivors, "abc"), np.zeros(300_001))


@pytest.mark.parametrize("value", [2**31 // 3 + 1, -(2**31) // 3 - 1, 2**62, -(2**63)])
def test_values_that_could_wrap_the_sum_are_refused_and_the_site_may_send_others(value):
    round = Round(3)
    post = round.share()
    before = round.participants["a"].to_json()
    with refuses("mask: a", value, (2**31 - 1) // 3):
        round.mask({"a": np.array([0, value, 0])}, post)
    assert round.participants["a"].to_json() == before
    np.testing.assert_array_equal(round.run(zeros("abc"), "abc"), np.zeros(3))


@pytest.mark.parametrize("count", [1, 300_001], ids=["short", "longer-than-a-block"])
def test_a_masked_vector_is_the_papers_recomputed_with_another_library(count):
    round, values = Round(3), {"b": np.arange(count) * 1000 - 7}
    secrets, offers = round.secrets("b"), {offer.name: offer for offer in round.offers}
    context = roster_digest(round)
    agreed = {peer: x25519(secrets["mask_key"], offers[peer].mask_key) for peer in "ac"}
    self_mask = words(hkdf(bytes.fromhex(secrets["seed"]), "self mask", context, "b"), count)
    with_a = words(hkdf(agreed["a"], "pairwise mask", context, "a", "b"), count)
    with_c = words(hkdf(agreed["c"], "pairwise mask", context, "b", "c"), count)
    masked = round.mask(values, round.share())["b"]
    np.testing.assert_array_equal(masked, (values["b"] + self_mask - with_a + with_c) % 2**32)


def encode(*fields):
    return json.dumps(["cmrfed secure aggregation 1", *fields], separators=(",", ":")).encode()


def roster_digest(round):
    session = round.session
    shared = hashlib.sha256(encode("session", session.request, session.nonce, session.threshold)).hexdigest()
    offers = [offer.model_dump_json() for offer in round.offers]
    return hashlib.sha256(encode("roster", shared, offers)).hexdigest()


def hkdf(secret, *fields):
    return HKDF(secret, 32, b"", SHA256, context=encode(*fields))


def x25519(private, public):
    private = import_x25519_private_key(bytes.fromhex(private))
    return key_agreement(static_priv=private, static_pub=import_x25519_public_key(bytes.fromhex(public)), kdf=bytes)


def words(key, count):
    stream = ChaCha20.new(key=key, nonce=bytes(12)).encrypt(bytes(4 * count))
    return np.frombuffer(stream, dtype="<u4").astype(np.int64)


def test_a_vector_of_another_length_or_from_a_stranger_is_refused_by_name():
    round = Round(3)
    post = round.share()
    masked = round.mask(zeros("abc"), post)
    revealed = round.reveal(round.confirm("abc"))
    with refuses("unmask: c", "(2,)"):
        unmask(round.session, round.offers, list(post), masked | {"c": masked["c"][:2]}, revealed)
    with refuses("unmask: d"):
        unmask(round.session, round.offers, list(post), masked | {"d": masked["c"]}, revealed)
