"""Scores of images against images, recomputed with scikit-image or by hand."""

import numpy as np
import pytest
import torch
from skimage.metrics import normalized_root_mse, peak_signal_noise_ratio, structural_similarity

from cmrfed.evaluation.fidelity.metrics.networks import EfficientNetLite0
from cmrfed.evaluation.fidelity.metrics.pixels import (
    PAIRED,
    ms_ssim,
    nearest_by_mask,
    pair_similarity,
    perceptual_distance,
    ssim,
)
from cmrfed.evaluation.fidelity.metrics.pixels.paired import SCALE_WEIGHTS, scales_of
from cmrfed.shapes import Label


def images(count=3, size=64, seed=0):
    return torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def smooth(count=3, size=64, seed=0):
    return torch.nn.functional.interpolate(images(count, 8, seed), size=(size, size), mode="bicubic").clamp(-1, 1)


def test_errors_of_pixels_are_scikit_images():
    first, second = images(seed=0), images(seed=1)
    for number in range(3):
        a, b = first[number, 0].numpy(), second[number, 0].numpy()
        assert PAIRED["psnr"](first, second)[number] == pytest.approx(
            peak_signal_noise_ratio(b, a, data_range=2), rel=1e-5
        )
        expected = normalized_root_mse(b, a, normalization="min-max")
        assert PAIRED["nrmse"](first, second)[number] == pytest.approx(expected, rel=1e-5)
        assert PAIRED["mae"](first, second)[number] == pytest.approx(np.abs(a - b).mean(), rel=1e-5)
        assert PAIRED["mse"](first, second)[number] == pytest.approx(((a - b) ** 2).mean(), rel=1e-5)


def test_ssim_is_scikit_images_where_the_window_fits():
    first, second = smooth(seed=0), (smooth(seed=0) + 0.1 * images(seed=1)).clamp(-1, 1)
    for number, found in enumerate(ssim(first, second)):
        a, b = first[number, 0].numpy(), second[number, 0].numpy()
        _, places = structural_similarity(
            a, b, data_range=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
        )
        assert found == pytest.approx(places[5:-5, 5:-5].mean(), rel=1e-3)


def test_ms_ssim_multiplies_the_scales_contrasts_and_the_last_ones_similarity():
    first, second = smooth(1, seed=0), (smooth(1, seed=0) + 0.2 * smooth(1, seed=1)).clamp(-1, 1)
    weights, expected, a, b = np.array(SCALE_WEIGHTS[:3]) / sum(SCALE_WEIGHTS[:3]), 1.0, first, second
    for scale in range(3):
        similarity, contrast = parts(a, b)
        expected *= (similarity if scale == 2 else contrast) ** weights[scale]
        a, b = (torch.nn.functional.avg_pool2d(side, 2) for side in (a, b))
    assert float(ms_ssim(first, second)) == pytest.approx(expected, rel=1e-4)


def parts(a, b):
    """Mean similarity and contrast of two images, with the published window."""
    x = torch.arange(11.0) - 5
    window = torch.exp(-(x**2) / (2 * 1.5**2))
    window = (window[:, None] * window / window.sum() ** 2)[None, None]

    def blurred(values):
        return torch.nn.functional.conv2d(values, window)

    mean_a, mean_b = blurred(a), blurred(b)
    variances = blurred(a * a) - mean_a**2 + blurred(b * b) - mean_b**2
    contrast = (2 * (blurred(a * b) - mean_a * mean_b) + 0.06**2) / (variances + 0.06**2)
    luminance = (2 * mean_a * mean_b + 0.02**2) / (mean_a**2 + mean_b**2 + 0.02**2)
    return float((luminance * contrast).mean()), float(contrast.mean())


@pytest.mark.parametrize("size", [11, 16, 24, 64, 120, 176])
def test_similarity_is_one_to_itself_at_any_size(size):
    first = smooth(2, size)
    for score in (ssim, ms_ssim):
        np.testing.assert_allclose(score(first, first), 1, rtol=1e-4)
        assert (score(first, smooth(2, size, seed=1)) < 0.9).all()


