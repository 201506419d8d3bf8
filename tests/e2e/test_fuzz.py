"""A thousand damaged files of every layout: each is refused in one line or read, never anything else."""

from fuzzing import fuzz_report, require_refused_or_read


def test_every_damaged_file_is_refused_in_one_line_or_read_soon_and_in_little_memory(tmp_path):
    require_refused_or_read(fuzz_report(tmp_path, 1000, seed=0), 1000)
