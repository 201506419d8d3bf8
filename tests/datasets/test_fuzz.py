"""Damaged files, and files made to do harm: each is refused in one line or read, never anything else."""

import gzip

import h5py
import nibabel as nib
import numpy as np
from fuzzing import fuzz_report, require_refused_or_read
from image_files import toy_cine, write_kspace
from layouts import save_scaled, write_mnms_table
from layouts_more import write_folder
from refusals import refuses

from cmrfed.datasets import find_entries
from cmrfed.volumes import Entry, load_case, open_cine


def test_every_damaged_file_is_refused_in_one_line_or_read_soon_and_in_little_memory(tmp_path):
    """A sample of every kind; `e2e/test_fuzz.py` has a thousand."""
    require_refused_or_read(fuzz_report(tmp_path, 200, seed=1), 200)


def test_a_gzip_bomb_is_refused_by_its_header_and_one_behind_a_true_header_is_not_unpacked(tmp_path):
    path = tmp_path / "P1.nii.gz"
    save_scaled(path, toy_cine()[0].T)
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content + bytes(2**27), 1))
    assert open_cine(path).read(0).shape == (3, 40, 48)
    header = bytearray(content[:352])
    header[40:56] = np.array([4, 512, 512, 64, 60, 1, 1, 1], "<i2").tobytes()
    path.write_bytes(gzip.compress(bytes(header) + bytes(2**16), 1))
    with refuses(path, "too short"):
        open_cine(path)


def test_a_nifti_extension_that_claims_gigabytes_is_refused(tmp_path):
    path = tmp_path / "P1.nii"
    nib.save(nib.Nifti1Image(np.zeros((8, 8, 3), np.float32), np.diag([-1, -1, 8, 1])), path)
    content = bytearray(path.read_bytes())
    content[108:112] = np.float32(2e9).tobytes()
    content[348:360] = np.array([1, 2**31 - 16, 6], "<i4").tobytes()
    path.write_bytes(content)
    with refuses(path):
        open_cine(path).read(None)


def test_raw_data_whose_sequences_claim_gigabytes_is_refused_unread(tmp_path):
    path = tmp_path / "fs_1.h5"
    write_kspace(path, toy_cine()[0])
    with h5py.File(path) as file:
        data = file["dataset/data"]
        kind = data.id.get_type()
        at = data.id.get_offset() + kind.get_size() + kind.get_member_offset(kind.get_member_index(b"data"))
    content = bytearray(path.read_bytes())
    content[at : at + 4] = b"\xff\xff\xff\x7f"
    path.write_bytes(content)
    with refuses(path, "not as long as they say"):
        open_cine(path)


def test_raw_data_that_points_at_another_file_is_refused(tmp_path):
    write_kspace(tmp_path / "other.h5", toy_cine()[0])
    path = tmp_path / "fs_1.h5"
    with h5py.File(path, "w") as file:
        file["dataset/xml"] = h5py.ExternalLink("other.h5", "/dataset/xml")
        file["dataset/data"] = h5py.ExternalLink("other.h5", "/dataset/data")
    with refuses(path, "held in the file itself"):
        open_cine(path)


def test_an_xml_header_with_entities_is_refused(tmp_path):
    path = tmp_path / "fs_1.h5"
    write_kspace(path, toy_cine()[0])
    with h5py.File(path, "r+") as file:
        text = file["dataset/xml"][0].decode()
        file["dataset/xml"][0] = text.replace("?>", '?><!DOCTYPE x [<!ENTITY a "b">]>', 1)
    with refuses(path, "declarations"):
        open_cine(path)


def test_a_table_of_many_megabytes_is_refused_unread(tmp_path):
    path = write_mnms_table(tmp_path, ["A0S9V9,Siemens,A,1,0,9,30,HCM,M,172,70"])
    with path.open("ab") as file:
        file.truncate(2**25)
    with refuses(path, "larger than 16 MiB"):
        find_entries("mnms", tmp_path)


def test_a_mask_cannot_be_reached_through_a_link_out_of_the_folder(tmp_path):
    write_folder(tmp_path / "data", ["P1,cine.nii.gz,linked.nii.gz,,"])
    save_scaled(tmp_path / "secret.nii.gz", toy_cine()[0].T)
    (tmp_path / "data" / "masks" / "linked.nii.gz").symlink_to(tmp_path / "secret.nii.gz")
    with refuses("row 1", "linked.nii.gz", "lies outside"):
        find_entries("folder", tmp_path / "data")


def test_a_volume_of_another_data_set_kind_is_refused(tmp_path):
    (tmp_path / "P1.nii").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(500))
    with refuses(tmp_path / "P1.nii"):
        load_case(Entry(tmp_path / "P1.nii", None, {}, None, "cine-P1", "cine"))
