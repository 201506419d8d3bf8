import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmrfed.config import CompositeConfig
from cmrfed.evaluation.composite import composite


def scores(fid=80.0, floor=40.0, synthetic=0.6, real=0.8, auc=0.6) -> dict:
    utility = {name: {"dice": {"mean": value}} for name, value in (("synthetic", synthetic), ("real", real))}
    leakage = {"loss": {"auc": 0.5}, "pia": {"auc": auc}}
    return {"fidelity": {"fid": fid, "fid_real": floor}, "utility": utility, "leakage": leakage}


def test_it_is_the_weighted_geometric_mean_of_its_parts():
    found = composite(scores(), CompositeConfig(fidelity=2, utility=1, privacy=1))
    assert found["parts"] == pytest.approx({"fidelity": 0.5, "utility": 0.75, "privacy": 0.8})
    assert found["weights"] == {"fidelity": 0.5, "utility": 0.25, "privacy": 0.25}
    assert found["value"] == pytest.approx(0.5**0.5 * 0.75**0.25 * 0.8**0.25)


def test_a_generator_that_tells_everything_or_draws_nothing_of_use_scores_zero():
    assert composite(scores(auc=1.0), CompositeConfig())["value"] == 0
    assert composite(scores(synthetic=0.0), CompositeConfig())["value"] == 0


def test_nothing_beyond_perfect_is_rewarded():
    found = composite(scores(fid=30.0, synthetic=0.9, auc=0.3), CompositeConfig())
    assert found["value"] == 1
    assert set(found["parts"].values()) == {1}


@pytest.mark.parametrize("missing", ["fidelity", "utility", "leakage"])
def test_without_one_of_the_three_there_is_none(missing):
    assert composite(scores() | {missing: None}, CompositeConfig()) is None


@given(*(st.floats(0, 1e4),) * 2, *(st.floats(0, 1),) * 3)
def test_it_and_its_parts_stay_between_0_and_1(fid, floor, synthetic, real, auc):
    found = composite(scores(fid, floor, synthetic, real, auc), CompositeConfig())
    assert all(0 <= value <= 1 for value in (found["value"], *found["parts"].values()))
