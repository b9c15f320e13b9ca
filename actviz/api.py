"""The Python interface: networks, activations and figures in the process of the caller."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from actviz.errors import InputError, escape
from actviz.records import Context, Sample, Style

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray
    from PIL.Image import Image

    from actviz.formats.network_protocol import Network
    from actviz.records import Activation, LayerInfo, ModelFacts, TensorSpec


class OpenNetwork:
    """A model opened by `actviz.open`; a context manager that closes the file."""

    def __init__(self, network: Network, path: Path) -> None:
        self._network = network
        self._path = path

    def __enter__(self) -> Self:
        """Return the network itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def __repr__(self) -> str:
        """Return the file, its writer and the number of layers."""
        facts = self.facts
        return f"<actviz network {escape(facts.file)}: {facts.writer}, {len(facts.layers)} layers>"

    @property
    def facts(self) -> ModelFacts:
        """What is known about the file without running the model."""
        return self._network.facts

    @property
    def layers(self) -> tuple[LayerInfo, ...]:
        """Every output that has an address, in model order."""
        return self._network.layers

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs, in the model's order."""
        return self._network.inputs

    def activations(
        self, inputs: ArrayLike | Mapping[str, ArrayLike], addresses: str | Sequence[str] | None = None
    ) -> dict[str, Activation]:
        """Compute the outputs of some layers for a batch.

        Parameters
        ----------
        inputs
            Arrays by input name, batch axis first; or one array for a network with one input.
            Inputs that the layers do not depend on may be omitted.
        addresses
            Layer addresses as on the command line; ``None`` for every layer, without
            attention scores, which are computed only if their address is given.

        Returns
        -------
        dict
            Address to `Activation`: ``.values`` with the batch axis first, in the dtype of
            the layer, and ``.axes``. A pattern that matches several layers gives several
            keys.

        Raises
        ------
        UsageError
            When an address matches no layer.
        InputError
            When a required input is missing, or an input is unknown, has the wrong shape or
            dtype, or holds tokens outside the vocabulary.
        """
        from actviz.addresses import select_layers_of

        batch = self._batch(inputs)
        if not all(spec.shape for spec in self.inputs):
            self._network.complete({name: values.shape for name, values in batch.items()})
        if addresses is None:
            return self._network.activations(batch)
        chosen = select_layers_of(self.facts, _names(addresses), str(self._path))
        return self._network.activations(batch, [layer.address for layer in chosen])

    def close(self) -> None:
        """Close the file."""
        self._network.close()

    def _batch(self, inputs: ArrayLike | Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
        from collections.abc import Mapping

        from actviz.inputs.array_checks import as_input_array, listed

        names = [spec.name for spec in self.inputs]
        if not isinstance(inputs, Mapping):
            if len(names) != 1:
                message = f"the network has {len(names)} inputs ({listed(names)}); give a dictionary of arrays by name."
                raise InputError(message)
            inputs = {names[0]: inputs}
        unknown = [str(name) for name in inputs if name not in names]
        if unknown:
            message = f'there is no input "{escape(unknown[0], 60)}"; the network has {listed(names)}.'
            raise InputError(message)
        batch = {spec.name: as_input_array(inputs[spec.name], spec) for spec in self.inputs if spec.name in inputs}
        counts = {name: len(values) for name, values in batch.items()}
        if len(set(counts.values())) > 1:
            held = ", ".join(f"{escape(name, 40)} {count}" for name, count in list(counts.items())[:8])
            message = f"the inputs hold different numbers of samples ({held}); the same number for each was expected."
            raise InputError(message)
        return batch


def open(  # noqa: A001, PLR0913  (`actviz.open` is the public name; one keyword per option)
    path: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str] | None = None,
    custom_objects: str | Sequence[str] | Mapping[str, Any] = (),
    allow_code: bool = False,
    signature: str | None = None,
    tags: str | Sequence[str] = (),
    inputs: str | Sequence[str] = (),
) -> OpenNetwork:
    """Open a model file of any format that actviz reads.

    No code of the file is run unless `allow_code` is True. The layers are read at once; TensorFlow is imported when
    activations are computed.

    Parameters
    ----------
    path
        A `.keras`, `.h5` or `.tflite` file, an unpacked `.keras` folder, the JSON of an
        architecture, a SavedModel folder, or a frozen `.pb` graph.
    weights
        The file of the weights, for the JSON of an architecture or in place of those in a `.keras` or `.h5` file.
    custom_objects
        Custom layers, models and functions: the objects by name, or strings as for
        ``--custom-objects`` (``module:Name``, ``file.py:Name``, ``file.py``). The function of
        a Lambda layer may be given under the name of the layer.
    allow_code
        Let Lambda layers run the bytecode in the file.
    signature
        Signature of a SavedModel or a `.tflite` file; default: the one for serving.
    tags
        Tags of the graph, for a SavedModel that holds several.
    inputs
        Nodes of a frozen graph to feed; default: its placeholders.

    Raises
    ------
    ModelError, UnsafeError, LimitError
        When the file is not a model, is unsafe to load, or is too large.
    """
    from collections.abc import Mapping

    from actviz.formats import open_network
    from actviz.gate import TrustPolicy
    from actviz.records import GraphSelection

    if isinstance(custom_objects, Mapping):
        trust = TrustPolicy((), dict(custom_objects), allow_code)
    else:
        trust = TrustPolicy(_names(custom_objects), {}, allow_code)
    choice = GraphSelection(signature, _names(tags), _names(inputs))
    file = Path(path)
    return OpenNetwork(open_network(file, None if weights is None else Path(weights), trust, choice), file)


