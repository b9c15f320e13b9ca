"""Files from the command line as samples for a network, and what stands in for none.

`choose_preprocessing` decides the range of images from what the model says about itself;
`read_samples` and `stream` turn images, arrays and text into samples; `default_sample`
gives one where there is no input. `load_samples` does all of it for a command; `list_input_files`
opens up folders, patterns and lists, and a `Recipe` reads their files one by one.
"""

from actviz.inputs.default_input import default_sample
from actviz.inputs.input_files import InputFile, InputPaths, Shard, list_input_files, parse_shard
from actviz.inputs.input_options import LAYOUTS, MAXIMUM_PIXELS, RESIZES, InputOptions
from actviz.inputs.label_files import read_names
from actviz.inputs.preprocessing import (
    PREPROCESS_CHOICES,
    PREPROCESSINGS,
    Preprocessing,
    choose_preprocessing,
    parse_preprocessing,
)
from actviz.inputs.reading import read_samples, stream
from actviz.inputs.sources import (
    InputArguments,
    InputPipeline,
    InputSamples,
    find_input_files,
    iterate_samples,
    load_samples,
    make_pipeline,
)

__all__ = [
    "LAYOUTS",
    "MAXIMUM_PIXELS",
    "PREPROCESSINGS",
    "PREPROCESS_CHOICES",
    "RESIZES",
    "InputArguments",
    "InputFile",
    "InputOptions",
    "InputPaths",
    "InputPipeline",
    "InputSamples",
    "Preprocessing",
    "Shard",
    "choose_preprocessing",
    "default_sample",
    "find_input_files",
    "iterate_samples",
    "list_input_files",
    "load_samples",
    "make_pipeline",
    "parse_preprocessing",
    "parse_shard",
    "read_names",
    "read_samples",
    "stream",
]
