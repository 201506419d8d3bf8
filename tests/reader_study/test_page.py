import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from refusals import refuses

from cmrfed.config import read_stage_json
from cmrfed.reader_study import Item, StudyKey, read_answers, score_readers, write_study

BROWSER = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), "")


@pytest.fixture
def items() -> list[Item]:
    images = np.random.default_rng(0).uniform(-1, 1, (4, 8, 8)).astype(np.float32)
    return [Item(f"n{n}", image, n % 2 == 1, "GE", "ED") for n, image in enumerate(images)]


@pytest.fixture
def page(items, tmp_path) -> Path:
    return write_study(items, tmp_path / "study", "run-1", "private")


def test_the_page_is_one_offline_file_that_does_not_hold_the_truth(page):
    html = page.read_text()
    assert not re.search(r"https?:|src=\"(?!data:)|@import|url\(", html)
    items = json.loads(re.search(r'id="items">(.*?)</script>', html).group(1))
    assert [set(item) for item in items] == [{"name", "uri"}] * 4


def test_the_key_holds_it_and_lies_beside_the_page(page, items):
    key = read_stage_json(StudyKey, page.with_name("key.json"))
    assert {name: truth.synthetic for name, truth in key.items.items()} == {item.name: item.synthetic for item in items}
    assert (key.run, key.arm) == ("run-1", "private")


def test_an_earlier_study_is_never_overwritten(page, items):
    with refuses(page.parent, "not empty"):
        write_study(items, page.parent, "run-1", "private")


READER = """
<script>
element("reader").value = "Dr. A";
element("begin").click();
const press = key => document.dispatchEvent(new KeyboardEvent("keydown", { key }));
press("3");                                  // before anything is said: not taken
for (const item of items) {
  document.querySelector(`[data-synthetic=${["n1", "n2"].includes(item.name)}]`).click();
  item.name === "n0" ? press("2") : document.querySelector("[data-confidence='3']").click();
}
</script>
"""


@pytest.mark.skipif(not BROWSER, reason="no Chromium on this machine")
def test_a_browser_records_what_a_reader_says_and_it_can_be_scored(page, tmp_path):
    page.write_text(page.read_text().replace("</body>", f"{READER}</body>"))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={tmp_path / 'profile'}"]
    dumped = subprocess.run(
        [BROWSER, *flags, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=120, check=True
    ).stdout
    saved = re.search(r'<pre id="answers"[^>]*>(.*?)</pre>', dumped).group(1)
    (tmp_path / "answers.json").write_text(saved)
    key = read_stage_json(StudyKey, page.with_name("key.json"))
    answers = read_answers(tmp_path / "answers.json", key)
    assert answers.reader == "Dr. A"
    assert {name: (one.synthetic, one.confidence) for name, one in answers.answers.items()} == {
        "n0": (False, 2),
        "n1": (True, 3),
        "n2": (True, 3),
        "n3": (False, 3),
    }
    assert score_readers(key, [answers])["pooled"]["accuracy"] == 0.5
