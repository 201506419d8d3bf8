"""A generator -> a folder that draws without cmrfed: a MONAI bundle (https://docs.monai.io, "MONAI Bundle").

    models/model.pt2           all of drawing as one program of torch.export (`program`)
    models/model.safetensors   the weights, as cmrfed reads them
    configs/metadata.json      what goes in and what comes out, by MONAI's schema (`documents`)
    configs/inference.json     draws images for a file of masks, with torch, nibabel and MONAI's bundle runner alone
    example/mask.nii.gz        masks of a simulated heart on the generator's grid

Most networks are MONAI's own, but what they are told (vendor, phase, style, ...) enters by encoders that are cmrfed's,
and the way from noise to image is cmrfed's too; MONAI's classes alone cannot express these. The program can.
"""

from cmrfed.bundle.export import export_bundle

__all__ = ["export_bundle"]
