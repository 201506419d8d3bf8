"""The closed tables of what a configuration may name, and where each member is.

Configurations reach hospitals over a network: they name things, and these tables alone say what a name stands for. Each
is read by whoever checks a name (configuration, a site's policy, the command line's help), before anything heavy is
imported, and by whoever loads it; so that a new member is one line here, wherever it is used.
"""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from pydantic_core import PydanticCustomError, core_schema


class Members(dict[str, str]):
    """name -> "module:attribute", in the order in which they are listed."""

    def load(self, name: str) -> Any:
        """What a name stands for. Raises KeyError where it stands for nothing."""
        module, _, attribute = self[name].partition(":")
        return getattr(import_module(module), attribute)


class Loaded(Mapping[str, Any]):
    """A table whose values are what its names stand for, each loaded when it is asked for."""

    def __init__(self, members: Members) -> None:
        self._members = members

    def __getitem__(self, name: str) -> Any:
        return self._members.load(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)


class OneOf:
    """Marks text that must be a name in a table: `Annotated[str, OneOf(FAMILIES)]`."""

    def __init__(self, members: Mapping[str, object]) -> None:
        self.members = members

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return core_schema.no_info_after_validator_function(self._known, handler(source))

    def _known(self, name: str) -> str:
        if name not in self.members:
            *others, last = (repr(one) for one in self.members)
            expected = f"{', '.join(others)} or {last}" if others else last
            raise PydanticCustomError("literal_error", "Input should be {expected}", {"expected": expected})
        return name


FAMILIES = Members(
    flow="cmrfed.generators.flow:Flow",
    ddpm="cmrfed.generators.ddpm:DDPM",
    edm="cmrfed.generators.edm:EDM",
    shortcut="cmrfed.generators.shortcut:Shortcut",
    direct_flow="cmrfed.generators.sourced:DirectFlow",
    reference_adaptation="cmrfed.generators.sourced:ReferenceAdaptation",
    volume="cmrfed.generators.volume:Volume",
    cvae="cmrfed.generators.cvae:CVAE",
    multicontrast="cmrfed.generators.multicontrast:MultiContrast",
    maskgit="cmrfed.generators.maskgit:MaskGIT",
    masked_ar="cmrfed.generators.masked_ar:MaskedAR",
    mask_diffusion="cmrfed.generators.mask_diffusion:MaskDiffusion",
    dcgan="cmrfed.generators.gans.dcgan:DCGAN",
    progressive_gan="cmrfed.generators.gans.progressive:ProgressiveGAN",
    spade_gan="cmrfed.generators.gans.spade:SpadeGAN",
    reconstruction_gan="cmrfed.generators.gans.reconstruction:ReconstructionGAN",
    volume_gan="cmrfed.generators.gans.volume:VolumeGAN",
    wgan_covariates="cmrfed.generators.gans.wgan_covariates:CovariateWGAN",
)
"""Generator families: paths from noise to image, which every network walks, or generators of another kind."""

NETWORKS = Members(
    unet="cmrfed.generators.networks.unet:UNet",
    unet3d="cmrfed.generators.networks.unet3d:UNet3d",
    attention_unet="cmrfed.generators.networks.attention_unet:AttentionUNet",
    dit="cmrfed.generators.networks.dit:DiT",
    spade="cmrfed.generators.networks.spade:SPADEUNet",
    controlnet="cmrfed.generators.networks.controlnet:ControlledUNet",
)
"""Networks that walk a path."""

SAMPLERS = Members(
    euler="cmrfed.generators.samplers:euler",
    ddim="cmrfed.generators.samplers:euler",
    heun="cmrfed.generators.samplers:heun",
    midpoint="cmrfed.generators.samplers:midpoint",
    dpm_solver="cmrfed.generators.samplers:dpm_solver",
    adaptive="cmrfed.generators.samplers:adaptive",
)
"""Solvers that carry noise to an image along a path."""

SPACES = Members(
    pixel="cmrfed.generators.spaces:Pixel",
    kl="cmrfed.generators.kl:KLSpace",
)
"""Spaces that a path runs in."""

LAYOUTS = Members(
    pairs="cmrfed.layouts.pairs:Pairs",
    nnunet="cmrfed.layouts.nnunet:NnUnet",
    bids="cmrfed.layouts.bids:Bids",
    dicom="cmrfed.layouts.dicom:DicomSeries",
)
"""How synthetic pairs lie on disk."""

RULES = Members(
    mean="cmrfed.aggregation.mean:MEAN",
    median="cmrfed.aggregation.median:MEDIAN",
    trimmed_mean="cmrfed.aggregation.trimmed_mean:TRIMMED_MEAN",
    krum="cmrfed.aggregation.krum:KRUM",
    multi_krum="cmrfed.aggregation.multi_krum:MULTI_KRUM",
)
"""Rules that join the sites' updates into one."""

FEATURE_SPACES = Members(
    {
        "efficientnet-lite0": "cmrfed.evaluation.fidelity.metrics.features:EFFICIENTNET_LITE0",
        "inception-v3": "cmrfed.evaluation.fidelity.metrics.features:INCEPTION_V3",
        "resnet50": "cmrfed.evaluation.fidelity.metrics.features:RESNET50",
        "radimagenet-resnet50": "cmrfed.evaluation.fidelity.metrics.features:RADIMAGENET_RESNET50",
        "cardiac": "cmrfed.evaluation.fidelity.metrics.features:CARDIAC",
        "radiomics": "cmrfed.evaluation.fidelity.metrics.features:RADIOMICS",
    }
)
"""Spaces in which images are compared, by the network that makes their features."""

ATTACKS = Members(
    loss="cmrfed.evaluation.leakage.attacks.loss_threshold:LOSS",
    loss_curve="cmrfed.evaluation.leakage.attacks.loss_threshold:LOSS_CURVE",
    mid_path="cmrfed.evaluation.leakage.attacks.mid_path:MID_PATH",
    secmi="cmrfed.evaluation.leakage.attacks.secmi:SECMI",
    pia="cmrfed.evaluation.leakage.attacks.pia:PIA",
    pian="cmrfed.evaluation.leakage.attacks.pia:PIAN",
    sima="cmrfed.evaluation.leakage.attacks.sima:SIMA",
    pfami="cmrfed.evaluation.leakage.attacks.pfami:PFAMI",
    fcre="cmrfed.evaluation.leakage.attacks.fcre:FCRE",
    fcre_ssim="cmrfed.evaluation.leakage.attacks.fcre:FCRE_SSIM",
    clid="cmrfed.evaluation.leakage.attacks.clid:CLID",
    gradient_norm="cmrfed.evaluation.leakage.attacks.gradient:GRADIENT_NORM",
    gradient="cmrfed.evaluation.leakage.attacks.gradient:GRADIENT",
    gradient_shadow="cmrfed.evaluation.leakage.attacks.gradient_shadow:GRADIENT_SHADOW",
    lira="cmrfed.evaluation.leakage.attacks.shadow:LIRA",
    rmia="cmrfed.evaluation.leakage.attacks.shadow:RMIA",
    nearest_sample="cmrfed.evaluation.leakage.attacks.nearest_sample:NEAREST_SAMPLE",
    extraction="cmrfed.evaluation.leakage.attacks.extraction:EXTRACTION",
    nearest_sample_features="cmrfed.evaluation.leakage.attacks.nearest_sample:NEAREST_SAMPLE_FEATURES",
    extraction_features="cmrfed.evaluation.leakage.attacks.extraction:EXTRACTION_FEATURES",
)
"""Attacks on who was trained on."""
