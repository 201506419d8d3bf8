"""Every attack: what it computes, what its attacker must have, where it comes from, and what it means."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from cmrfed.evaluation.leakage.attacks.clid import clid_scores
from cmrfed.evaluation.leakage.attacks.extraction import extraction_scores
from cmrfed.evaluation.leakage.attacks.fcre import fcre_scores, fcre_ssim_scores
from cmrfed.evaluation.leakage.attacks.gradient import gradient_logs, gradient_scores
from cmrfed.evaluation.leakage.attacks.gradient_shadow import gradient_shadow_scores
from cmrfed.evaluation.leakage.attacks.loss_threshold import loss_curves, loss_scores
from cmrfed.evaluation.leakage.attacks.nearest_sample import nearest_sample_scores
from cmrfed.evaluation.leakage.attacks.pfami import pfami_scores
from cmrfed.evaluation.leakage.attacks.pia import pia_scores, pian_scores
from cmrfed.evaluation.leakage.attacks.secmi import secmi_scores
from cmrfed.evaluation.leakage.attacks.shadow import lira_scores, rmia_scores
from cmrfed.evaluation.leakage.attacks.sima import sima_scores

Evidence = Literal["probe", "shadows", "pixels", "features"]
"""What is at hand: a `Probe`, `Shadows`, or `Samples` in one of two spaces."""


@dataclass(frozen=True)
class Attack:
    """One attack. `scores` takes the evidence that it `needs`; one score a patient, higher for members, or several
    numbers a patient for a classifier to weight.

    calibrated: whether it learns from calibration patients, whom it must then not be judged on.
    access: what the attacker holds: the loss of any image, the model's predictions, its gradients, or samples alone.
    family: attacks of one family rest on one idea, and count once.
    """

    scores: Callable[[Any], Any]
    needs: Evidence
    access: Literal["loss", "model", "gradients", "samples"]
    family: str
    paper: str
    meaning: str
    calibrated: bool = False


_LOSS = "Yeom et al. 2018; Carlini et al. 2023, arXiv:2301.13188"
_CURVE = "Matsumoto et al. 2023, arXiv:2302.03262"
_PIA = "Kong et al. 2024, arXiv:2305.18355"
_FCRE = "Zhao et al. 2025, arXiv:2506.14919"
_GRADIENT = "Nasr et al. 2019, arXiv:1812.00910; Pang et al. 2023, arXiv:2308.03405"
_GSA = "Pang et al. 2023, arXiv:2308.03405"
_LIRA = "Carlini et al. 2022, arXiv:2112.03570"
_RMIA = "Zarifzadeh et al. 2024, arXiv:2312.03262"
_NEAREST = "Chen et al. 2020, arXiv:1909.03935"
_EXTRACTION = "Carlini et al. 2023, arXiv:2301.13188"

ATTACKS: dict[str, Attack] = {
    "loss": Attack(
        loss_scores, "probe", "loss", "loss", _LOSS,
        "The generator's own loss is lower on patients it was trained on.",
    ),
    "loss_curve": Attack(
        loss_curves, "probe", "loss", "loss", _CURVE,
        "The same, with the noise levels weighted as patients of known membership teach.", calibrated=True,
    ),
    "secmi": Attack(
        secmi_scores, "probe", "model", "inversion", "Duan et al. 2023, arXiv:2302.01316",
        "An image that was trained on survives a step towards noise and back more exactly.",
    ),
    "pia": Attack(
        pia_scores, "probe", "model", "proximal", _PIA,
        "Noise that the network sees in a training image is seen again after it was put in.",
    ),
    "pian": Attack(
        pian_scores, "probe", "model", "proximal", _PIA,
        "The same, with that noise scaled to the length of Gaussian noise.",
    ),
    "sima": Attack(
        sima_scores, "probe", "model", "score", "Rao et al. 2025, arXiv:2509.25003",
        "At a training image the network sees little to correct.",
    ),
    "pfami": Attack(
        pfami_scores, "probe", "loss", "neighbourhood", "Fu et al. 2023, arXiv:2308.12143",
        "A memorised image is better known than the same image slightly cropped.",
    ),
    "fcre": Attack(
        fcre_scores, "probe", "model", "reconstruction", _FCRE,
        "Middle spatial frequencies of a training image are reconstructed more exactly.",
    ),
    "fcre_ssim": Attack(
        fcre_ssim_scores, "probe", "model", "reconstruction", _FCRE,
        "The same, together with structural similarity.",
    ),
    "clid": Attack(
        clid_scores, "probe", "loss", "condition", "Zhai et al. 2024, arXiv:2405.14800",
        "Mask and vendor help the generator more with a training image than with a stranger's.",
    ),
    "gradient_norm": Attack(
        gradient_scores, "probe", "gradients", "gradient", _GRADIENT,
        "Training has flattened the loss at its own patients.",
    ),
    "gradient": Attack(
        gradient_logs, "probe", "gradients", "gradient", _GRADIENT,
        "The same, layer by layer, weighted as patients of known membership teach.", calibrated=True,
    ),
    "gradient_shadow": Attack(
        gradient_shadow_scores, "shadows", "gradients", "gradient", _GSA,
        "The same, layer by layer, as similar generators whose patients are known teach.",
    ),
    "lira": Attack(
        lira_scores, "shadows", "loss", "shadow", _LIRA,
        "The loss is lower than that of similar generators which never saw the patient.",
    ),
    "rmia": Attack(
        rmia_scores, "shadows", "loss", "shadow", _RMIA,
        "The same as a ratio of likelihoods, ranked among known strangers.", calibrated=True,
    ),
    "nearest_sample": Attack(
        nearest_sample_scores, "pixels", "samples", "samples", _NEAREST,
        "Some synthetic image lies nearer to a training patient than other real patients do.",
    ),
    "extraction": Attack(
        extraction_scores, "pixels", "samples", "samples", _EXTRACTION,
        "Some synthetic image lies far nearer to a training patient than to any other.",
    ),
    "nearest_sample_features": Attack(
        nearest_sample_scores, "features", "samples", "samples", _NEAREST,
        "As nearest_sample, by the features of a network trained on photographs.",
    ),
    "extraction_features": Attack(
        extraction_scores, "features", "samples", "samples", _EXTRACTION,
        "As extraction, by the features of a network trained on photographs.",
    ),
}  # fmt: skip
"""Every attack by the name it has in a report and in `evaluation.leakage.attacks`."""
