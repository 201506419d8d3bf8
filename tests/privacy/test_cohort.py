"""A budget belongs to a patient: no change of the data set opens a new one for anybody who was there before."""

import hashlib
from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from conftest import toy_slices
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from refusals import refuses

from cmrfed.privacy import (
    Book,
    BudgetExceeded,
    Cohort,
    GaussianEvent,
    Ledger,
    Limits,
    individuals,
    renyi_order,
    twins,
)
from cmrfed.privacy import filter as privacy_filter
from cmrfed.privacy.chain import LedgerRow
from cmrfed.privacy.cohort import people, pseudonym_key
from cmrfed.slices import concatenate

EVENT = GaussianEvent(sample_rate=0.5, noise_multiplier=2.0, steps=5)
OTHER = GaussianEvent(sample_rate=1.0, noise_multiplier=1.5, steps=2)


def scanned(slices):
    """With the keys of volumes as they were read, one a patient."""
    keys = [
        hashlib.sha256(record.patient.encode() + slices.images[0].tobytes()).hexdigest() for record in slices.records
    ]
    records = (replace(record, voxels=(key,)) for record, key in zip(slices.records, keys, strict=True))
    return replace(slices, records=tuple(records))


FOUR = scanned(toy_slices([2, 3, 2, 2]))


ORDER = renyi_order(8.0, 1e-4)


def record(ledger, cohort, run="run", event=EVENT, run_epsilon=100.0, total_epsilon=100.0):
    return ledger.record(cohort, run, 1, "request", event, Limits(run_epsilon, total_epsilon, 1e-4, ORDER))


def pay(ledger, cohort, **changes):
    return record(ledger, cohort, **changes)[0]


def admitted(ledger, cohort, **changes):
    return record(ledger, cohort, **changes)[1]


def cost(*events):
    return privacy_filter.spent(events, 1e-4, ORDER)


def cohort(*patients):
    """Patients as "name/content"."""
    digest = hashlib.sha256
    pairs = (patient.split("/") for patient in patients)
    return Cohort(
        b"".join(sorted(digest(f"n{n}".encode()).digest() + digest(f"c{c}".encode()).digest() for n, c in pairs))
    )


def renamed(slices, prefix="new-"):
    return replace(slices, records=tuple(replace(r, patient=prefix + r.patient) for r in slices.records))


def read_by(slices, reader):
    """As if another reader had found the same pseudonyms, with no volume in common."""
    bare = (replace(r, patient=f"{reader}-{r.patient.removeprefix('toy-')}", dataset=reader) for r in slices.records)
    return replace(slices, records=tuple(replace(record, voxels=()) for record in bare))


def resampled(slices):
    """As another preprocessing gives: other pixels of the same patients."""
    return replace(slices, images=slices.images[:, ::2, ::2].copy(), masks=slices.masks[:, ::2, ::2].copy())


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "ledger.sqlite")


# who is known again


@pytest.mark.parametrize(
    "later",
    [
        concatenate([FOUR, toy_slices([2], seed=9, first=4)]),
        FOUR.subset(["toy-0", "toy-2"]),
        concatenate([FOUR.subset(["toy-1"]), toy_slices([2, 2], seed=9, first=4)]),
        renamed(FOUR),
        resampled(FOUR),
        replace(FOUR, records=tuple(replace(r, dataset="elsewhere", vendor="GE") for r in FOUR.records)),
        FOUR.take(np.random.default_rng(0).permutation(len(FOUR))),
        resampled(read_by(FOUR, "acdc")),
        resampled(renamed(FOUR)),
    ],
    ids=[
        "one more", "fewer", "one among strangers", "renamed", "resampled", "another data set", "another order",
        "another reader and grid", "another name and grid",
    ],
)  # fmt: skip
def test_whoever_was_there_before_keeps_the_budget(ledger, later):
    pay(ledger, Cohort.of(FOUR))
    assert pay(ledger, Cohort.of(later), run="another").epsilon == cost(EVENT, EVENT)
    assert ledger.spent(Cohort.of(FOUR), 1e-4) == cost(EVENT, EVENT)
    left = admitted(ledger, Cohort.of(later), run="third", total_epsilon=cost(EVENT, EVENT))
    assert left.pseudonyms.isdisjoint(Cohort.of(FOUR).pseudonyms)
    assert left.number_of_patients == len({record.patient for record in later.records} & {"toy-4", "toy-5"})


def test_strangers_have_a_budget_of_their_own(ledger):
    pay(ledger, Cohort.of(FOUR))
    assert pay(ledger, Cohort.of(toy_slices([2, 2], seed=9, first=4))).epsilon == cost(EVENT)


def test_renamed_first_and_resampled_later_a_patient_is_still_the_same(ledger):
    for slices in (FOUR, renamed(FOUR), resampled(renamed(FOUR)), renamed(resampled(renamed(FOUR)), "newer-")):
        last = pay(ledger, Cohort.of(slices))
    assert last.epsilon == cost(*[EVENT] * 4)
    assert ledger.spent(Cohort.of(FOUR), 1e-4) == cost(*[EVENT] * 4), "and seen from the first name too"


