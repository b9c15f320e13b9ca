"""The rows of the threat table, and the mark that says which test covers which row.

`tests/tools/make_threats.py` writes `tests/THREATS.md` from the marks that pytest collects; a
test that carries ``threat(row, code)`` gets `code` through the fixture of that name and
asserts that it is what actviz answers.
"""

import pytest

CODE = {
    1: "code in a Lambda of a .keras file",
    2: "code in a Lambda of an .h5 file; a Keras with known holes installed",
    3: "code in output_shape or mask of a Lambda",
    4: "a Lambda that names a function which Keras exports",
    5: "a function of os, builtins or another module",
    6: "Keras functions that fetch, load or switch guards off",
    7: "a Lambda inside nested models and wrappers, up to 5 deep",
    8: "code in compile_config, at any depth",
    9: "TFSMLayer, which names a SavedModel elsewhere",
    10: "TorchModuleWrapper, JaxLayer, FlaxLayer",
    11: "a class that is not Keras's",
    12: "a module named by the folder, a config file or the environment",
    13: "a vocabulary that is a path",
    14: "HDF5 external storage",
    15: "HDF5 external, soft and user-defined links, also at the root",
    16: "HDF5 virtual datasets",
    17: "HDF5 hard links in a loop, a million objects",
    18: "HDF5 filters that need a plug-in",
    19: "weights that are no numbers",
    20: "archive members that point outside, links",
    21: "archive members of one name",
    22: "a file that is two formats at once",
    23: "a file that is exchanged between check and loading",
    24: "remote paths",
    25: "links in an unpacked .keras folder",
    26: "TypeSpec and CompositeTensor in JSON",
    27: "a built-in class registered under another name",
    28: "pickles beside the model",
}
RESOURCES = {
    29: "a layer that declares a trillion weights",
    30: "layers without weights whose output is enormous",
    31: "an HDF5 dataset that declares far more than it stores",
    32: "a configuration that unpacks to 64 MiB",
    33: "an archive whose members unpack to hundreds of GiB, or overlap",
    34: "a parser that crashes",
    35: "a parser that hangs",
    36: "JSON nested 20,000 deep",
    37: "too many layers, layers in a loop, models that call models to billions of layers",
    38: "numbers of units that are none",
    39: "an empty, truncated or garbage file",
    40: "an archive called .h5, HDF5 called .keras",
    41: "weights without a model",
    42: "a Git LFS pointer",
    43: "weights that are missing, too many or of another shape",
    44: "weights that are NaN or infinite",
    45: "Keras 1 and 2 names with a slash",
    46: "TensorFlow operations of Keras 2",
    47: "a FIFO, device, folder or socket",
    48: "a file that grows while it is read",
    49: "products of sizes beyond 64 bits",
    50: "texts that take for ever to split",
}
GRAPHS = {
    51: "a SavedModel that writes a file when it is called",
    52: "a SavedModel that writes a file when it is loaded",
    53: "PrintV2 to a file, SaveV2",
    54: "saved_model.pbtxt",
    55: "operations in nested functions, operations that carry a graph",
    56: "operations that call Python",
    57: "operations that read files, files of the model that are links",
    58: "TFLite: custom and Flex operators",
    59: "TFLite: malformed flatbuffers",
    60: "TFLite: giant tensors",
}
INPUTS = {
    62: "object arrays in .npy and .npz",
    63: "a pickle called .npy",
    64: ".npy that declares a trillion numbers",
    65: ".npy of impossible shapes, cut off, or with more behind it",
    66: ".npy with an endless header",
    67: ".npz that unpacks to far more than it is",
    68: "big-endian and Fortran order",
    69: "dtypes that are no numbers",
    70: "NaN and infinities",
    71: "wrong rank, channels or size",
    72: "arrays that fit both layouts",
    73: "16-bit grey",
    74: "float TIFF",
    75: "CMYK, LAB, YCbCr",
    76: "colours hidden by alpha",
    77: "palettes with transparency, 1 bit",
    78: "EXIF orientations",
    79: "animated and many-page images",
    80: "images of 10,000 megapixels",
    81: "images between one and two times the decoder's limit",
    82: "zTXt and iCCP bombs",
    83: "truncated images",
    84: "EPS, PDF and others under an image's name",
    85: "CSV that is none",
    86: "texts without end",
    87: "tokens outside the vocabulary",
    88: "standard input that is a terminal, empty, binary or endless",
    89: "link loops, folders, FIFOs, unreadable and missing files",
    90: "names with any bytes, leading dashes",
}
OUTPUTS = {
    91: "layer names that are paths, too long, reserved or empty",
    92: "layer names that give one file name",
    93: "links planted where results, their folder or the folder of an input go",
    94: "a disk that is full or fails, at every call in turn",
    95: "folders that cannot be written, files of others",
    96: "Ctrl-C amid a batch",
    97: "SIGTERM amid a batch",
    98: "SIGKILL: temporary files of runs that died",
    99: "a reader that closes the pipe",
    100: "standard output on a full device",
    101: "a second run over a part that is done",
    102: "two runs into one folder",
    103: "the same bytes in another folder, locale, time zone, umask",
    104: "the same colours within one step, whatever the batch",
    105: "modules and settings lying about",
    106: "control, bidi and workflow characters in names",
    107: "standard streams that are closed, a working folder that is gone",
    108: "manifests that name files elsewhere",
}
NOT_TRIED = {
    (3, "mask"): "refused, but no control: Keras does not run a Lambda's mask when a model is loaded or called",
    (15, "a user-defined link"): "refused, but no control: HDF5 follows one only where a program defines its class",
    (18, "a plug-in"): "refused by the filter's number; that HDF5 would load one is not shown, which needs a compiler",
    (34, "a crashing HDF5 file"): "such files are not kept; a worker that kills itself stands for it",
    (60, "dynamic shapes"): "a shape that only the run tells is bounded by the worker's memory limit (row 30)",
    (
        93,
        "links above the output folder",
    ): "followed: they are the user's way to the folder that the command line names",
    (98, "power loss"): "cannot be had here; each file is written whole, and over an older one only after fsync",
    (104, "another processor"): "there is one here; golden pictures allow one colour step",
    (50, "a regular expression"): "no Keras layer takes one from a file; what counts is that every wait ends (row 35)",
}
ROWS = CODE | RESOURCES | GRAPHS | INPUTS | OUTPUTS


def threat(row, code):
    """Mark a test as covering a row, with the exit code that it asserts."""
    assert row in ROWS
    return pytest.mark.threat(row, code)
