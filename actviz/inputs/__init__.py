"""Load input files as samples for a network.

`choose_preprocessing` chooses the range of images for a model; `read_samples` converts images, arrays
and text to samples; `default_sample` is used if there is no input. `load_samples` does all of it;
`list_input_files` expands folders, patterns and lists, and an `InputPipeline` reads files one by one.
"""

from actviz.inputs.default_input import default_sample
from actviz.inputs.input_files import InputArguments, InputFile, Shard, list_input_files, parse_shard
from actviz.inputs.input_function import InputFunction, preprocess_option
from actviz.inputs.input_options import LAYOUTS, MAXIMUM_PIXELS, RESIZES, InputOptions
from actviz.inputs.label_files import read_names
from actviz.inputs.preprocessing import (
    PREPROCESSINGS,
    Preprocessing,
    choose_preprocessing,
    parse_preprocessing,
)
from actviz.inputs.reading import read_samples
from actviz.inputs.sources import (
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
    "RESIZES",
    "InputArguments",
    "InputFile",
    "InputFunction",
    "InputOptions",
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
    "preprocess_option",
    "read_names",
    "read_samples",
]