def test_the_published_five_scales_are_used_where_they_fit():
    assert [scales_of(side) for side in (10, 11, 64, 175, 176)] == [0, 1, 3, 4, 5]


def test_an_image_smaller_than_the_window_is_refused():
    with pytest.raises(ValueError, match="11 pixels a side"):
        ms_ssim(images(size=8), images(size=8))


def test_the_perceptual_distance_is_zero_to_itself_symmetric_and_grows_with_noise():
    first = smooth(2, 32)
    little, much = (first + strength * images(2, 32, seed=1) for strength in (0.05, 0.5))
    assert perceptual_distance(first, first).abs().max() < 1e-6
    torch.testing.assert_close(perceptual_distance(first, much), perceptual_distance(much, first))
    assert (perceptual_distance(first, little) < perceptual_distance(first, much)).all()


def test_the_perceptual_distance_is_of_unit_channels_averaged_over_stages():
    first, second = smooth(2, 32), images(2, 32)
    network, expected = EfficientNetLite0().eval(), []
    pixels = [((side + 1) * 127.5).round().to(torch.uint8) for side in (first, second)]
    with torch.no_grad():
        for a, b in zip(*(network.stages(side, 128) for side in pixels), strict=True):
            lengths = [side.norm(dim=1, keepdim=True) for side in (a, b)]
            expected.append(((a / lengths[0] - b / lengths[1]) ** 2).sum(1).mean((1, 2)))
    assert len(expected) == 5
    torch.testing.assert_close(perceptual_distance(first, second), torch.stack(expected).mean(0), rtol=1e-4, atol=1e-6)


def squares(*places):
    masks = torch.zeros(len(places), 16, 16, dtype=torch.long)
    for mask, place in zip(masks, places, strict=True):
        mask[place : place + 6, place : place + 6] = Label.LV
    return masks


def test_the_partner_has_the_most_similar_mask_of_the_same_vendor_and_phase():
    same, other = torch.tensor([[0, 1]]), torch.tensor([[1, 1]])
    pool = squares(9, 5, 2)
    assert nearest_by_mask(squares(1), same, pool, same.expand(3, 2)).tolist() == [2]
    # the nearest of all is another vendor's, and is not taken while there is one of the same
    conditions = torch.cat([same, same, other])
    assert nearest_by_mask(squares(1), same, pool, conditions).tolist() == [1]
    assert nearest_by_mask(squares(1), same, pool, other.expand(3, 2)).tolist() == [2]


def test_a_pool_without_anybody_is_refused():
    none = torch.zeros(0, 2, dtype=torch.long)
    with pytest.raises(ValueError, match="pool is empty"):
        nearest_by_mask(squares(1), torch.tensor([[0, 1]]), squares(), none)


def test_collapse_makes_patients_alike_and_noise_makes_them_unlike():
    patients = torch.arange(10).repeat_interleave(2)
    varied = 0.7 * smooth(1, 32, seed=3) + 0.3 * smooth(20, 32, seed=0)
    collapsed = varied[:1] + 0.05 * images(20, 32, seed=1)
    value, interval = pair_similarity(varied, patients, 200, 0)
    assert interval[0] <= value <= interval[1]
    assert pair_similarity(collapsed, patients, 200, 0)[1][0] > interval[1]
    assert pair_similarity(images(20, 32, seed=2), patients, 200, 0)[1][1] < interval[0]


def test_images_of_one_patient_are_never_a_pair():
    """Each patient repeats one image: if a patient were compared with itself, the mean would rise towards 1."""
    own = smooth(4, 32)
    value, _ = pair_similarity(own.repeat_interleave(5, 0), torch.arange(4).repeat_interleave(5), 100, 0)
    apart = [float(ms_ssim(own[i : i + 1], own[j : j + 1])) for i in range(4) for j in range(i)]
    assert min(apart) <= value <= max(apart)
    with pytest.raises(ValueError, match="two of them"):
        pair_similarity(own, torch.zeros(4, dtype=torch.long), 100, 0)
