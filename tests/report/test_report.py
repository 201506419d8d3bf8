import base64
import io
import json
import re
import shlex
import shutil
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from composed import composed_run
from finished_runs import (
    ARMS,
    CONFIG,
    PLAN,
    fidelity,
    hearts,
    lay_out,
    leakage,
    log_rounds,
    noise_for,
    paired_test,
    real_hearts,
    results,
    utility,
)
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread
from opacus.accountants import RDPAccountant
from refusals import refuses
from toy_hearts import toy_case

from cmrfed.config import CompositeConfig, DataConfig, EvaluationConfig, GeneratorConfig
from cmrfed.evaluation.composite import composite
from cmrfed.evaluation.schema import ArmScores
from cmrfed.formats import UNBROKEN, epsilon, percent
from cmrfed.pictures import image_uri
from cmrfed.privacy import NoPrivacy, attacker_true_positive_rate
from cmrfed.report import write_report
from cmrfed.report.card import auc_bound
from cmrfed.report.material import read_material
from cmrfed.report.pictures import choose_slices, outlines
from cmrfed.report.repeat import repeat_command
from cmrfed.report.verdict import remarks, verdicts
from cmrfed.runs import Run
from cmrfed.shapes import Label
from cmrfed.slices import collect


def text_of(path: Path) -> str:
    """What a reader reads: tags gone, one space between words."""
    html = re.sub(r"<style>.*?</style>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def verdict_of(run: Run) -> str:
    material = read_material(run, show_real_images=False)
    sentences = [sentence for verdict in verdicts(material) for sentence in verdict.sentences]
    return " ".join([*remarks(material), *sentences]).replace(UNBROKEN, " ")


@pytest.fixture
def run(tmp_path) -> Run:
    return lay_out(tmp_path / "run", results())


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The report of an ordinary run, for tests that only read it."""
    return write_report(lay_out(tmp_path_factory.mktemp("run"), results()), None)


def test_the_report_is_one_file_that_asks_nothing_of_a_network(finished):
    html = finished.read_text()
    assert not re.search(r"https?:|<script|<link|@import|src=\"(?!data:)|url\(", html)
    assert sorted(path.name for path in finished.parent.glob("*report*")) == ["report.html"]


def test_it_tells_the_numbers_of_results_json(finished):
    text = text_of(finished)
    shown = ["0.70 [0.68, 0.72]", "0.82 [0.80, 0.84]", "0.83", "12.3", "0.53 [0.41, 0.64]", "0.17", "31", "7", "0.85"]
    shown += ["88.6", "[79.7, 97.5]", "43.2", "45.6", "1.2", "40.0 s", "10.0 s", "20.0%", "50 ms", "5.0 min", "9.8.7"]
    assert [number for number in shown if number not in text] == []


def test_the_privacy_card_tells_the_mechanism_and_what_each_site_spent(finished):
    text = text_of(finished)
    for word in ("add or remove one patient", "2.35 at 0.0001", "PRV", "0.75", "0.5 × 30 declared = 15", "not covered"):
        assert word in text
    assert text.count("2.35 0.0001 2.000 0.5 4") == 2  # 2.3401, rounded up, for either site
    assert "NO GUARANTEE" not in text


def test_beside_the_budget_stands_what_renyi_accounting_gives(finished):
    accountant = RDPAccountant()
    accountant.history = [(2.0, 0.5, 4)]
    expected = accountant.get_epsilon(delta=1e-4, alphas=[1 + number / 100 for number in range(1, 6000)])
    told = re.search(r"PRV \(upper bound\); by Rényi DP ε = ([\d.]+)", text_of(finished))
    assert float(told[1]) == pytest.approx(expected, rel=0.02) and float(told[1]) > 2.35


def test_no_real_pixel_enters_unless_it_is_asked_for(run):
    real = [image_uri(image) for image in real_hearts().images]
    without = write_report(run, None).read_text()
    assert not any(uri in without for uri in real)
    assert "holds images of patients" not in without
    shown = write_report(run, True).read_text()
    assert any(uri in shown for uri in real)
    assert "holds images of patients" in shown


def test_without_real_images_the_held_out_file_is_not_even_opened(run):
    (run.folder / "central" / "held_out.safetensors").unlink()
    write_report(run, None)


def test_the_configuration_decides_on_real_images_and_the_caller_overrules_it(tmp_path):
    config = CONFIG.model_copy(update={"evaluation": EvaluationConfig(show_real_images=True)})
    run = lay_out(tmp_path, results(), config=config)
    assert "holds images of patients" in text_of(write_report(run, None))
    assert "holds images of patients" not in text_of(write_report(run, False))


def test_a_real_image_stands_beside_the_synthetic_one_of_its_own_mask(run):
    """Also where the evaluator drew only some of the held-out slices."""
    slices, real = hearts(), real_hearts()
    for arm in ARMS:
        noise_for(slices.take(np.arange(1, len(slices), 2)), 0).save(run.arm_folder(arm) / "synthetic.safetensors")
    html = write_report(run, True).read_text()
    found = {row for row, image in enumerate(real.images) if image_uri(image) in html}
    patients = {real.patient_names[real.patients[row]] for row in found}
    assert len(patients) == 2  # one of either vendor


def test_no_patient_is_named(run):
    assert "secret-" not in write_report(run, True).read_text()


def test_one_score_is_reported_without_the_others(tmp_path):
    found = results()
    for scores in found["arms"].values():
        del scores["utility"], scores["leakage"]
    text = text_of(write_report(lay_out(tmp_path, found), None))
    assert "43.2" in text
    assert "evaluation.utility is off" in text


def test_a_report_can_be_written_of_next_to_nothing(tmp_path):
    found = results() | {"arms": {"private": {}}, "timing": {}}
    run = lay_out(tmp_path, found)
    (run.arm_folder("private") / "synthetic.safetensors").unlink()
    (run.arm_folder("private") / "rounds.jsonl").unlink()
    for site in run.sites:
        shutil.rmtree(run.site_home(site))
    text = text_of(write_report(run, None))
    assert "No synthetic images were kept" in text
    assert all(f"evaluation.{kind} is off" in text for kind in ("fidelity", "utility", "leakage"))
    assert not any(run.site_home(site).exists() for site in run.sites)


def test_results_that_are_missing_or_broken_are_one_line(tmp_path):
    run = lay_out(tmp_path / "run", None)
    with refuses("results.json", "cmrfed evaluate"):
        write_report(run, None)
    for broken in ('{"arm": "priv', "[" * 100_000, '{"arm": "private", "arms": {"private": {"leakage": 3}}}'):
        (run.folder / "results.json").write_text(broken)
        with refuses("results.json", "cmrfed evaluate"):
            write_report(run, None)
    assert not (run.folder / "report.html").exists()


def test_names_and_reasons_from_other_machines_are_escaped(tmp_path):
    found = results()
    hostile = "<img src=x onerror=alert(1)>"
    found["sites"][hostile] = found["sites"].pop("Philips")
    run = lay_out(tmp_path, found)
    log_rounds(run, "private", {hostile: "<script>alert(2)</script>", "Siemens": None})
    html = write_report(run, None).read_text()
    assert "<img src=x" not in html
    assert "<script" not in html
    assert hostile in unescape(html)


def test_sites_that_gave_no_update_and_arms_that_stopped_are_named(run):
    log_rounds(run, "private", {"Siemens": None, "Philips": "fewer than 8 patients"}, rounds=3)
    (run.arm_folder("non_private") / "stopped.txt").write_text("after 2 of 10 rounds: no site answered\n")
    page = write_report(run, None)
    text, html = text_of(page), page.read_text()
    assert "Site Philips , arm private, round 1–3: fewer than 8 patients" in text
    assert "Arm without privacy ended early: after 2 of 10 rounds: no site answered" in text
    first = re.search(r'class="banner">(.*?)</div>', html, re.DOTALL)[1]
    assert first == "<strong>This run stopped early</strong>Arm without privacy, after 2 of 10 rounds: no site answered"
    assert "Not everything went as planned" in text


def test_a_round_that_was_short_of_replies_is_named_once_however_often_it_was_asked_for(run):
    log_rounds(run, "private", {"Siemens": None, "Philips": None}, rounds=3)
    path = run.arm_folder("private") / "rounds.jsonl"
    short = {"round": 2, "started": 0.0, "finished": 1.0, "applied": False, "validation": {}}
    short["sites"] = {"Philips": {"reason": "failed: NODE_UNAVAILABLE", "loss": None}}
    path.write_text((json.dumps(short) + "\n") * 2 + path.read_text())
    text = text_of(write_report(run, None))
    assert "Arm private, round 2: too few sites replied, and it was not applied" in text
    assert "Site Philips , arm private, round 2: failed: NODE_UNAVAILABLE" in text


def test_a_seeded_run_says_that_it_guarantees_nothing(tmp_path):
    run = lay_out(tmp_path, results(), PLAN.model_copy(update={"seed": 3}))
    text = text_of(write_report(run, None))
    assert "SEEDED TEST RUN: NO GUARANTEE" in text
    assert "is protected with" not in text


def test_a_run_without_privacy_says_so(tmp_path):
    found = results() | {"arm": "non_private"}
    del found["arms"]["private"]
    for site in found["sites"].values():
        site |= {"epsilon": None, "delta": None, "noise_multiplier": None, "sample_rate": None}
    text = text_of(write_report(lay_out(tmp_path, found, plan=NoPrivacy()), None))
    assert "Trained without privacy" in text
    assert "is protected with" not in text


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (0.66, 0.72, "Private training improved on the public start (no patient seen) by +0.06"),
        (0.69, 0.71, "an improvement is not established"),
        (0.70, 0.70, "did not improve on the public start"),
        (0.72, 0.66, "did not improve on the public start"),
    ],
)
def test_the_verdict_claims_an_improvement_only_where_intervals_part(tmp_path, before, after, said):
    assert said in verdict_of(lay_out(tmp_path, results(epsilon_0=before, private=after)))


@pytest.mark.parametrize(
    ("a", "b", "p", "said"),
    [
        ("synthetic", "epsilon_0/synthetic", 0.001, "Private training improved on the public start"),
        (
            "synthetic",
            "epsilon_0/synthetic",
            0.3,
            "differ by no more than chance, so an improvement is not established",
        ),
        ("mixed", "real", 0.001, " than real images alone"),
        ("mixed", "real", 0.3, "not clearly different from real images alone"),
        ("synthetic", "real", 0.3, "differ by no more than chance, so this run cannot tell the two apart"),
    ],
)
def test_a_paired_test_decides_what_overlapping_intervals_of_the_same_patients_hide(tmp_path, a, b, p, said):
    found = results(epsilon_0=0.69, private=0.71)
    for arm in found["arms"].values():
        arm["utility"] = arm["utility"] | {"tests": [paired_test(a, b, p)]}
    verdict = verdict_of(lay_out(tmp_path, found))
    assert said in verdict
    assert ("not clearly different" in verdict) == (a == "synthetic" or p > 0.05)


def test_a_small_difference_that_a_paired_test_finds_is_not_called_none(tmp_path):
    found = results(private=0.80)
    utility = found["arms"]["private"]["utility"]
    utility["synthetic"]["dice_ci95"]["mean"] = utility["real"]["dice_ci95"]["mean"]
    assert "so this run cannot tell the two apart" in verdict_of(lay_out(tmp_path / "overlap", found))
    utility["tests"] = [paired_test("synthetic", "real", 0.001)]
    assert "so this run cannot tell the two apart" not in verdict_of(lay_out(tmp_path / "paired", found))


def with_blind(blind: float) -> dict:
    """Results in which a mask that looks at no image has this Dice; real images have 0.82, synthetic ones 0.70."""
    found = results()
    for arm in found["arms"].values():
        arm["utility"] = utility(0.7, blind=blind)
        arm["composite"] = composite(ArmScores.model_validate(arm), CompositeConfig()).plain()
    return found


def test_where_real_images_themselves_teach_nothing_the_comparison_is_void_and_the_first_lines_say_so(tmp_path):
    run = lay_out(tmp_path, with_blind(0.81))
    said = verdict_of(run)
    assert "Nothing can be said of it: a segmentation network trained on real images themselves reaches" in said
    assert "cannot tell the two apart" not in said
    assert "improve" not in said
    text = text_of(write_report(run, None))
    assert text.index("The comparison of usefulness is void") < text.index("Are the images useful?")
    assert "Are the images useful? void" in text
    assert "Composite score void : " in text
    assert "utility –" in text


def test_images_that_teach_no_more_than_looking_at_none_are_called_of_no_use_and_score_zero(tmp_path):
    run = lay_out(tmp_path, with_blind(0.69))
    said = verdict_of(run)
    assert "No use of the images was found: a segmentation network trained on them alone reaches mean Dice 0.70" in said
    assert "improve" not in said
    text = text_of(write_report(run, None))
    assert "void" not in text
    assert "Composite score 0.00 of 1 : " in text


def test_dice_stands_between_real_images_and_no_image_at_all(finished):
    text = text_of(finished)
    assert "without looking at any image 0.30" in text
    assert "no image: one mask for every slice 0.30" in text


@pytest.mark.parametrize(
    ("fid", "said"),
    [(45.0, "cannot tell the two apart"), (75.0, "a gap remains, 1.7 times as far"), (300.0, "are far from real ones")],
)
def test_a_distance_is_told_in_floors(tmp_path, fid, said):
    found = results()
    found["arms"]["private"]["fidelity"] = fidelity(fid)
    found["arms"]["private"]["utility"] = None
    assert said in verdict_of(lay_out(tmp_path, found))


def test_the_headline_attack_is_the_largest_of_all_with_an_interval_that_is_wide_enough_for_all(tmp_path):
    attacks = {
        name: leakage(auc, auc - 0.1, auc + 0.1)["loss"] | {"auc_ci95_simultaneous": [auc - 0.2, auc + 0.2]}
        for name, auc in {"loss": 0.51, "pia": 0.68, "secmi": 0.6}.items()
    }
    found = results()
    found["arms"]["private"]["leakage"] = attacks
    text = text_of(write_report(lay_out(tmp_path, found), None)).replace(UNBROKEN, " ")
    assert "AUC 0.68 pia, the strongest of 3 attacks, 95 % interval [0.48, 0.88]; blind guessing: 0.50" in text
    assert "the strongest, pia, has AUC 0.68 [0.48, 0.88], corrected for their number" in text


@pytest.mark.parametrize(
    ("private", "control", "said"),
    [
        ((0.53, 0.41, 0.64), (0.5, 0.4, 0.6), "no leak found by this attack, which is not proof that there is none"),
        ((0.70, 0.60, 0.80), (0.5, 0.4, 0.6), "the generator may leak who was in it."),
        ((0.70, 0.60, 0.80), (0.7, 0.6, 0.8), "is a difference between the two groups"),
        ((0.30, 0.20, 0.40), (0.5, 0.4, 0.6), "members and non-members differ in some other way"),
    ],
)
def test_the_verdict_reads_the_attack_against_chance_and_its_blind_control(tmp_path, private, control, said):
    found = results()
    found["arms"]["private"]["leakage"], found["arms"]["epsilon_0"]["leakage"] = leakage(*private), leakage(*control)
    assert said in verdict_of(lay_out(tmp_path, found))


def test_phantoms_are_not_passed_off_as_patients(tmp_path):
    config = CONFIG.model_copy(update={"data": DataConfig(root="data", sources={"phantom": "phantom"})})
    said = "Every patient of this run is a phantom"
    assert said in verdict_of(lay_out(tmp_path / "phantom", results(), config=config))
    assert said not in verdict_of(lay_out(tmp_path / "mnms", results()))


def test_another_runs_generator_is_not_called_a_public_start(tmp_path):
    config = CONFIG.model_copy(update={"generator": GeneratorConfig(init="runs/other")})
    text = text_of(write_report(lay_out(tmp_path, results(), config=config), None))
    assert "public start" not in text
    assert "What that run spent on its patients comes on top" in text


@given(st.floats(0.01, 12), st.floats(0, 0.1))
def test_the_auc_bound_is_the_area_under_the_attacker_true_positive_rate(eps, delta):
    rates = np.r_[0, np.geomspace(1e-6, 1, 1000)].tolist()
    area = np.trapezoid([attacker_true_positive_rate(eps, delta, rate) for rate in rates], rates)
    assert auc_bound(eps, delta) == pytest.approx(area, abs=1e-4)


def test_at_epsilon_zero_an_attack_is_blind():
    assert auc_bound(0.0, 0.0) == 0.5
    assert attacker_true_positive_rate(0.0, 0.0, 0.01) == pytest.approx(0.01)
    assert attacker_true_positive_rate(1.0, 0.0, 0.01) == pytest.approx(np.e * 0.01)
    assert attacker_true_positive_rate(1000.0, 0.0, 0.01) == auc_bound(1000.0, 0.0) == 1


@given(st.floats(0, 100))
def test_an_epsilon_is_never_rounded_down(value):
    assert float(epsilon(value)) >= value - 1e-9
    assert float(epsilon(value)) < value + 0.01


def test_small_shares_are_not_zero():
    assert percent(0.0004, 1) == "< 0.1%"
    assert percent(0.0) == "0%"


def test_an_image_is_stored_as_its_grey_levels():
    image = np.linspace(-1, 1, 64, dtype=np.float32).reshape(8, 8)
    png = base64.b64decode(image_uri(image).removeprefix("data:image/png;base64,"))
    np.testing.assert_allclose(imread(io.BytesIO(png))[..., 0], (image + 1) / 2, atol=1 / 255)


def test_an_outline_runs_along_the_edges_of_its_pixels():
    mask = np.zeros((8, 8), np.uint8)
    mask[2:5, 3:7] = Label.LV
    (outline,) = outlines(mask)
    points = np.array([float(number) for number in re.findall(r"[\d.]+", outline.path)]).reshape(-1, 2)
    assert points.min(axis=0).tolist() == [3, 2]
    assert points.max(axis=0).tolist() == [7, 5]


@pytest.mark.parametrize("stored", ["base first", "apex first"])
def test_slices_are_shown_from_base_to_apex_however_they_are_stored(stored):
    slices = collect([toy_case(mask=np.stack([shrunk(width) for width in (16, 12, 8, 4)]))])
    if stored == "apex first":
        slices = slices.take(np.arange(4)[::-1])
    chosen = choose_slices(slices, 0)
    assert [title for title, _ in chosen[0]] == ["ED base", "ED middle", "ED apex"]
    areas = [(slices.masks[row] > 0).sum() for _, row in chosen[0]]
    assert areas == sorted(areas, reverse=True)


def test_slices_of_two_visits_are_never_shown_side_by_side():
    mask = np.stack([shrunk(width) for width in (16, 12, 8, 4)])
    short, whole = toy_case(mask=mask[:2], visit="a"), toy_case(mask=mask, visit="b", seed=1)
    slices = collect([short, whole])
    assert {int(slices.visits[row]) for rows in choose_slices(slices, 0) for _, row in rows} == {1}


def shrunk(width: int) -> np.ndarray:
    mask = np.zeros((40, 48), np.uint8)
    mask[:width, :width] = Label.MYO
    return mask


@pytest.mark.parametrize("sources", [{"phantom": "p"}, {"mnms": "my data, (1)=x", "acdc": "."}])
def test_the_command_repeats_the_configuration(sources):
    config = CONFIG.model_copy(update={"data": DataConfig(root="/data/it's here", sources=sources)})
    overrides = shlex.split(repeat_command(config).replace("\\\n", ""))[2:]
    assert composed_run("simulate", *overrides) == config
