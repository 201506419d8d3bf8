from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import toy_slices
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refuses
from safetensors.numpy import save_file
from toy_hearts import toy_case, toy_mask

from cmrfed.arrays import map_arrays
from cmrfed.conditions import CONDITIONS, PHASES, VENDORS, column_names
from cmrfed.config import FederationConfig
from cmrfed.slices import (
    Patient,
    Slices,
    assign_sites,
    collect,
    concatenate,
    fingerprint,
    split_one_by_one,
    split_patients,
)

VENDOR_OF = {"mnms-A": "Siemens", "mnms-B": "Philips", "mnms-C": "Siemens"}


def some_cases(names=tuple(VENDOR_OF), slices=(3, 2)):
    """Both phases of each patient; the two stacks differ in depth."""
    return [
        toy_case(name, phase, seed=ord(name[-1]) + number, mask=mask, vendor=VENDOR_OF[name])
        for name in names
        for number, (phase, mask) in enumerate(zip(("ED", "ES"), map(toy_mask, slices), strict=True))
    ]


@pytest.fixture
def slices() -> Slices:
    return collect(some_cases())


def assert_same(one: Slices, other: Slices):
    assert one.records == other.records
    for name in ("images", "masks", "patients", "visits", "stacks", "spacing_mm"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for name in column_names():
        np.testing.assert_array_equal(one.conditions[name], other.conditions[name])


def test_every_slice_of_every_case_is_there_once(slices):
    assert len(slices) == sum(len(case.image) for case in some_cases()) == 15
    assert slices.number_of_patients == 3
    np.testing.assert_array_equal(slices.images[:3], some_cases()[0].image)


def test_a_slice_carries_its_patient_vendor_phase_stack_and_spacing(slices):
    for case in some_cases():
        at_phase = slices.conditions["phase"] == PHASES.index(case.phase)
        rows = np.flatnonzero((slices.patients == slices.patient_names.index(case.patient)) & at_phase)
        np.testing.assert_array_equal(slices.images[rows], case.image)
        assert set(slices.conditions["vendor"][rows]) == {VENDORS.index(case.vendor)}
        assert len(set(slices.stacks[rows])) == 1
        assert (slices.spacing_mm[rows] == case.spacing_mm).all()
    assert len(set(slices.stacks)) == 6


@given(st.permutations(range(6)))
@settings(max_examples=10, deadline=None)
def test_the_order_in_which_cases_come_does_not_matter(order):
    cases = some_cases()
    assert_same(collect(cases[index] for index in order), collect(cases))


def test_of_patient_gives_all_and_only_that_patient_s_slices(slices):
    for patient in range(slices.number_of_patients):
        np.testing.assert_array_equal(slices.of_patient(patient), np.flatnonzero(slices.patients == patient))


def test_a_subset_holds_all_and_only_the_slices_of_its_patients(slices):
    assert_same(slices.subset(["mnms-C", "mnms-A"]), collect(some_cases(["mnms-A", "mnms-C"])))


def test_a_subset_may_be_empty(slices):
    nobody = slices.subset([])
    assert (len(nobody), nobody.number_of_patients) == (0, 0)


def test_a_subset_refuses_a_patient_who_is_not_there(slices):
    with pytest.raises(KeyError, match="mnms-X"):
        slices.subset(["mnms-A", "mnms-X"])


def test_taken_slices_keep_their_patient_and_those_left_without_any_are_dropped(slices):
    rows = np.array([1, 6, 12])  # of A, B and C; then of A and C alone
    assert slices.take(rows).patient_names == slices.patient_names
    taken = slices.take(rows[[2, 0]])
    np.testing.assert_array_equal(taken.images, slices.images[[12, 1]])
    assert [taken.patient_names[patient] for patient in taken.patients] == ["mnms-C", "mnms-A"]
    assert set(taken.stacks) == {0, 1}


def test_joining_the_subsets_gives_the_whole_back(slices):
    assert_same(concatenate([slices.subset([name]) for name in slices.patient_names]), slices)


def test_joining_refuses_a_patient_of_two_sites(slices):
    with refuses("mnms-B", "one site"):
        concatenate([slices, slices.subset(["mnms-B"])])


def test_by_vendor_parts_the_patients(slices):
    parts = slices.by_vendor()
    assert list(parts) == ["Philips", "Siemens"]
    assert parts["Siemens"].patient_names == ("mnms-A", "mnms-C")
    assert sum(map(len, parts.values())) == len(slices)


@pytest.mark.parametrize("as_indices", [list, np.array, torch.tensor])
def test_a_batch_has_the_shapes_and_types_of_a_network_s_input(slices, as_indices):
    batch = slices.batch(as_indices([4, 0, 4]))
    assert (batch.images.shape, batch.images.dtype) == ((3, 1, 40, 48), torch.float32)
    assert (batch.masks.shape, batch.masks.dtype) == ((3, 40, 48), torch.int64)
    assert set(batch.conditions) == {"mask", *column_names()}
    assert (batch.conditions["vendor"].shape, batch.conditions["vendor"].dtype) == ((3,), torch.int64)
    assert (batch.conditions["age"].shape, batch.conditions["age"].dtype) == ((3,), torch.float32)
    assert batch.draws == {}
    np.testing.assert_array_equal(batch.images[1, 0].numpy(), slices.images[0])


def test_a_batch_is_a_copy(slices):
    before = slices.images.copy()
    slices.batch([0])[0].zero_()
    np.testing.assert_array_equal(slices.images, before)


def test_what_is_saved_is_loaded(slices, tmp_path):
    slices.save(tmp_path / "new" / "site.safetensors")
    assert_same(Slices.load(tmp_path / "new" / "site.safetensors"), slices)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["site.safetensors"]


@pytest.mark.parametrize("content", [None, b"", b"not tensors at all", bytes(64)])
def test_a_file_that_is_not_slices_is_refused(tmp_path, content):
    path = tmp_path / "site.safetensors"
    if content is not None:
        path.write_bytes(content)
    with refuses(path, "prepare the data again"):
        Slices.load(path)


def test_other_tensors_are_refused(tmp_path):
    save_file({"weight": np.zeros(3)}, tmp_path / "model.safetensors")
    with refuses(tmp_path / "model.safetensors"):
        Slices.load(tmp_path / "model.safetensors")


def test_no_cases_are_refused():
    with refuses("data.sources"):
        collect([])


def test_a_phase_given_twice_is_refused():
    with refuses("mnms-A", "ED", "twice"):
        collect([toy_case(), toy_case(seed=1)])


def two_visits(**second):
    """Both phases of a patient at two visits, and another patient of one visit."""
    cases = [toy_case(phase=phase, seed=seed, visit="2020") for seed, phase in enumerate(("ED", "ES"))]
    cases += [toy_case(phase=phase, seed=seed + 7, visit="2021", **second) for seed, phase in enumerate(("ED", "ES"))]
    return [*cases, toy_case("mnms-B", seed=20)]


def test_visits_are_one_patient_whose_slices_are_all_hers():
    slices = collect(two_visits())
    assert slices.patient_names == ("mnms-A", "mnms-B")
    assert len(slices.of_patient(0)) == 12
    assert [len(set(slices.stacks[slices.of_patient(patient)])) for patient in (0, 1)] == [4, 1]
    for number, visit in enumerate(("2020", "2021")):
        images = [case.image for case in two_visits() if case.visit == visit]
        rows = np.flatnonzero((slices.patients == 0) & (slices.visits == number))
        np.testing.assert_array_equal(slices.images[rows], np.concatenate(images))


@given(st.permutations(range(5)))
@settings(max_examples=10, deadline=None)
def test_visits_are_in_their_order_whatever_order_cases_come_in(order):
    assert_same(collect(two_visits()[index] for index in order), collect(two_visits()))


def test_a_part_keeps_the_numbers_of_visits(tmp_path):
    slices = collect(two_visits())
    later = slices.take(np.flatnonzero(slices.visits == 1))
    assert set(later.visits) == {1}
    later.save(tmp_path / "later")
    assert_same(Slices.load(tmp_path / "later"), later)


def test_no_split_parts_the_visits_of_a_patient():
    train, held_out = split_patients(two_visits(), 0.5, 0)
    assert sorted([*train, *held_out]) == ["mnms-A", "mnms-B"]


def test_a_visit_to_another_scanner_keeps_its_condition_and_the_patient_counts_to_the_first():
    slices = collect(two_visits(vendor="Philips", pathology="DCM", centre="9"))
    assert slices.records[0] == Patient("mnms-A", "mnms", "Siemens", "1", "NOR")
    for number, vendor in enumerate(("Siemens", "Philips")):
        rows = (slices.patients == 0) & (slices.visits == number)
        assert set(slices.conditions["vendor"][rows]) == {VENDORS.index(vendor)}
    assert split_patients(two_visits(vendor="Philips"), 0.5, 0) == split_patients(slices.records, 0.5, 0)
    assert assign_sites(two_visits(vendor="Philips"), FederationConfig(site_by=("vendor",))) == {
        "Siemens": ["mnms-A", "mnms-B"]
    }


def test_a_copy_of_an_image_is_no_second_visit():
    with refuses("mnms-A", "ED", "visit b", "keep one copy"):
        collect([toy_case(visit="a"), toy_case(visit="b", mask=toy_mask(scale=0.9), image=toy_case().image)])


def test_cases_on_different_grids_are_refused():
    with refuses("mnms-B", "(40, 50)", "(40, 48)"):
        small = toy_mask(columns=50)
        collect([toy_case(), toy_case("mnms-B", mask=small, image=small.astype(np.float32))])


def test_a_patient_of_two_vendors_is_refused():
    with refuses("mnms-A", "vendor", "'Philips' and 'Siemens'"):
        collect([toy_case(), toy_case(phase="ES", vendor="Philips")])


def test_the_fingerprint_does_not_depend_on_names_or_order(slices):
    renamed = collect(
        replace(case, patient=f"mnms-{chr(ord('Z') - number // 2)}") for number, case in enumerate(some_cases())
    )
    assert renamed.patient_names != slices.patient_names
    assert fingerprint(renamed) == fingerprint(slices)
    assert len(fingerprint(slices)) == 64


def test_the_fingerprint_changes_with_any_pixel_and_any_patient(slices):
    images, masks = slices.images.copy(), slices.masks.copy()
    images[7, 3, 3] += 1e-3
    masks[7, 3, 3] ^= 1
    changed = [replace(slices, images=images), replace(slices, masks=masks), slices.subset(["mnms-A", "mnms-B"])]
    moved = slices.patients.copy()
    moved[0] = 1
    prints = {fingerprint(each) for each in [slices, *changed, replace(slices, patients=moved)]}
    assert len(prints) == 5


populations = st.lists(
    st.tuples(st.sampled_from(VENDORS[:3]), st.sampled_from(["NOR", "DCM", "HCM"])), min_size=2, max_size=60
).map(lambda rows: [Patient(f"mnms-{n:02d}", "mnms", vendor, vendor[0], path) for n, (vendor, path) in enumerate(rows)])
fractions = st.floats(0.05, 0.95)


@given(populations, fractions, st.integers(0, 5))
def test_a_split_puts_every_patient_on_exactly_one_side(patients, fraction, seed):
    train, held_out = split_patients(patients, fraction, seed)
    assert sorted(train + held_out) == [record.patient for record in patients]
    assert train and held_out
    assert (train, held_out) == (sorted(train), sorted(held_out))


@given(populations, fractions, st.integers(0, 5))
def test_a_split_holds_out_the_fraction_to_the_patient(patients, fraction, seed):
    _, held_out = split_patients(patients, fraction, seed)
    assert len(held_out) == min(max(1, round(fraction * len(patients))), len(patients) - 1)


@given(populations, fractions, st.integers(0, 5), st.randoms())
def test_a_split_depends_on_the_set_of_patients_and_the_seed_alone(patients, fraction, seed, random):
    shuffled = [*patients, *patients]  # an entry a phase
    random.shuffle(shuffled)
    assert split_patients(shuffled, fraction, seed) == split_patients(patients, fraction, seed)


@given(populations, fractions, st.integers(0, 5))
def test_a_split_holds_out_of_each_vendor_its_share(patients, fraction, seed):
    held_out = set(split_patients(patients, fraction, seed)[1])
    sizes = Counter(record.vendor for record in patients)
    shares = Counter(record.vendor for record in patients if record.patient in held_out)
    for vendor, size in sizes.items():
        assert abs(shares[vendor] - len(held_out) * size / len(patients)) <= len(sizes)


@given(populations, fractions, st.integers(0, 5))
def test_a_split_shows_every_vendor_on_both_sides_where_there_are_enough(patients, fraction, seed):
    held_out = set(split_patients(patients, fraction, seed)[1])
    sizes = Counter(record.vendor for record in patients)
    divisible = sum(size >= 2 for size in sizes.values())
    if divisible <= len(held_out) <= sum(size - 1 for size in sizes.values()):
        for vendor, size in sizes.items():
            of_vendor = {record.patient for record in patients if record.vendor == vendor}
            assert of_vendor - held_out
            assert size == 1 or of_vendor & held_out


def test_a_split_is_proportional_within_each_vendor_too():
    patients = [
        Patient(f"{vendor}-{pathology}-{number}", "mnms", vendor, "1", pathology)
        for vendor in ("Siemens", "Philips")
        for pathology in ("NOR", "DCM")
        for number in range(10)
    ]
    held_out = split_patients(patients, 0.2, seed=0)[1]
    assert set(Counter(name.rsplit("-", 1)[0] for name in held_out).values()) == {2}


def test_a_split_is_proportional_within_each_centre_of_a_vendor_so_that_centres_cannot_tell_the_sides_apart():
    patients = [
        Patient(f"{centre}-{pathology}-{number}", "mnms", "Siemens", centre, pathology)
        for centre in ("1", "2", "3")
        for pathology in ("NOR", "DCM")
        for number in range(10)
    ]
    held_out = split_patients(patients, 0.2, seed=0)[1]
    assert set(Counter(name.rsplit("-", 1)[0] for name in held_out).values()) == {2}
    assert len(held_out) == 12


def test_another_seed_holds_out_other_patients():
    patients = [Patient(f"mnms-{number:02d}", "mnms", "Siemens", "1", "NOR") for number in range(40)]
    assert len({tuple(split_patients(patients, 0.25, seed)[1]) for seed in range(5)}) == 5


def test_a_split_takes_cases_and_slices_alike(slices):
    assert split_patients(some_cases(), 0.4, 0) == split_patients(slices.records, 0.4, 0)


@given(st.integers(40, 60), st.integers(0, 39), st.floats(0.3, 0.7), st.integers(0, 5))
def test_split_one_by_one_nobody_else_moves_when_one_comes_or_goes(count, gone, fraction, seed):
    patients = [Patient(f"mnms-{number}", "mnms", "Siemens", "1", "NOR") for number in range(count)]
    sides = split_one_by_one([*patients, *patients], fraction, seed)
    assert sorted(sides[0] + sides[1]) == sorted(record.patient for record in patients)
    fewer = split_one_by_one(patients[:gone] + patients[gone + 1 :], fraction, seed)
    assert fewer == tuple([name for name in side if name != f"mnms-{gone}"] for side in sides)


def test_split_one_by_one_holds_out_about_the_fraction_and_others_under_another_seed():
    patients = [Patient(f"mnms-{number:04d}", "mnms", "Siemens", "1", "NOR") for number in range(4000)]
    first, second = (set(split_one_by_one(patients, 0.2, seed)[1]) for seed in (0, 1))
    assert abs(len(first) - 800) < 4 * (4000 * 0.2 * 0.8) ** 0.5
    assert abs(len(first & second) - 160) < 4 * (4000 * 0.04 * 0.96) ** 0.5


def test_split_one_by_one_refuses_a_side_without_anybody():
    with refuses("held_out_fraction: of 3 patients 0 are drawn to be held out under seed 0", "another seed"):
        split_one_by_one(some_cases(), 1e-9, 0)


def test_one_patient_cannot_be_split():
    with refuses("held_out_fraction", "at least 2"):
        split_patients(some_cases(["mnms-A"]), 0.5, 0)


def test_a_site_is_a_combination_of_the_chosen_fields():
    cases = some_cases()
    assert assign_sites(cases, FederationConfig(site_by=("vendor",))) == {
        "Philips": ["mnms-B"],
        "Siemens": ["mnms-A", "mnms-C"],
    }
    by_both = assign_sites(cases, FederationConfig(site_by=("dataset", "vendor")))
    assert list(by_both) == ["mnms-Philips", "mnms-Siemens"]


@given(populations, st.sampled_from([("vendor",), ("dataset", "centre"), ("centre", "vendor")]))
def test_every_patient_belongs_to_exactly_one_site(patients, fields):
    sites = assign_sites(patients, FederationConfig(site_by=fields))
    assert sorted(name for names in sites.values() for name in names) == [record.patient for record in patients]
    assert list(sites) == sorted(sites)
    assert all(names == sorted(names) for names in sites.values())


CROWD = [Patient(f"mnms-{number}", "mnms", "Siemens", "1", "NOR") for number in range(400)]


@given(st.integers(1, 4), st.integers(0, 5), st.randoms(), st.integers(0, 399))
def test_random_sites_are_disjoint_decided_by_the_seed_and_nobody_moves_another(sites, seed, random, away):
    federation = FederationConfig(random_sites=sites)
    assigned = assign_sites(CROWD, federation, seed)
    assert list(assigned) == [f"site-{number}" for number in range(1, sites + 1)]
    assert sorted(name for names in assigned.values() for name in names) == sorted(one.patient for one in CROWD)
    assert all(abs(len(names) - 400 / sites) < 5 * (400 / sites) ** 0.5 for names in assigned.values())
    shuffled = list(CROWD)
    random.shuffle(shuffled)
    assert assign_sites(shuffled, federation, seed) == assigned
    without = assign_sites(CROWD[:away] + CROWD[away + 1 :], federation, seed)
    assert without == {site: [n for n in names if n != CROWD[away].patient] for site, names in assigned.items()}


def test_more_random_sites_than_patients_are_refused():
    with refuses("federation.random_sites: of 3 patients nobody is drawn for site-", "of 4 sites under seed 0"):
        assign_sites(some_cases(), FederationConfig(random_sites=4))


def test_a_site_is_named_after_its_centre_and_never_leads_out_of_its_folder():
    records = [
        Patient(f"p{n}", "mnms", "GE", centre, "NOR") for n, centre in enumerate(["../../etc", "St. Elsewhere/2"])
    ]
    sites = assign_sites(records, FederationConfig(site_by=("centre",)))
    assert sites == {"_.._etc": ["p0"], "St._Elsewhere_2": ["p1"]}


@pytest.mark.parametrize(
    ("name", "wild"),
    [
        ("condition vendor", lambda array: array + 90),
        ("condition phase", lambda array: -1 - array),
        ("condition age", lambda array: np.full_like(array, 500)),
        ("condition style", lambda array: np.full_like(array, np.inf)),
        ("condition bmi", lambda array: array[:-1]),
        ("patients", lambda array: array + 10**6),
        ("patients", lambda array: array - 10),
        ("stacks", lambda array: array * 0 - 1),
        ("stacks", lambda array: array + 10**12),
        ("stacks", lambda array: array[:-1]),
        ("spacing_mm", lambda array: array * np.nan),
        ("spacing_mm", lambda array: -array),
        ("images", lambda array: array.astype(np.float64)),
        ("images", lambda array: array[:, 0]),
        ("masks", lambda array: array[:, :-1]),
    ],
)
def test_a_file_whose_indices_lead_nowhere_is_refused_before_anybody_follows_them(tmp_path, name, wild):
    slices = toy_slices([2, 3])
    slices.save(tmp_path / "good.safetensors")
    arrays, metadata = map_arrays(tmp_path / "good.safetensors")
    arrays[name] = np.ascontiguousarray(wild(np.array(arrays[name])))
    save_file(arrays, tmp_path / "wild.safetensors", metadata)
    with refuses(tmp_path / "wild.safetensors", "is not a file of slices", name.removeprefix("condition ")):
        Slices.load(tmp_path / "wild.safetensors")


def test_a_condition_that_a_file_does_not_know_is_unknown(tmp_path):
    """As of files from before it was thought of."""
    toy_slices([2, 3]).save(tmp_path / "now.safetensors")
    arrays, metadata = map_arrays(tmp_path / "now.safetensors")
    before = {name: array for name, array in arrays.items() if name != "condition sex"}
    save_file(before, tmp_path / "before.safetensors", metadata)
    assert (Slices.load(tmp_path / "before.safetensors").conditions["sex"] == CONDITIONS["sex"].unknown).all()


def test_a_file_of_the_layout_with_two_numbered_conditions_is_refused_in_one_line(tmp_path):
    toy_slices([2, 3]).save(tmp_path / "now.safetensors")
    arrays, metadata = map_arrays(tmp_path / "now.safetensors")
    old = {name: array for name, array in arrays.items() if not name.startswith("condition")}
    old["conditions"] = np.zeros((5, 2), np.int64)
    save_file(old, tmp_path / "old.safetensors", metadata)
    with refuses(tmp_path / "old.safetensors", "written by an older version", "prepare the data again"):
        Slices.load(tmp_path / "old.safetensors")


@pytest.mark.parametrize("records", ["[" * 100_000, "[{}]", '[{"patient": 1}]', "3", "null"])
def test_a_file_with_other_records_than_patients_is_refused(tmp_path, records):
    toy_slices([2, 3]).save(tmp_path / "good.safetensors")
    arrays, metadata = map_arrays(tmp_path / "good.safetensors")
    save_file(arrays, tmp_path / "wild.safetensors", {**metadata, "records": records})
    with refuses(tmp_path / "wild.safetensors", "is not a file of slices"):
        Slices.load(tmp_path / "wild.safetensors")


def test_slices_that_may_not_be_read_are_not_called_damaged(tmp_path, monkeypatch):
    denied = PermissionError(13, "Permission denied")
    monkeypatch.setattr("cmrfed.slices.map_arrays", lambda _: (_ for _ in ()).throw(denied))
    with refuses(tmp_path, "may not read it (Permission denied)"):
        Slices.load(tmp_path / "slices.safetensors")


def test_the_source_of_a_slice_is_as_far_along_at_the_other_phase():
    cases = [toy_case(), toy_case(phase="ES", seed=3), toy_case("mnms-B", seed=9)]
    slices = collect(cases, pair_phases=True)
    ed, es, alone = (slices.take(np.flatnonzero(slices.stacks == stack)) for stack in range(3))
    assert np.array_equal(ed.sources[:], es.images[:]) and np.array_equal(es.sources[:], ed.images[:])
    assert np.isnan(alone.sources[:]).all(), "a stack with no other phase has no source"
    told = slices.batch([0, 1]).conditions["source_image"]
    assert np.array_equal(told.numpy(), slices.sources[[0, 1]])


def test_sources_survive_a_file_and_a_choice_of_patients(tmp_path):
    slices = collect([toy_case(), toy_case(phase="ES", seed=3), toy_case("mnms-B", seed=9)], pair_phases=True)
    slices.save(tmp_path / "slices")
    loaded = Slices.load(tmp_path / "slices")
    assert np.array_equal(loaded.sources[:], slices.sources, equal_nan=True)
    one = loaded.subset(["mnms-A"])
    assert np.array_equal(one.sources[:], slices.sources[: len(one)])
    assert "source_image" not in collect([toy_case()]).batch([0]).conditions
