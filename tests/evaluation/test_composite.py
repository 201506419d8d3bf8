import pytest
from finished_runs import attack, fidelity, utility
from hypothesis import given
from hypothesis import strategies as st

from cmrfed.config import CompositeConfig
from cmrfed.evaluation.composite import composite
from cmrfed.evaluation.schema import ArmScores, Fidelity


def scores(fid=80.0, floor=40.0, synthetic=0.45, real=0.6, auc=0.6, void=None, beats_blind=None) -> ArmScores:
    """synthetic, real: Dice above the blind mask's."""
    gains = {"real": (real, real > 0), "mixed": (real, True)}
    gains["synthetic"] = synthetic, synthetic > 0 if beats_blind is None else beats_blind
    over_blind = {
        name: {"value": gain, "ci95": [gain - 0.1, gain + 0.1], "beats_blind": beats}
        for name, (gain, beats) in gains.items()
    }
    return ArmScores(
        fidelity=fidelity(fid) | {"fid_real": floor},
        utility=utility(0.7) | {"over_blind": over_blind, "void": void},
        leakage={"loss": attack(0.5, 0.4, 0.6), "pia": attack(auc, 0.0, 1.0)},
    )


def test_it_is_the_weighted_geometric_mean_of_its_parts():
    found = composite(scores(), CompositeConfig(fidelity=2, utility=1, privacy=1))
    assert found.parts.plain() == pytest.approx({"fidelity": 0.5, "utility": 0.75, "privacy": 0.8})
    assert found.weights.plain() == {"fidelity": 0.5, "utility": 0.25, "privacy": 0.25}
    assert found.value == pytest.approx(0.5**0.5 * 0.75**0.25 * 0.8**0.25)


def test_a_generator_that_tells_everything_or_draws_nothing_of_use_scores_zero():
    assert composite(scores(auc=1.0), CompositeConfig()).value == 0
    assert composite(scores(synthetic=0.0), CompositeConfig()).value == 0


def test_images_that_teach_no_more_than_a_mask_that_looks_at_no_image_are_of_no_use():
    """Above it by no more than chance is not above it."""
    found = composite(scores(synthetic=0.02, beats_blind=False), CompositeConfig())
    assert (found.value, found.parts.utility, found.void) == (0, 0, None)


def test_without_a_yardstick_there_is_no_score_and_the_reason_is_given():
    found = composite(scores(void="the segmenter learnt nothing"), CompositeConfig())
    assert (found.value, found.parts.utility, found.void) == (None, None, "the segmenter learnt nothing")
    assert found.parts.fidelity == 0.5


def test_nothing_beyond_perfect_is_rewarded():
    found = composite(scores(fid=30.0, synthetic=0.7, auc=0.3), CompositeConfig())
    assert found.value == 1
    assert set(found.parts.plain().values()) == {1}


@pytest.mark.parametrize("missing", ["fidelity", "utility", "leakage"])
def test_without_one_of_the_three_there_is_none(missing):
    assert composite(scores().model_copy(update={missing: None}), CompositeConfig()) is None


def test_without_enough_images_for_a_distance_there_is_none():
    few = scores()
    without = {name: value for name, value in few.fidelity.plain().items() if not name.startswith("fid")}
    assert composite(few.model_copy(update={"fidelity": Fidelity(**without)}), CompositeConfig()) is None


@given(*(st.floats(0, 1e4),) * 2, *(st.floats(0, 1),) * 3)
def test_it_and_its_parts_stay_between_0_and_1(fid, floor, synthetic, real, auc):
    found = composite(scores(fid, floor, synthetic, real, auc), CompositeConfig())
    assert all(0 <= value <= 1 for value in (found.value, *found.parts.plain().values()))
