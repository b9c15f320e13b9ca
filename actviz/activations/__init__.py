"""Activations in a file: an `.npz` that numpy opens, without any pickle.

A file holds, for each layer, one array under the layer's address::

    numpy.load("out.npz")["conv_intermediate"]      # batch axis first, the layer's own dtype

Entry 0 of the batch axis is the first input, and so on. numpy has no bfloat16 and no
float8: those are stored as float32. Text is stored as fixed-width unicode.

Two more arrays belong to actviz, and no address is spelled as they are:

``actviz.json``
    One string (no axes): JSON that says what the arrays are. Read it with
    ``json.loads(str(file["actviz.json"]))``. `actviz` and `schema` are versions; `model`,
    `configuration` (SHA-256), `inputs`, `preprocessing` and `versions` say what computed
    the numbers. `layers` lists every layer of the model in its order: `address`, `name`,
    `index`, `class`, `shape` and `dtype` as computed, and, for those in the file, `key`
    (the name of the array), `axes`, `signed` and `weights` (SHA-256 of the weights read);
    `left_out` says why a layer that was asked for is missing. `samples` lists the inputs:
    `name`, `fed` (in words), `sha256` of the fed values, `picture` and `words`.
``actviz.fed``
    Pictures of what was fed, uint8. Their sizes ``[row, column]`` stand as `picture` with
    each input, `null` where it is no picture. Where all are of one size the array is
    ``(input, row, column, RGB)``, otherwise the same bytes, one picture after another,
    without axes.

A key is the address itself unless that would be no safe file name in an unpacked archive
or differs from another key by case alone: then it ends in ``~`` and a hash, and
``actviz.json`` tells the two apart.

All inputs of a file have the same size: arrays have one shape, and every other way (an
array for each input, padding) would make a file in which an address no longer names one
array. An input that gives other shapes than the first is refused, and can be written
to a file of its own.

The same activations give the same bytes: members have a fixed date and a fixed order.
"""

from actviz.activations.metadata import ActivationMetadata, ArrayEntry, SavedInput, layers_metadata, model_metadata
from actviz.activations.reader import SavedActivations, not_activations, open_saved, read_description
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
    "not_activations",
    "open_array",
    "open_arrays",
    "open_saved",
    "parse_axes",
    "read_description",
]
