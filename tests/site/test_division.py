"""Who is held out at a site is drawn once: whatever is prepared afterwards, nobody changes sides or is trained on."""

import csv
import json
import unicodedata
from contextlib import contextmanager

import numpy as np
import pytest
from conftest import toy_plan, toy_slices
from homes import SIDES_KEY, answer, make_home
from hypothesis import given
from hypothesis import strategies as st
from refusals import refuses
from toy_hearts import SPACING_MM, toy_image, toy_mask

from cmrfed.config import DataConfig, PreprocessingConfig
from cmrfed.generators import build_generator
from cmrfed.preparation import Source
from cmrfed.privacy import epsilon
from cmrfed.privacy.cohort import Cohort
from cmrfed.privacy.secure_aggregation import Identity
from cmrfed.site import Request
from cmrfed.site.division import Division, prepare_sides, read_division
from cmrfed.slices import Patient, Slices
from cmrfed.training import LocalTask
from cmrfed.updates import read_weights
from cmrfed.volumes import write_volume

VENDORS = ("Siemens", "Philips")


@contextmanager
def silent(_):
    yield lambda *_: None


class Hospital:
    """A folder of patients, who come and go, and a home that is prepared from it."""

    def __init__(self, folder):
        self.data, self.home = folder / "data", folder / "home"
        self.patients = []

    def admit(self, *numbers):
        for number in numbers:
            mask = toy_mask()
            write_volume(self.data / "images" / f"p{number}.nii.gz", toy_image(mask, number), SPACING_MM)
            write_volume(self.data / "masks" / f"p{number}.nii.gz", mask, SPACING_MM)
        self.patients += numbers

    def discharge(self, *numbers):
        self.patients = [number for number in self.patients if number not in numbers]

    def prepare(self, hold_out, size=16):
        with (self.data / "cases.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["patient", "image", "mask", "phase", "vendor"])
            for number in self.patients:
                table.writerow([number, f"p{number}.nii.gz", f"p{number}.nii.gz", "ED", VENDORS[number % 2]])
        data = DataConfig(root=str(self.data), sources={"folder": "."})
        source = Source.of(data, PreprocessingConfig(size=size))
        return prepare_sides(self.home, source, hold_out, silent)

    @property
    def sides(self):
        """(Names in slices.safetensors, names in held_out.safetensors)."""
        files = (self.home / "slices.safetensors", self.home / "held_out.safetensors")
        return tuple(set(Slices.load(path).patient_names) for path in files)


@pytest.fixture(autouse=True)
def known_key(monkeypatch):
    """Drawn with it, of the first eight patients a quarter is two, one of each vendor, and half is four."""
    monkeypatch.setattr("cmrfed.site.division.secrets.token_hex", lambda _: SIDES_KEY)


@pytest.fixture
def hospital(tmp_path):
    one = Hospital(tmp_path)
    one.admit(*range(8))
    return one


def trained(home):
    """As after a run in that home."""
    (home / "plans").mkdir()


def test_a_share_is_held_out_and_in_no_file_that_is_trained_on(hospital):
    slices, kept = hospital.prepare(0.25)
    ours, theirs = hospital.sides
    assert (ours, theirs) == (set(slices.patient_names), set(kept.patient_names))
    assert (len(ours), len(theirs)) == (6, 2) and not ours & theirs
    assert set(kept.vendors) == set(VENDORS)


def test_without_a_share_everybody_is_trained_on_and_nothing_else_is_written(hospital):
    slices, kept = hospital.prepare(0.0)
    assert slices.number_of_patients == 8 and kept is None
    assert {path.name for path in hospital.home.iterdir()} == {"slices.safetensors"}


def test_preparing_again_opens_both_files_and_moves_nobody(hospital, monkeypatch):
    hospital.prepare(0.25)
    before = hospital.sides
    trained(hospital.home)
    monkeypatch.setattr("cmrfed.preparation.map_in_order", lambda *_: pytest.fail("prepared anew"))
    hospital.prepare(0.25)
    assert hospital.sides == before


def test_new_patients_are_divided_alike_and_known_ones_keep_their_side_after_training_too(hospital):
    hospital.prepare(0.25)
    before = hospital.sides
    trained(hospital.home)
    hospital.admit(*range(8, 16))
    hospital.prepare(0.25)
    assert all(old < new for old, new in zip(before, hospital.sides, strict=True))
    assert [len(side) for side in hospital.sides] == [12, 4]


def test_another_grid_is_another_file_of_the_same_patients(hospital):
    hospital.prepare(0.25)
    before = hospital.sides
    slices, kept = hospital.prepare(0.25, size=24)
    assert slices.images.shape[1:] == kept.images.shape[1:] == (24, 24)
    assert hospital.sides == before


def test_who_was_away_comes_back_to_the_same_side(hospital):
    hospital.prepare(0.5)
    ours, theirs = hospital.sides
    away = [int(sorted(side)[0].removeprefix("folder-")) for side in (ours, theirs)]
    hospital.discharge(*away)
    hospital.prepare(0.5)
    assert [len(side) for side in hospital.sides] == [3, 3]
    hospital.admit(*away)
    hospital.prepare(0.5)
    assert hospital.sides == (ours, theirs)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_another_share_or_none_is_refused_with_the_one_that_was_drawn(hospital, share):
    hospital.prepare(0.25)
    before = hospital.sides
    with refuses("hold_out: 0.25 of the patients", f"found {share}", "give hold_out=0.25"):
        hospital.prepare(share)
    assert hospital.sides == before


def test_holding_out_begins_before_the_first_run_or_not_at_all(hospital):
    hospital.prepare(0.0)
    hospital.prepare(0.25)
    assert [len(side) for side in hospital.sides] == [6, 2]
    later = Hospital(hospital.home.parent / "later")
    later.admit(0, 1, 2)
    later.prepare(0.0)
    trained(later.home)
    with refuses("hold_out: the patients in", "took part in a run already", "hold_out=0"):
        later.prepare(0.25)
    later.prepare(0.0)


def test_the_key_is_the_homes_secret_and_stays(hospital, monkeypatch):
    hospital.prepare(0.25)
    path = hospital.home / "division.json"
    assert path.stat().st_mode & 0o777 == 0o600
    monkeypatch.setattr("cmrfed.site.division.secrets.token_hex", lambda _: pytest.fail("drew another key"))
    hospital.admit(8, 9)
    hospital.prepare(0.25)
    division = read_division(hospital.home)
    assert division.key == SIDES_KEY and SIDES_KEY not in repr(division)


def test_a_division_from_before_there_were_keys_stays_and_only_who_is_new_is_drawn(hospital):
    hospital.home.mkdir()
    names = [f"folder-{number}" for number in range(8)]
    before = {"hold_out": 0.25, "trained_on": names[2:], "held_out": names[:2]}
    (hospital.home / "division.json").write_text(json.dumps(before))
    hospital.prepare(0.25)
    assert hospital.sides == (set(names[2:]), set(names[:2]))
    assert json.loads((hospital.home / "division.json").read_text()) == before, "nobody is new: nothing is written"
    hospital.admit(*range(8, 16))
    hospital.prepare(0.25)
    assert [old <= new for old, new in zip((set(names[2:]), set(names[:2])), hospital.sides, strict=True)] == [True] * 2
    assert hospital.sides[1] == {*names[:2], "folder-8", "folder-14"}


@pytest.mark.parametrize("written", [0, 1])
def test_an_interruption_between_the_files_trains_on_nobody_who_is_held_out(hospital, monkeypatch, written):
    """Of a home in which everybody was to be trained on, stopped before the first file and between the two."""
    hospital.prepare(0.0)
    make, done = Source.slices, []

    def stopped(self, store, progress=None):
        if len(done) == written:
            raise KeyboardInterrupt
        done.append(store)
        return make(self, store, progress)

    monkeypatch.setattr(Source, "slices", stopped)
    with pytest.raises(KeyboardInterrupt):
        hospital.prepare(0.25)
    held_out = set(read_division(hospital.home).held_out)
    (hospital.home / "identity.pem").touch()
    home = make_home(hospital.home)
    assert len(held_out) == 2 and len(Slices.load(home.folder / "slices.safetensors").records) == 8
    assert set(home.slices().patient_names).isdisjoint(held_out) and home.slices().number_of_patients == 6
    monkeypatch.undo()
    hospital.prepare(0.25)
    assert hospital.sides == (set(home.slices().patient_names), held_out)


def test_whatever_is_put_into_the_file_nobody_held_out_is_trained_on(tmp_path):
    home, everybody = make_home(tmp_path), toy_slices([2, 3, 2, 2])
    held_out = everybody.patient_names[1:2]
    kept = Division(hold_out=0.25, trained_on=("toy-0", "toy-2", "toy-3"), held_out=held_out)
    (tmp_path / "division.json").write_text(kept.model_dump_json())
    everybody.save(tmp_path / "slices.safetensors")
    assert home.slices().patient_names == ("toy-0", "toy-2", "toy-3")
    assert len(home.slices()) == 6


def test_a_home_that_lost_its_division_neither_trains_nor_prepares(hospital):
    hospital.prepare(0.25)
    (hospital.home / "division.json").unlink()
    with refuses(hospital.home / "division.json", "is missing", "restore it"):
        hospital.prepare(0.0)
    (hospital.home / "identity.pem").touch()
    home = make_home(hospital.home)
    with refuses(hospital.home / "division.json", "is missing", "restore it"):
        home.slices()


def test_too_few_patients_for_two_sides_are_refused_before_anything_is_written(tmp_path):
    alone = Hospital(tmp_path)
    alone.admit(0)
    with refuses("hold_out: cannot keep somebody out of 1 patients"):
        alone.prepare(0.5)
    assert not alone.home.exists()


def test_data_without_anybody_of_one_side_are_refused(hospital):
    hospital.prepare(0.25)
    before = hospital.sides
    hospital.discharge(*(int(name.removeprefix("folder-")) for name in before[1]))
    with refuses("hold_out: of the 6 patients in these data nobody is held out", "prepare with more patients"):
        hospital.prepare(0.25)
    assert hospital.sides == before


def test_a_draw_that_leaves_a_side_empty_is_refused_and_not_made_again(tmp_path, monkeypatch):
    """Made again until it pleased, it would hang on who is there."""
    small = Hospital(tmp_path)
    small.admit(0, 2)
    with refuses("hold_out: of the 2 patients in these data nobody is held out"):
        small.prepare(0.25)
    monkeypatch.setattr("cmrfed.site.division.secrets.token_hex", lambda _: pytest.fail("drew another key"))
    with refuses("nobody is held out"):
        small.prepare(0.25)
    small.admit(1)
    small.prepare(0.25)
    assert small.sides == ({"folder-0", "folder-2"}, {"folder-1"})


def patients(first, count):
    return [Patient(f"p{first + n}", "toy", VENDORS[n % 2], str(n % 3), "NOR") for n in range(count)]


keys = st.binary(min_size=32, max_size=32).map(bytes.hex)
names = st.text(st.characters(), min_size=1, max_size=8)


def named(names):
    return [Patient(name, "toy", VENDORS[len(name) % 2], "1", "NOR") for name in names]


def sides(division):
    return set(division.trained_on), set(division.held_out)


@given(st.sets(names, min_size=3, max_size=30), st.randoms(), st.floats(0.01, 0.99), keys)
def test_adding_or_removing_anybody_moves_nobody_else(everybody, random, share, key):
    empty = Division(hold_out=share, key=key)
    one = random.choice(sorted(everybody))
    trained_on, held_out = sides(empty.extended(named(everybody)))
    assert sides(empty.extended(named(everybody - {one}))) == (trained_on - {one}, held_out - {one})


@given(st.lists(st.integers(0, 12), min_size=1, max_size=5), st.floats(0.01, 0.99), keys)
def test_however_patients_arrive_everybody_has_one_side_and_keeps_it(arrivals, share, key):
    known = Division(hold_out=share, key=key).extended(patients(0, 2))
    count = 2
    for arriving in arrivals:
        later = known.extended(patients(0, count + arriving))
        count += arriving
        assert all(old <= new for old, new in zip(sides(known), sides(later), strict=True))
        assert {*later.trained_on, *later.held_out} == {one.patient for one in patients(0, count)}
        assert len(later.trained_on) + len(later.held_out) == count
        known = later
    assert sides(known) == sides(Division(hold_out=share, key=key).extended(patients(0, count)))
    assert known.extended(patients(0, count)) == known


@given(names, st.floats(0.01, 0.99), keys)
def test_forms_of_unicode_do_not_change_a_side(name, share, key):
    empty = Division(hold_out=share, key=key)
    forms = {unicodedata.normalize(form, name) for form in ("NFC", "NFD")}
    both = empty.extended(named(["somebody else", *forms]))
    assert any(forms <= side for side in sides(both))


def test_what_it_costs_in_balance_is_what_the_documentation_says():
    """150 patients in five pathologies, a fifth held out, in 500 homes."""
    pathologies = np.arange(150) % 5
    everybody = named(f"p{number}" for number in range(150))
    random, counts = np.random.default_rng(0), []
    for _ in range(500):
        held_out = set(Division(hold_out=0.2, key=random.bytes(32).hex()).extended(everybody).held_out)
        drawn = np.array([one.patient in held_out for one in everybody])
        counts.append(np.bincount(pathologies, drawn, minlength=5))
    in_all = np.sum(counts, axis=1)
    assert in_all.mean() == pytest.approx(30, abs=0.9) and in_all.std() == pytest.approx(4.9, abs=0.6)
    assert np.quantile(counts, [0.025, 0.975]).tolist() == [2, 11]


def test_a_new_home_with_the_old_ones_ledger_holds_out_and_goes_on_counting(
    hospital, tiny_generator_config, fp32_training
):
    """As the refusal advises: "prepare another home with the same ledger"."""
    plan = toy_plan(seed=None, target_epsilon=1000.0)
    weights = read_weights(build_generator(tiny_generator_config, seed=0))

    def train(home, run):
        task = LocalTask(training=fp32_training, plan=plan, round=1, rounds=1)
        return answer(home, Request(run=run, generator=tiny_generator_config, task=task), weights).event

    hospital.prepare(0.0)
    old = at_home(hospital.home)
    events = [train(old, "before")]
    with refuses("prepare another home with the same ledger"):
        hospital.prepare(0.25)

    hospital.home = hospital.home.with_name("new")
    hospital.prepare(0.25)
    new = at_home(hospital.home)
    events.append(train(new, "after"))
    assert [len(side) for side in hospital.sides] == [6, 2]
    assert new.ledger.rows()[-1].epsilon == pytest.approx(epsilon(events, plan.delta))
    everybody = Cohort.of(Slices.load(old.folder / "slices.safetensors"))
    assert new.ledger.verify().number_of_patients == everybody.number_of_patients == 8


def at_home(folder):
    Identity.create(folder / "identity.pem")
    return make_home(folder, ledger="../ledger/ledger.sqlite")