def test_under_another_name_and_with_other_images_nobody_is_known_again(ledger):
    """The limit that the ledger's documentation admits."""
    pay(ledger, Cohort.of(FOUR))
    others = replace(resampled(renamed(FOUR)), records=tuple(replace(r, voxels=()) for r in renamed(FOUR).records))
    assert pay(ledger, Cohort.of(others)).epsilon == cost(EVENT)


def test_ledgers_of_earlier_versions_know_their_patients_by_their_full_names(ledger):
    names = [hashlib.sha256(name.encode()).digest() for name in FOUR.patient_names]
    earlier = Cohort(b"".join(sorted(name + hashlib.sha256(b"prepared" + name).digest() for name in names)))
    pay(ledger, earlier)
    assert pay(ledger, Cohort.of(FOUR)).epsilon == cost(EVENT, EVENT)


def test_two_unicode_forms_of_a_pseudonym_are_one_person():
    composed, apart = (replace(FOUR.records[0], patient=f"toy-{name}") for name in ("M\u00fcller", "Mu\u0308ller"))
    assert pseudonym_key(composed) == pseudonym_key(apart)


# what a cohort has spent is what its worst-off patient has


def test_only_the_worst_off_patient_counts_and_only_for_the_rows_it_is_in(ledger):
    for patients in (["a/1", "b/2"], ["a/1"], ["b/2", "c/3"], ["a/1", "c/3"]):
        last = pay(ledger, cohort(*patients))
    assert last.epsilon == cost(*[EVENT] * 3)
    assert ledger.spent(cohort("b/2"), 1e-4) == cost(EVENT, EVENT)
    assert ledger.spent(cohort("c/3"), 1e-4) == cost(EVENT, EVENT)
    assert ledger.spent(cohort("a/1", "b/2", "c/3", "d/4"), 1e-4) == cost(*[EVENT] * 3)
    assert ledger.spent(cohort("d/4"), 1e-4) == 0.0


def test_patients_whose_exposures_cannot_be_compared_are_each_computed(ledger):
    pay(ledger, cohort("a/1"), event=EVENT)
    pay(ledger, cohort("b/2"), event=OTHER)
    both = cohort("a/1", "b/2")
    assert ledger.spent(both, 1e-4) == max(cost(EVENT), cost(OTHER))
    assert pay(ledger, both).epsilon == max(cost(EVENT, EVENT), cost(OTHER, EVENT))


def test_where_one_patients_budget_is_gone_the_others_go_on_without(ledger):
    allowed = cost(EVENT, EVENT)
    for _ in range(2):
        pay(ledger, cohort("a/1"), total_epsilon=allowed)
    assert admitted(ledger, cohort("a/1", "b/2"), total_epsilon=allowed) == cohort("b/2")
    assert admitted(ledger, cohort("a/1"), total_epsilon=allowed) == Cohort(b"")
    assert ledger.spent(cohort("b/2"), 1e-4) == cost(EVENT)
    assert ledger.spent(cohort("a/1"), 1e-4) == allowed


def test_a_runs_own_limit_counts_the_runs_rows_alone(ledger):
    pay(ledger, cohort("a/1"), run="one")
    pay(ledger, cohort("a/1", "b/2"), run="two", run_epsilon=cost(EVENT))
    with pytest.raises(BudgetExceeded, match="the run to epsilon"):
        pay(ledger, cohort("b/2", "c/3"), run="two", run_epsilon=cost(EVENT))


EVENTS = [EVENT, OTHER, EVENT.model_copy(update={"noise": "distributed"})]
PATIENTS = st.sets(st.sampled_from([f"{n}/{c}" for n in "abcd" for c in "1234"]), min_size=1, max_size=4)


def distinct(patients):
    """One patient a name and a content, as in real slices."""
    kept = {patient[0]: patient for patient in patients}
    return list({patient[-1]: patient for patient in kept.values()}.values())


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(PATIENTS.map(distinct), st.sampled_from(EVENTS)), max_size=6), asked=PATIENTS.map(distinct)
)
def test_what_is_spent_agrees_with_following_every_patient_by_hand(tmp_path, monkeypatch, rows, asked):
    def cheap(events, delta, _=None):
        return sqrt(sum(event.steps * event.sample_rate / event.noise_multiplier**2 for event in events))

    monkeypatch.setattr("cmrfed.privacy.filter.spent", cheap)
    monkeypatch.setattr("cmrfed.privacy.ledger.epsilon", cheap)
    for file in tmp_path.iterdir():
        file.unlink()
    ledger = Ledger(tmp_path / "ledger.sqlite")
    for number, (patients, event) in enumerate(rows, start=1):
        entry = pay(ledger, cohort(*patients), event=event)
        assert entry.epsilon == pytest.approx(_by_hand(rows[:number], patients, cheap))
    assert ledger.spent(cohort(*asked), 1e-4) == pytest.approx(_by_hand(rows, asked, cheap))


