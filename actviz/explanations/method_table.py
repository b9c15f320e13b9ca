"""The methods by name; a new one is a module with its source in the docstring, and a line here."""

from __future__ import annotations

from actviz.explanations import (
    eigencam,
    gradcam,
    gradcam_plus_plus,
    integrated_gradients,
    layercam,
    occlusion,
    rise,
    saliency,
    scorecam,
    smoothgrad,
)
from actviz.explanations.method import Method

METHODS: dict[str, Method] = {
    "gradcam": Method(gradcam.compute, on_layer=True, gradients=True),
    "gradcam++": Method(gradcam_plus_plus.compute, on_layer=True, gradients=True),
    "layercam": Method(layercam.compute, on_layer=True, gradients=True),
    "saliency": Method(saliency.compute, on_layer=False, gradients=True),
    "smoothgrad": Method(smoothgrad.compute, on_layer=False, gradients=True),
    "integrated-gradients": Method(integrated_gradients.compute, on_layer=False, gradients=True, complete=True),
    "occlusion": Method(occlusion.compute, on_layer=False, gradients=False, patches=True),
    "rise": Method(rise.compute, on_layer=False, gradients=False),
    "scorecam": Method(scorecam.compute, on_layer=True, gradients=False),
    "eigencam": Method(eigencam.compute, on_layer=True, gradients=False),
}
