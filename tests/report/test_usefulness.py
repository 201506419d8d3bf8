from finished_runs import lay_out, means, paired_test, results, segmentation

from cmrfed.evaluation.utility.metrics import MEASURES
from cmrfed.report.material import read_material
from cmrfed.report.usefulness import usefulness_tables


def scored(value):
    return {"value": value, "ci95": [value - 0.1, value + 0.1]}


def tables(folder, **utility):
    found = results()
    found["arms"]["private"]["utility"] |= utility
    return {title: table for title, _, table in usefulness_tables(read_material(lay_out(folder, found), False))}


def test_nothing_is_shown_of_what_was_not_measured(tmp_path):
    assert tables(tmp_path) == {}


def test_tests_between_training_sets_are_shown_for_mean_dice_with_the_corrected_p(tmp_path):
    rows = [paired_test("synthetic", "real", p, structure) for structure, p in (("mean", 0.0004), ("lv", 0.5))]
    ((title, table),) = tables(tmp_path, tests=rows).items()
    assert "Holm" in title
    ((difference, p),) = [row.cells for row in table.rows]
    assert (difference.value, p.value) == ("-0.050", "< 0.001")


def test_every_measure_of_function_is_shown_for_every_training_set_by_name(tmp_path):
    limits = {"bias": scored(1.5), "lower_limit": scored(-9.0), "upper_limit": scored(12.0)}
    agreement = {**limits, "sd": 5.4, "mean_absolute_error": 4.2, "patients": 5, "undefined": 0}
    function = {"function": dict.fromkeys(MEASURES, agreement) | {"left_out": {}}}
    ((_, table),) = tables(tmp_path, real=segmentation(0.8) | function).items()
    assert [row.name for row in table.rows][:2] == [
        "LV end-diastolic volume, ml; real",
        "LV end-systolic volume, ml; real",
    ]
    assert not any("_" in row.name for row in table.rows)
    assert table.rows[0].cells[1].value.replace("\N{NO-BREAK SPACE}", " ") == "[-9.0, 12.0]"


def test_measures_without_an_interval_are_dashes(tmp_path):
    unknown = ("bias", "lower_limit", "upper_limit", "sd", "mean_absolute_error")
    nothing = dict.fromkeys(unknown) | {"patients": 2, "undefined": 0}
    function = {"function": {"lv_edv_ml": nothing, "left_out": {}}}
    ((_, table),) = tables(tmp_path, real=segmentation(0.8) | function).items()
    assert [cell.value for cell in table.rows[0].cells] == ["–", "–", "2"]


def test_what_an_unseen_vendor_costs_is_shown_for_every_vendor_and_their_mean(tmp_path):
    of = {name: scored(0.1) for name in ("seen", "unseen", "helped", "drop", "removed")} | {"removed_share": None}
    group = of | {"patients": 3, "scores": dict.fromkeys(("seen", "unseen", "helped"), means(0.7))}
    ((_, table),) = tables(tmp_path, leave_one_vendor_out={"groups": {"GE": group}, "mean": of}).items()
    assert [row.name for row in table.rows] == ["GE", "mean"]
