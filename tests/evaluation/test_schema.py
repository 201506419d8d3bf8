import json
from pathlib import Path

import jsonschema
import pytest
from finished_runs import results, segmentation
from pydantic import ValidationError

from cmrfed.evaluation.schema import Results, schema
from cmrfed.release import ReleasePolicy, reasons_against
from cmrfed.report import write_comparison, write_report
from cmrfed.report.material import read_material

WRITTEN = Path(__file__).parents[2] / "docs" / "results.schema.json"


def test_the_schema_in_the_documentation_is_the_current_one():
    assert json.loads(WRITTEN.read_text()) == schema()


def test_the_results_of_a_run_keep_to_it_and_all_who_read_them_can(finished_tiny_run, results_of_tiny_run, tmp_path):
    run, found = finished_tiny_run, results_of_tiny_run
    text = (run.folder / "results.json").read_text()
    jsonschema.validate(json.loads(text), json.loads(WRITTEN.read_text()))
    assert {"fidelity", "utility", "leakage", "composite"} <= json.loads(text)["arms"]["private"].keys()
    read = Results.model_validate_json(text)
    assert (read, read.to_json()) == (found, text)
    claims = {arm: scores.leakage["loss"].epsilon_claimed for arm, scores in found.arms.items()}
    assert claims["private"] == run.record.plan.target_epsilon
    assert claims["epsilon_0"] is None
    assert write_report(run, None).exists()
    assert write_comparison([run, run], tmp_path / "compare.html").exists()
    assert reasons_against(read_material(run, False), ReleasePolicy(minimum_members=10**6)) != []


def test_what_was_read_is_written_unchanged_with_what_a_later_version_added():
    found = results() | {"private_beats_epsilon_0": None, "later": {"than": "this"}}
    found["arms"]["private"]["utility"] |= {"mixed_2x": segmentation(0.8), "not_measured": {"disease": "one disease"}}
    found["arms"]["private"]["leakage"]["loss"]["later"] = 1.5
    jsonschema.validate(found, schema())
    assert json.loads(Results.model_validate_json(json.dumps(found)).to_json()) == found


def test_what_is_no_result_does_not():
    found = results()
    jsonschema.validate(found, schema())
    found["arms"]["private"]["leakage"]["loss"]["auc"] = 1.5
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(found, schema())
    with pytest.raises(ValidationError, match=r"arms\.private\.leakage\.loss\.auc"):
        Results.model_validate(found)
