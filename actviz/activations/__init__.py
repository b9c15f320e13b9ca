"""Files of activations: `.npz` files without pickles that NumPy can load.

A file has one array per layer, under the layer's address::

    numpy.load("out.npz")["conv_intermediate"]      # batch axis first, dtype of the layer

Index 0 of the batch axis is the first input, and so on. bfloat16 and float8, which NumPy lacks, are
stored as float32, strings as fixed-width Unicode.

Two more arrays have names that no address has:

``actviz.json``
    A string (no axes) with JSON that describes the arrays. Read it with
    ``json.loads(str(file["actviz.json"]))``. `actviz` and `schema` are versions; `model`,
    `configuration` (SHA-256), `inputs`, `preprocessing` and `versions` describe how the values were
    computed. `layers` lists all layers of the model in order: `address`, `name`, `index`, `class`,
    `shape` and `dtype` as computed, and, for layers in the file, `key` (the name of the array),
    `axes`, `signed` and `weights` (SHA-256 of the weights); `left_out` is the reason why a
    selected layer is missing. `samples` lists the inputs: `name`, `fed` (a description), `sha256`
    of the values, `picture` and `words`.
``actviz.fed``
    Thumbnails of the inputs, uint8. The size ``[row, column]`` of each is `picture` of the input,
    `null` if it has none. If all have the same size the array is ``(input, row, column, RGB)``,
    else a one-dimensional array of all their bytes in order.

A key is the address, unless that is no safe file name in an extracted archive or differs from another
key only by case: then it ends in ``~`` and a hash, and ``actviz.json`` has both.

All inputs of a file have the same size, as each layer has one array. An input that gives other shapes
than the first is refused and can be written to another file.

Equal activations give equal bytes: members have a fixed date and order.
"""

from actviz.activations.metadata import ActivationMetadata, ArrayEntry, SavedInput, layers_metadata, model_metadata
from actviz.activations.reader import SavedActivations, open_saved, read_description, refusal
from actviz.activations.untyped_arrays import open_array, open_arrays, parse_axes
from actviz.activations.writer import ActivationWriter

__all__ = [
    "ActivationMetadata",
    "ActivationWriter",
    "ArrayEntry",
    "SavedActivations",
    "SavedInput",
    "layers_metadata",
    "model_metadata",
    "open_array",
    "open_arrays",
    "open_saved",
    "parse_axes",
    "read_description",
    "refusal",
]
