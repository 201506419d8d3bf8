"""What every score of fidelity is called and means: the one table that a report reads to print any of them."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Meaning:
    """title, unit ("" for none), which way is better, one sentence, and where it was published ("" for here)."""

    title: str
    unit: str
    better: Literal["lower", "higher", "as the floor"]
    meaning: str
    reference: str = ""


SPACES = {
    "efficientnet-lite0": "EfficientNet-Lite0 (ImageNet)",
    "inception-v3": "Inception-v3 (ImageNet)",
    "resnet50": "ResNet-50 (ImageNet)",
    "radimagenet-resnet50": "ResNet-50 (RadImageNet)",
    "radiomics": "radiomic features (Frechet radiomic distance)",
    "cardiac": "cardiac encoder (phantom)",
}
"""Titles of the feature spaces."""

_SPACE_SCORES = {
    "fid": Meaning(
        "Frechet distance",
        "",
        "lower",
        "Distance of Gaussians fitted to the features of made and of real images; its bias at few images is in the "
        "floor alike.",
        "Heusel et al., NeurIPS 2017",
    ),
    "kid": Meaning(
        "Kernel distance",
        "",
        "lower",
        "Unbiased squared distance of two sets of features under a cubic kernel; below 0 by chance when they agree.",
        "Binkowski et al., ICLR 2018",
    ),
    "precision": Meaning(
        "Precision",
        "",
        "higher",
        "Share of made images that lie among the real ones: whether what is drawn could be real.",
        "Kynkaanniemi et al., NeurIPS 2019",
    ),
    "recall": Meaning(
        "Recall",
        "",
        "higher",
        "Share of real images that lie among the made ones: whether all that is real gets drawn.",
        "Kynkaanniemi et al., NeurIPS 2019",
    ),
    "density": Meaning(
        "Density",
        "",
        "higher",
        "How many real images' neighbourhoods a made image lies in, 1 where the sets agree, whatever the outliers.",
        "Naeem et al., ICML 2020",
    ),
    "coverage": Meaning(
        "Coverage",
        "",
        "higher",
        "Share of real images with a made one in their neighbourhood.",
        "Naeem et al., ICML 2020",
    ),
    "inception_score": Meaning(
        "Inception score",
        "",
        "as the floor",
        "How varied images look to a network of photographs, none of whose kinds is a heart; a value far from real "
        "images' is a fault either way.",
        "Salimans et al., NeurIPS 2016",
    ),
    "fld": Meaning(
        "Feature likelihood divergence",
        "0.01 nats a feature",
        "lower",
        "How much less likely held-out real images are around made images than around as many real ones; 0 is as good "
        "as real.",
        "Jiralerspong et al., NeurIPS 2023",
    ),
    "fld_gap": Meaning(
        "Generalisation gap",
        "0.01 nats a feature",
        "higher",
        "By how much training images are likelier than held-out ones around made images, counted negative; far below "
        "the floor, training images are repeated.",
        "Jiralerspong et al., NeurIPS 2023",
    ),
    "reconstruction_fid": Meaning(
        "Reconstruction Frechet distance",
        "",
        "lower",
        "Frechet distance of held-out real images from what the generator makes of them after half of each is replaced "
        "by noise: whether it knows images that it was not shown.",
    ),
}

_PIXEL_SCORES = {
    "ssim": Meaning(
        "SSIM",
        "",
        "as the floor",
        "Structural similarity to the real image of the same mask; the floor is another patient's image of the most "
        "similar mask.",
        "Wang et al., IEEE TIP 2004",
    ),
    "ms_ssim": Meaning(
        "MS-SSIM",
        "",
        "as the floor",
        "The same over several scales.",
        "Wang et al., Asilomar 2003",
    ),
    "psnr": Meaning(
        "PSNR", "dB", "as the floor", "Peak signal over the error of pixels against the real image of the same mask."
    ),
    "mae": Meaning("MAE", "", "as the floor", "Mean absolute error of pixels, of a range of 2."),
    "mse": Meaning("MSE", "", "as the floor", "Mean squared error of pixels, of a range of 2."),
    "nrmse": Meaning("NRMSE", "", "as the floor", "Root of the mean squared error over the range of the real image."),
    "perceptual": Meaning(
        "Perceptual distance",
        "",
        "as the floor",
        "Squared distance of unit channels in five layers of EfficientNet-Lite0, all channels alike: LPIPS without its "
        "learnt weights.",
        "after Zhang et al., CVPR 2018",
    ),
    "between_patients": Meaning(
        "Similarity between patients",
        "",
        "as the floor",
        "Mean MS-SSIM of images of different patients; above real images' it shows mode collapse, below it noise.",
        "Odena et al., ICML 2017",
    ),
}

_MEASURES = {
    "lv_myo_area_ratio": "area of the left ventricle over its wall's",
    "rv_lv_area_ratio": "area of the right ventricle over the left's",
    "wall_thickness_mm": "thickness of the myocardium",
    "blood_contrast": "contrast of blood against myocardium",
    "edge_width_mm": "width of the endocardial edge",
    "edv_ml": "end-diastolic volume",
    "esv_ml": "end-systolic volume",
    "ejection_fraction": "ejection fraction",
    "lv_mass_g": "left-ventricular mass",
}


def _structure_scores(name: str, what: str) -> dict[str, Meaning]:
    """A measurement's two distances."""
    title = what[0].upper() + what[1:]
    return {
        name: Meaning(
            f"{title}, distance",
            "SD",
            "lower",
            f"Wasserstein distance between made and real distributions of the {what}, in standard deviations of the "
            "real one.",
        ),
        f"{name}_ks": Meaning(
            f"{title}, Kolmogorov-Smirnov",
            "",
            "lower",
            f"Largest difference of the cumulative distributions of the {what}.",
        ),
    }


_FAITHFULNESS_SCORES = {
    f"dice_{part}": Meaning(
        f"Dice, {title}",
        "",
        "higher",
        f"Overlap of the {title} that a segmenter finds in the image with what the mask asked for.",
    )
    for part, title in (
        ("lv", "left ventricle"),
        ("myo", "myocardium"),
        ("rv", "right ventricle"),
        ("mean", "three structures"),
    )
} | {
    "hd95_mm": Meaning(
        "HD95",
        "mm",
        "lower",
        "95th percentile of the distances in the slice between outlines found and asked for; a structure that only one "
        "of them has is charged the slice's diagonal.",
    )
}

SCORES: dict[str, dict[str, Meaning]] = {
    "spaces": _SPACE_SCORES,
    "pixels": _PIXEL_SCORES,
    "structure": {
        key: meaning for name, what in _MEASURES.items() for key, meaning in _structure_scores(name, what).items()
    },
    "faithfulness": _FAITHFULNESS_SCORES,
}
"""Meanings by the part of the results a score stands in (under `spaces`, within each space) and by its key."""