def _by_hand(rows, asked, cost):
    """Follow names and contents from each patient until nothing new turns up."""
    everyone = {patient for patients, _ in rows for patient in patients} | set(asked)
    worst = 0.0
    for patient in asked:
        same = {patient}
        while grown := {p for p in everyone if any(p[0] == s[0] or p[-1] == s[-1] for s in same)} - same:
            same |= grown
        worst = max(worst, cost([event for patients, event in rows if same & set(patients)], 1e-4))
    return worst


def test_one_group_of_patients_costs_one_question_to_the_accountant(ledger, monkeypatch):
    asked = []
    monkeypatch.setattr("cmrfed.privacy.filter.spent", lambda events, *_: asked.append(events) or 1.0)
    everybody = [f"{number}/{number}" for number in range(100)]
    for number in range(20):
        pay(ledger, cohort(*everybody[number:]))
    asked.clear()
    ledger.spent(cohort(*everybody), 1e-4)
    assert len(asked) == 1
    assert asked[0] == [EVENT.model_copy(update={"steps": 100})]


def test_a_patient_in_hundreds_of_cohorts_is_one_person():
    cohorts = [cohort("a/1", f"s{number}/t{number}") for number in range(256)]
    persons = people(cohorts)
    assert len(set.intersection(*(set(of.tolist()) for of in persons))) == 1
    assert len(set(np.concatenate(persons).tolist())) == 257


def test_a_book_without_rows_has_spent_nothing():
    assert Book().spent(cohort("a/1"), 1e-4) == 0.0
    assert Book().head == "0" * 64


# what a cohort is


def test_a_cohort_is_pairs_of_a_pseudonyms_and_another_key_and_does_not_depend_on_order():
    one, other = Cohort.of(FOUR), Cohort.of(FOUR.take(np.arange(len(FOUR))[::-1].copy()))
    assert one == other
    assert one.number_of_patients == 4
    assert len(one.members) == 4 * 3 * 64, "by the name with the data set's, the prepared images and the one volume"
    assert hashlib.sha256(one.members).hexdigest() == one.fingerprint
    assert one.pseudonyms == {hashlib.sha256(name.encode()).digest() for name in "0123"}
    seconds = {one.members[start + 32 : start + 64] for start in range(0, len(one.members), 64)}
    assert seconds >= {hashlib.sha256(name.encode()).digest() for name in FOUR.patient_names}
    assert seconds >= {bytes.fromhex(record.voxels[0]) for record in FOUR.records}


def test_the_fingerprint_changes_with_any_name_and_any_pixel():
    pixel = FOUR.images.copy()
    pixel[3, 2, 1] += 0.01
    changed = [FOUR, renamed(FOUR), replace(FOUR, images=pixel), FOUR.subset(["toy-0"])]
    assert len({Cohort.of(slices).fingerprint for slices in changed}) == len(changed)


@pytest.mark.parametrize(
    "second", [renamed(FOUR), read_by(toy_slices([1] * 4, seed=7), "acdc")], ids=["images", "name"]
)
def test_one_person_under_two_names_at_once_is_found_and_never_counts_twice(second):
    one = second.patient_names[2]
    twice = concatenate([FOUR, second.subset([one])])
    assert [set(pair) for pair in twins(twice)] == [{"toy-2", one}]
    assert individuals(twice).number_of_patients == 4
    assert twins(individuals(twice)) == [] and individuals(FOUR) is FOUR


@settings(deadline=None)
@given(st.sets(st.integers(0, 9), min_size=1, max_size=6), st.integers(0, 9))
def test_who_else_is_there_never_decides_whether_somebody_is_admitted(numbers, newcomer):
    """The ledger's state of each patient is that patient's own: one more or less changes nobody else's part."""
    everybody = [f"{number}/{number}" for number in range(10)]
    history = Book()
    for count in range(1, 10, 2):
        entry = LedgerRow(
            sequence=count, time="", fingerprint=cohort(*everybody[:count]).fingerprint, run="r", round=1, request="",
            event=EVENT, delta=1e-4, epsilon=0.0, software="", previous="", hash="",
        )  # fmt: skip
        history = history.followed_by(entry, cohort(*everybody[:count]))
    limits = Limits(100.0, cost(*[EVENT] * 3), 1e-4, ORDER)
    without = history.within_budget(cohort(*(everybody[n] for n in numbers - {newcomer})), EVENT, limits)
    with_one = history.within_budget(cohort(*(everybody[n] for n in numbers | {newcomer})), EVENT, limits)
    assert with_one.pseudonyms - cohort(everybody[newcomer]).pseudonyms == without.pseudonyms


@pytest.mark.parametrize("members", [b"x" * 63, b"x" * 65])
def test_members_that_are_no_keys_are_refused(members):
    with refuses("64 bytes"):
        Cohort(members)
