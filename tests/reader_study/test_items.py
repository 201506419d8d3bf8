from dataclasses import replace

import numpy as np
import pytest
from refusals import refuses
from toy_hearts import toy_case

from cmrfed.reader_study import choose_items
from cmrfed.slices import Slices, collect


def hearts(*vendors: str) -> Slices:
    cases = [toy_case(f"P{n}", phase, n, vendor=v) for n, v in enumerate(vendors) for phase in ("ED", "ES")]
    slices = collect(cases)
    return replace(slices, images=np.arange(len(slices), dtype=np.float32)[:, None, None] + 0 * slices.images)


@pytest.fixture
def real() -> Slices:
    return hearts(*(["Siemens"] * 6 + ["Philips"] * 5))


def patient_of(slices: Slices, image: np.ndarray) -> str:
    return slices.patient_names[slices.patients[int(image[0, 0]) % len(slices)]]


def test_half_of_each_vendor_is_synthetic_and_no_patient_is_shown_twice(real):
    items = choose_items(real, replace(real, images=real.images + len(real)), 100, seed=0)
    count = {(item.vendor, item.synthetic): 0 for item in items}
    for item in items:
        count[item.vendor, item.synthetic] += 1
        assert item.synthetic == (item.image[0, 0] >= len(real))
    assert count == {("Siemens", True): 3, ("Siemens", False): 3, ("Philips", True): 2, ("Philips", False): 2}
    assert len({patient_of(real, item.image) for item in items}) == len(items)


def test_no_more_are_shown_than_asked_for(real):
    assert len(choose_items(real, real, 5, seed=0)) == 4


def test_the_seed_decides_who_is_shown_and_not_the_names_or_the_order(real):
    first, second = (choose_items(real, real, 100, seed=3) for _ in range(2))
    shown = [{(float(item.image[0, 0]), item.synthetic) for item in items} for items in (first, second)]
    assert shown[0] == shown[1]
    assert not {item.name for item in first} & {item.name for item in second}


def test_the_order_tells_nothing_of_the_truth(real):
    """Over many studies the first item is synthetic half of the time (a fair coin misses this in 1 of 10,000 tries)."""
    first = [choose_items(real, real, 100, seed=0)[0].synthetic for _ in range(200)]
    assert 0.35 < np.mean(first) < 0.65


def test_a_single_patient_is_refused():
    with refuses("two held-out patients"):
        choose_items(hearts("Siemens", "Philips"), hearts("Siemens", "Philips"), 10, seed=0)