def _names(given: str | Sequence[str]) -> tuple[str, ...]:
    """Return names that may be given as a single string."""
    return (given,) if isinstance(given, str) else tuple(given)


def draw(activation: Activation, index: int = 0, style: Style | None = None, context: Context | None = None) -> Image:
    """Draw the output of a layer for one sample of its batch, as `actviz show` does.

    Parameters
    ----------
    activation
        A value of the dictionary that `OpenNetwork.activations` returns.
    index
        Index along the batch axis.
    style
        Scale, colors, channels and layout; default: as on the command line. The scale
        ``run`` needs the `ranges` of the layers.
    context
        Names of the model and the input for the caption.

    Raises
    ------
    UsageError
        When no renderer supports these axes, or the style does not fit the activation.
    InputError
        When the file that the scale names was not written by actviz.
    """
    from PIL import Image

    from actviz.batch import color_ranges
    from actviz.figures import renderers

    caption = context or Context(model="", input=f"sample {index}", fed="")
    return Image.fromarray(
        renderers.draw(activation, index, caption, color_ranges.with_known_ranges(style or Style())).pixels
    )


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
        Address to `Activation`, as `OpenNetwork.activations` returns, all of one batch.
    model
        Name of the model, shown in figures of the file.
    overwrite
        Replace an existing file.
    compress
        Compress the arrays: smaller and slower.

    Raises
    ------
    InputError
        When the batches differ in size, or an activation has no batch axis.
    OutputError
        When the file cannot be written, or exists.
    """
    from actviz import activations as files
    from actviz.results import output_files
    from actviz.system import file_writing

    target = Path(path)
    kind = output_files.ResultKind("file", lambda _: None)
    output_files.check_output(target, {"model": model}, kind, overwrite=overwrite)
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


def load(path: str | os.PathLike[str], addresses: str | Sequence[str] | None = None) -> dict[str, Activation]:
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
    from actviz.system import file_system

    source = Path(path)
    with file_system.reading(source) as (file, _):
        saved = files.open_saved(file, str(source))
        if saved is None:
            message = f"{source}: no actviz.json in it says what its arrays are; open it with numpy.load."
            raise InputError(message)
        held = [layer for layer in saved.description.layers if layer.address in saved.description.entries]
        chosen = (
            held if addresses is None else select_layers(held, _names(addresses), str(source), "python -m zipfile -l")
        )
        return {layer.address: saved.whole(layer.address) for layer in chosen}
