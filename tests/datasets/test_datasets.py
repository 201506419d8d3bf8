import pytest
from layouts import write_mnms_table
from refusals import refuses

from cmrfed.datasets import DATASETS, find_entries


def test_an_unknown_data_set_is_refused(tmp_path):
    with refuses("ukbb", "acdc, mnms, mnms2, sunnybrook"):
        find_entries("ukbb", tmp_path)


@pytest.mark.parametrize("name", DATASETS)
def test_a_missing_folder_is_refused(tmp_path, name):
    with refuses(tmp_path / "nowhere", f"data.sources.{name}"):
        find_entries(name, tmp_path / "nowhere")


@pytest.mark.parametrize("name", DATASETS)
def test_an_empty_folder_is_refused(tmp_path, name):
    with refuses(tmp_path):
        find_entries(name, tmp_path)


def test_a_table_without_any_patient_on_disk_is_refused(tmp_path):
    write_mnms_table(tmp_path, ["A0S9V9,Siemens,A,1,0,9,30,HCM,M,172,70"])
    with refuses(tmp_path, "no labelled patients"):
        find_entries("mnms", tmp_path)
