from finished_runs import lay_out, results

from cmrfed.evaluation.fidelity.metrics import SCORES
from cmrfed.report.fidelity import fidelity_tables
from cmrfed.report.material import read_material


def score(value, floor=1.0):
    return {"value": value, "ci95": [value - 1, value + 1], "floor": floor, "floor_ci95": None}


def test_every_score_stands_beside_its_floor_with_what_it_means(tmp_path):
    found = results()
    for arm, scores in found["arms"].items():
        own = {"fid": score(120.0), **({"kid": score(0.0123)} if arm == "private" else {})}
        scores["fidelity"] |= {"spaces": {"efficientnet-lite0": own}, "structure": {}, "pixels": {}, "faithfulness": {}}
    ((title, table),) = fidelity_tables(read_material(lay_out(tmp_path, found), False))
    assert "EfficientNet-Lite0" in title
    assert table.columns[0] == "other real patients"
    fid, kid = table.rows
    meaning = SCORES["spaces"]["fid"]
    assert (fid.name, [cell.value for cell in fid.cells]) == (meaning.title, ["1", "120", "120", "120"])
    assert meaning.meaning in fid.about
    assert [cell.value for cell in kid.cells] == ["1", "–", "0.0123", "–"]


def test_what_was_not_measured_has_no_table(tmp_path):
    assert fidelity_tables(read_material(lay_out(tmp_path, results()), False)) == []
