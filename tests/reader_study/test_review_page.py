"""The page of a review of plausibility: one offline file that knows nothing of the key, read in a browser."""

import base64
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from reviews import SIZE, key_of

from cmrfed.config import read_stage_json
from cmrfed.reader_study import PlausibilityKey, read_plausibility_answers, score_review, write_review
from cmrfed.reader_study.hearts import Heart, level_by_level
from cmrfed.reader_study.plausibility import Ordering, Review

BROWSER = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), "")
SEVERITIES = {"c0": 0.5, "c1": 1.0, "c2": 0.0}
TRUTH = {"h0": (False, "DCM", None), "h1": (True, "HCM", 0.25), "h2": (True, "NOR", 0.0)}


def heart(name: str, seed: int, levels: int = 5) -> Heart:
    random = np.random.default_rng(seed)
    stacks = [random.uniform(-1, 1, (count, SIZE, SIZE)).astype(np.float32) for count in (levels, levels - 1)]
    return Heart(name, level_by_level(stacks))


@pytest.fixture
def review() -> Review:
    hearts = tuple(heart(name, number) for number, name in enumerate(TRUTH))
    course = tuple(heart(name, 10 + number, 4 + number) for number, name in enumerate(SEVERITIES))
    return Review(hearts, (Ordering("DCM-1", "DCM", course),), key_of(TRUTH, {"DCM-1": SEVERITIES}), patients=True)


@pytest.fixture
def page(review, tmp_path) -> Path:
    return write_review(review, tmp_path / "review")


def items_of(page: Path) -> dict:
    return json.loads(re.search(r'id="items">(.*?)</script>', page.read_text(encoding="utf-8")).group(1))


def test_the_page_is_one_offline_file(page):
    html = page.read_text()
    assert not re.search(r"https?:|src=\"(?!data:)|@import|url\(", html)
    assert "default-src 'none'" in html
    assert {path.name for path in page.parent.iterdir()} == {"plausibility.html", "key.json", "README.md"}


def test_its_bytes_are_the_same_whatever_the_key_says(review, page, tmp_path):
    turned = {name: (not synthetic, "RV", 1.0) for name, (synthetic, _, _) in TRUTH.items()}
    other = key_of(turned, {"DCM-1": {name: 1 - severity for name, severity in SEVERITIES.items()}})
    again = write_review(replace(review, key=other), tmp_path / "other")
    assert again.read_bytes() == page.read_bytes()
    assert again.with_name("key.json").read_bytes() != page.with_name("key.json").read_bytes()


def test_of_a_heart_it_holds_the_name_the_pixels_and_which_slices_there_are(review, page):
    items = items_of(page)
    assert set(items) == {"size", "hearts", "orderings"}
    (ordering,) = items["orderings"]
    assert set(ordering) == {"name", "pathology", "hearts"}
    for shown, heart in zip(
        [*items["hearts"], *ordering["hearts"]], [*review.hearts, *review.orderings[0].hearts], strict=True
    ):
        assert set(shown) == {"name", "there", "uri"}
        assert shown["name"] == heart.name
        levels = heart.images.shape[1]
        assert shown["there"] == [[True] * levels, [False] + [True] * (levels - 1)]
        sheet = imread(io.BytesIO(base64.b64decode(shown["uri"].partition(",")[2])))
        assert sheet.shape[:2] == (2 * SIZE, levels * SIZE)
        last = sheet[SIZE:, -SIZE:, 0] * 2 - 1
        np.testing.assert_allclose(last, heart.images[1, -1], atol=2 / 255)


def test_pictures_differ_in_their_pixels_and_in_nothing_else(page):
    """A PNG's other chunks, such as text and times, are alike in all of one size."""
    chunks = set()
    for shown in items_of(page)["hearts"]:
        png = base64.b64decode(shown["uri"].partition(",")[2])
        place, found = 8, []
        while place < len(png):
            length, kind = int.from_bytes(png[place : place + 4]), png[place + 4 : place + 8]
            found.append((kind, b"" if kind == b"IDAT" else png[place + 8 : place + 8 + length]))
            place += 12 + length
        chunks.add(tuple(dict.fromkeys(found)))
    assert len(chunks) == 1


def test_the_key_is_read_again_as_it_was_written(review, page):
    assert read_stage_json(PlausibilityKey, page.with_name("key.json")) == review.key


