"""Feature networks whose weights are the user's, and the cardiac encoder that the phantom teaches."""

import numpy as np
import pytest
import torch
from refusals import refuses
from torch import nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torchvision.models import resnet50

from cmrfed.evaluation.fidelity.metrics import EXTRACTORS, SPACES, extract_features, logits_of, refuse_unusable_spaces
from cmrfed.evaluation.fidelity.metrics.networks import cardiac
from cmrfed.evaluation.fidelity.metrics.networks.cardiac import CardiacEncoder, Recipe, encoder_weights, train_encoder
from cmrfed.evaluation.fidelity.metrics.networks.resnet import torchvision_keys

TINY = Recipe(hearts=2, steps=3, batch_size=4, channels=(4, 4, 4, 4, 8, 4))


@pytest.fixture(scope="module")
def published() -> nn.Module:
    torch.manual_seed(0)
    return resnet50(weights=None).eval()


@pytest.fixture
def images():
    return torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture(scope="module")
def hearts():
    return cardiac._rendered(TINY, TINY.hearts, None)


def in_order(published):
    """The keys of RadImageNet's release: the backbone's layers by number, without the classifier."""
    layers = nn.Sequential(*list(published.children())[:-1])
    return {f"backbone.{name}": tensor for name, tensor in layers.state_dict().items()}


def test_a_resnets_features_are_the_published_networks(published, images, tmp_path):
    torch.save(published.state_dict(), tmp_path / "weights.pth")
    pixels = ((images + 1) * 127.5).round() / 255
    resized = nn.functional.interpolate(pixels, (224, 224), mode="bilinear", antialias=True).expand(-1, 3, -1, -1)
    mean, spread = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        features = nn.Sequential(*list(published.children())[:-1])((resized - mean) / spread).flatten(1)
        logits = published.fc(features)
    path = str(tmp_path / "weights.pth")
    found = extract_features(images, "resnet50", path)
    torch.testing.assert_close(found, features, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(logits_of("resnet50", path)(found), logits, rtol=1e-3, atol=1e-4)


def test_radimagenets_release_and_torchvisions_names_are_one_network(published, images, tmp_path):
    torch.save(in_order(published), tmp_path / "released.pt")
    torch.save(published.state_dict(), tmp_path / "named.pt")
    first, second = (
        extract_features(images, "radimagenet-resnet50", str(tmp_path / name)) for name in ("released.pt", "named.pt")
    )
    assert torch.equal(first, second)
    assert first.shape == (2, 2048)
    assert logits_of("radimagenet-resnet50", str(tmp_path / "released.pt")) is None


@pytest.fixture(scope="module")
def inception(tmp_path_factory):
    """A file of weights that fits, without the ones that would have to be downloaded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        patch.setattr("torch_fidelity.feature_extractor_inceptionv3.torch.load", lambda *_, **__: {})
        empty = tmp_path_factory.mktemp("inception") / "empty.pth"
        empty.touch()
        torch.manual_seed(0)
        network = FeatureExtractorInceptionV3("", ["2048"], feature_extractor_weights_path=str(empty))
    torch.save(network.state_dict(), empty)
    return str(empty)


def test_inceptions_features_and_logits_are_torch_fidelitys(inception, images):
    network = FeatureExtractorInceptionV3("", ["2048", "logits_unbiased"], feature_extractor_weights_path=inception)
    pixels = ((images + 1) * 127.5).round().to(torch.uint8).expand(-1, 3, -1, -1)
    with torch.no_grad():
        features, logits = network(pixels)
    found = extract_features(images, "inception-v3", inception)
    torch.testing.assert_close(found, features)
    torch.testing.assert_close(logits_of("inception-v3", inception)(found), logits, rtol=1e-4, atol=1e-4)


def test_spaces_that_cannot_be_used_are_refused_before_any_work(tmp_path):
    refuse_unusable_spaces(["efficientnet-lite0", "cardiac", "radiomics"], {})
    with refuses("'resnet'", "radimagenet-resnet50"):
        refuse_unusable_spaces(["resnet"], {})
    with refuses("'inception'"):
        refuse_unusable_spaces(["radiomics"], {"inception": str(tmp_path)})
    with refuses("resnet50", "none are downloaded", "evaluation.fidelity.weights"):
        refuse_unusable_spaces(["radiomics", "resnet50"], {})
    with refuses("absent.pth"):
        refuse_unusable_spaces(["resnet50"], {"resnet50": str(tmp_path / "absent.pth")})


def test_wrappers_are_taken_off_the_names_of_weights():
    one = torch.zeros(1)
    assert torchvision_keys({"state_dict": {"module.backbone.4.0.conv1.weight": one}}) == {"layer1.0.conv1.weight": one}
    assert torchvision_keys({"model.layer2.0.bn1.bias": one}) == {"layer2.0.bn1.bias": one}


def test_every_space_has_a_title():
    assert SPACES.keys() == EXTRACTORS.keys()


def test_the_encoder_is_trained_once_and_kept(monkeypatch):
    seen = []
    path = encoder_weights(lambda done, total: seen.append((done, total)), TINY)
    assert seen == [(number, 5) for number in range(1, 6)]
    monkeypatch.setattr(cardiac, "train_encoder", lambda *_: pytest.fail("trained again"))
    assert encoder_weights(recipe=TINY) == path
    weights = CardiacEncoder(path, TINY.channels).state_dict()
    assert all(tensor.isfinite().all() for tensor in weights.values())


def test_the_same_recipe_gives_the_same_encoder_and_another_seed_another(hearts, monkeypatch):
    monkeypatch.setattr(cardiac, "_rendered", lambda *_: hearts)
    state = torch.get_rng_state()
    first, again, other = (
        train_encoder(recipe, torch.device("cpu")).state_dict()
        for recipe in (TINY, TINY, Recipe(**{**vars(TINY), "seed": 1}))
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)
    assert torch.equal(state, torch.get_rng_state())


def test_the_encoder_learns_what_it_is_taught(hearts, monkeypatch):
    monkeypatch.setattr(cardiac, "_rendered", lambda *_: hearts)
    recipe, losses = Recipe(hearts=2, steps=40, batch_size=8, learning_rate=1e-2, channels=TINY.channels), []
    for one in (Recipe(**{**vars(recipe), "steps": 1}), recipe):
        encoder = train_encoder(one, torch.device("cpu"))
        images, truth = next(cardiac._batches(hearts, recipe, torch.device("cpu")))
        with torch.no_grad():
            losses.append(float(encoder.loss(images, truth)))
    assert losses[1] < 0.8 * losses[0]


def test_the_encoders_features_are_the_mean_of_its_bottleneck_at_any_size():
    encoder = CardiacEncoder(channels=TINY.channels).eval()
    pixels = torch.randint(0, 256, (2, 1, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = encoder(pixels)
        maps = encoder.levels(pixels.float() / 127.5 - 1)[-1]
        assert encoder(pixels[:, :, ::2, ::2]).shape == (2, 8)
    assert maps.shape == (2, 8, 4, 4)
    np.testing.assert_allclose(found, maps.mean((2, 3)), rtol=1e-5)
