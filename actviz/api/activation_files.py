"""`actviz.save` and `actviz.load`: files of activations."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from actviz.api.arguments import check_type, names_of, path_of, python_errors
from actviz.api.layer_activation import LayerActivation
from actviz.errors import InputError, UsageError, escape
from actviz.records import Activation, Sample

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence


@python_errors()
def save(
    path: str | os.PathLike[str],
    activations: Mapping[str, Activation],
    *,
    model: str = "",
    overwrite: bool = False,
    compress: bool = False,
) -> None:
    """Save activations as an `.npz` file that `load`, `actviz render` and NumPy read, without pickle.

    Parameters
    ----------
    path
        The file to write; it is replaced atomically.
    activations
        Address to `Activation`, as `Network.activations` returns, all of one batch.
    model
        Name of the model, shown in figures of the file.
    overwrite
        Replace any file, not only activations of the same model; without a name of the model, of the same layers.
    compress
        Compress the arrays: smaller and slower.

    Raises
    ------
    TypeError
        When `path` is no path, or `activations` are no dictionary of `Activation`.
    UsageError
        When `path` does not end in ``.npz``.
    InputError
        When the batches differ in size, or an activation has no batch axis.
    OutputError
        When the file cannot be written, or is another than this function would replace.
    """
    from actviz import activations as files
    from actviz.results import output_files
    from actviz.system import file_writing

    target = path_of(path, "path", "the order is save(path, activations)")
    expected = "a dictionary of activations by address"
    hint = "give what network.activations returns"
    check_type(activations, Mapping, "activations", expected, hint)
    for address, item in activations.items():
        check_type(address, str, "activations", expected, hint)
        check_type(item, Activation, "activations", expected, hint)
    kind = output_files.ResultKind("model's activations" if model else "file", files.read_description)
    identity = {"model": model} if model else {"model": "", "layers": set(activations)}
    output_files.check_output(target, identity, kind, overwrite=overwrite)
    if target.suffix != ".npz":
        message = f"{target}: activations are written as .npz; give a name that ends in .npz."
        raise UsageError(message)
    counts = {len(item.values) if item.values.ndim else 0 for item in activations.values()}
    if len(counts) != 1 or 0 in counts:
        sizes = ", ".join(map(str, sorted(counts))) or "none"
        message = f"the activations hold batches of the sizes {sizes}; one batch of at least one was expected."
        raise InputError(message)
    with files.ActivationWriter(target.parent) as collector:
        for number in range(counts.pop()):
            sample = {
                address: dataclasses.replace(item, values=item.values[number : number + 1])
                for address, item in activations.items()
            }
            collector.add(Sample(f"sample {number}", {}, None, "", ""), sample)
        for address, reason in collector.left_out.items():
            message = f"layer {escape(address, 80)!r} cannot be saved: {reason}."
            raise InputError(message)
        with file_writing.replace_file(target) as file:
            collector.write(file, files.layers_metadata(model, activations), compress=compress)


@python_errors()
def load(path: str | os.PathLike[str], addresses: str | Sequence[str] | None = None) -> dict[str, LayerActivation]:
    """Load activations that `save` or `actviz extract` wrote.

    Parameters
    ----------
    path
        The `.npz` file.
    addresses
        Layer addresses as on the command line; ``None`` for every layer. Only these layers
        are read.

    Returns
    -------
    dict
        Address to `Activation`. bfloat16 and float8 are returned as float32, text as
        fixed-width unicode.

    Raises
    ------
    InputError, UnsafeError, LimitError
        When the file was not written by actviz, is damaged or unsafe, or exceeds a limit.
    UsageError
        When an address matches no layer of the file.
    """
    from actviz import activations as files
    from actviz.addresses import select_layers
    from actviz.gate.file_type import ARCHIVES, NPY
    from actviz.system import file_system

    source = path_of(path, "path")
    with file_system.reading(source) as (file, size):
        start = file.read(len(NPY))
        if not start.startswith((NPY, *ARCHIVES)):
            raise files.refusal(file, size, str(source), "an .npz of actviz.save or actviz extract")
        saved = None if start == NPY else files.open_saved(file, str(source))
        if saved is None:
            message = f"{source}: no actviz.json in it says what its arrays are; open it with numpy.load."
            raise InputError(message)
        held = [layer for layer in saved.description.layers if layer.address in saved.description.entries]
        chosen = held
        if addresses is not None:
            names = names_of(addresses, "addresses", "a layer address")
            chosen = select_layers(held, names, str(source), "python -m zipfile -l")
        return {layer.address: LayerActivation.of(saved.whole(layer.address)) for layer in chosen}