def test_a_page_without_patients_says_so(review, tmp_path):
    page = write_review(replace(review, patients=False), tmp_path / "open")
    assert "images of patients" not in page.read_text() + (page.with_name("README.md")).read_text()
    assert "All were made by a computer" in page.read_text()


READER = """
<script>
const press = (key, target = document) => target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
const pixels = one => one.getContext("2d").getImageData(0, 0, one.width, one.height).data;
const ink = id => pixels(element(id)).filter((_, at) => at % 4 < 3).reduce((a, b) => a + b, 0);
const noted = {};
const left = () => items.hearts.filter(one => !(one.name in state.ratings)).length;
async function read() {
  element("reader").value = element("reader").value || "Dr. A";
  noted.resumed = done();
  element("begin").click();
  if (left() === 3) {
    await Promise.all([sheet(task).decode()]);
    draw();
    noted.sides = phases.map(id => element(id).getBoundingClientRect().width);
    noted.first = element("slice").textContent;
    press("Home");
    noted.base = element("slice").textContent;
    noted.ink = phases.map(ink);
    press("ArrowDown");
    noted.next = element("slice").textContent;
    noted.ink2 = phases.map(ink);
    press(" ");
    noted.paused = !playing;
    press("Enter");                            // nothing rated yet: not taken
    noted.taken = done();
    press("4"); press("2");                    // anatomy, then motion
    element("artefact").value = "wall";
    element("note").value = "broken <b>septum</b>";
    press("Enter");
    return;                                    // the window is closed here
  }
  while (left()) { press("5"); press("m"); press("3"); press("Enter"); }
  const cards = element("cards").children;
  noted.cards = cards.length;
  noted.width = cards[0].querySelector("canvas").getBoundingClientRect().width;
  press(String(1), cards[order.indexOf("c2")]); // to its place by number
  if (order.indexOf("c0") > 1) press("ArrowLeft", cards[order.indexOf("c0")]);
  element("next").click();
}
read().then(() => { document.body.dataset.noted = JSON.stringify(noted); });
</script>
"""


@pytest.mark.skipif(not BROWSER, reason="no Chromium on this machine")
def test_a_reader_rates_closes_the_window_goes_on_and_puts_hearts_in_order(page, tmp_path):
    page.write_text(page.read_text().replace("</body>", f"{READER}</body>"))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={tmp_path / 'profile'}"]
    flags += ["--window-size=1920,1080", "--virtual-time-budget=3000"]

    def visit() -> tuple[dict, str]:
        dumped = subprocess.run(
            [BROWSER, *flags, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=120, check=True
        ).stdout
        noted = re.search(r'data-noted="(.*?)"', dumped).group(1).replace("&quot;", '"')
        return json.loads(noted), dumped

    noted, _ = visit()
    assert min(noted["sides"]) >= 256
    assert (noted["first"], noted["base"], noted["next"]) == tuple(f"Slice {n} of 5, base to apex" for n in (3, 1, 2))
    assert noted["ink"][0] > 2 * noted["ink"][1] and noted["ink2"][1] > 2 * noted["ink"][1]
    assert noted["paused"] and noted["taken"] == 0

    noted, dumped = visit()
    assert noted["resumed"] == 1 and noted["cards"] == 3 and noted["width"] >= 256
    saved = re.search(r'<pre id="answers"[^>]*>(.*?)</pre>', dumped).group(1)
    for escaped, plain in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        saved = saved.replace(escaped, plain)
    (tmp_path / "answers.json").write_text(saved)
    key = read_stage_json(PlausibilityKey, page.with_name("key.json"))
    (answers,) = read_plausibility_answers([tmp_path / "answers.json"], key)
    assert answers.reader == "Dr. A"
    assert {name: (one.anatomy, one.motion, one.artefact) for name, one in answers.ratings.items()} == {
        "h0": (4, 2, "wall"),
        "h1": (5, 3, "none"),
        "h2": (5, 3, "none"),
    }
    assert answers.ratings["h0"].note == "broken <b>septum</b>"
    assert answers.orderings["DCM-1"].order == ("c2", "c0", "c1")
    assert score_review(key, [answers])["pooled"]["tau_b"]["mean"] == 1.0
