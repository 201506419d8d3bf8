"""What the server sees is uniform until it is the whole sum: played as the server, with all that a quorum reveals."""

import itertools

import numpy as np
import pytest
from played_rounds import Round
from scipy import stats

from cmrfed.privacy.secure_aggregation.masks import add_pairwise_masks, add_self_mask
from cmrfed.privacy.secure_aggregation.roster import Roster
from cmrfed.privacy.secure_aggregation.sharing import split

COUNT = 1 << 14
LARGEST = (2**31 - 1) // 4
SURELY = 1e-9
"""So small that a right construction fails once in millions of runs, and a wrong one always."""

INPUTS = {
    "zero": np.zeros(COUNT, dtype=np.int64),
    "largest": np.full(COUNT, LARGEST),
    "smallest": np.full(COUNT, -LARGEST),
    "alternating": np.where(np.arange(COUNT) % 2, LARGEST, -LARGEST),
}


def looks_uniform(vector):
    counts = np.bincount(np.frombuffer(vector.tobytes(), dtype=np.uint8), minlength=256)
    whole = stats.kstest(vector / 2**32, "uniform")
    return min(stats.chisquare(counts).pvalue, whole.pvalue) > SURELY


def masked_by_four(values):
    """A round of four sites that all send `values`; also the secrets they had."""
    round = Round(4, dropouts=1)
    secrets = {name: round.secrets(name) for name in round.names}
    return round, secrets, round.mask(dict.fromkeys(round.names, values), round.share())


def without_self_masks(round, secrets, masked):
    """What is left once the seeds of all these sites are known."""
    context, total = Roster.of(round.session, round.offers).digest, np.zeros(COUNT, dtype=np.uint32)
    for name, vector in masked.items():
        total += vector
        add_self_mask(total, secrets[name]["seed"], name, context, sign=-1)
    return total


@pytest.mark.parametrize("values", INPUTS.values(), ids=INPUTS)
def test_a_masked_vector_is_uniform_whatever_is_in_it(values):
    _, _, masked = masked_by_four(values)
    assert all(looks_uniform(vector) for vector in masked.values())


def test_the_test_of_uniformity_would_notice_an_unmasked_vector():
    assert not any(looks_uniform(values.astype(np.uint32)) for values in INPUTS.values())


def test_masked_vectors_of_unlike_inputs_have_one_distribution():
    _, _, quiet = masked_by_four(INPUTS["zero"])
    _, _, loud = masked_by_four(INPUTS["alternating"])
    assert stats.ks_2samp(quiet["a"], loud["a"]).pvalue > SURELY
    assert stats.ks_2samp(loud["a"][::2], loud["a"][1::2]).pvalue > SURELY


@pytest.mark.parametrize("values", INPUTS.values(), ids=INPUTS)
def test_the_sum_of_some_but_not_all_is_uniform_even_when_every_seed_is_known(values):
    round, secrets, masked = masked_by_four(values)
    for size in (1, 2, 3):
        for some in itertools.combinations(round.names, size):
            part = {name: masked[name] for name in some}
            assert looks_uniform(sum(part.values()))
            assert looks_uniform(without_self_masks(round, secrets, part))
    np.testing.assert_array_equal(without_self_masks(round, secrets, masked), (4 * values).astype(np.uint32))


def test_the_late_vector_of_a_site_declared_dropped_stays_hidden_though_its_mask_key_is_known():
    round, secrets, masked = masked_by_four(INPUTS["zero"])
    roster = Roster.of(round.session, round.offers)
    late = np.zeros(COUNT, dtype=np.uint32)
    peers = [(peer, roster[peer].mask_key) for peer in "abc"]
    add_pairwise_masks(late, secrets["d"]["mask_key"], "d", peers, roster.digest)
    assert looks_uniform(masked["d"] - late)


def test_the_same_input_is_masked_differently_in_every_session():
    _, _, once = masked_by_four(INPUTS["zero"])
    _, _, again = masked_by_four(INPUTS["zero"])
    assert looks_uniform(once["a"] - again["a"])


@pytest.mark.parametrize("secret", ["00" * 32, "ff" * 32])
def test_one_share_less_than_the_threshold_is_uniform_whatever_the_secret(secret):
    pairs = [split(secret, threshold=3, count=4)[:2] for _ in range(1000)]
    one, other = (np.frombuffer(bytes.fromhex("".join(column)), dtype="<u4") for column in zip(*pairs, strict=True))
    assert looks_uniform(one) and looks_uniform(other) and looks_uniform(one ^ other)
