"""Files to what a network is fed: decoding, resizing, range, and saying what was done."""

from actviz.inputs.options import InputOptions
from actviz.inputs.preprocessing import Preprocessing, choose_preprocessing
from actviz.inputs.samples import default_sample, read_samples

__all__ = [
    "InputOptions",
    "Preprocessing",
    "choose_preprocessing",
    "default_sample",
    "read_samples",
]
