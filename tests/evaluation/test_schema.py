import json
from pathlib import Path

import jsonschema
import pytest
from finished_runs import results

from cmrfed.evaluation.schema import schema

WRITTEN = Path(__file__).parents[2] / "docs" / "results.schema.json"


def test_the_schema_in_the_documentation_is_the_current_one():
    assert json.loads(WRITTEN.read_text()) == schema()


def test_what_is_no_result_does_not():
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(results() | {"arms": {"private": {"leakage": {"loss": {"auc": 1.5}}}}}, schema())
