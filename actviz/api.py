"""The Python interface: the same network, activations and figures, in the caller's process."""

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
    """A model opened by `actviz.open`; closes its file at the end of a ``with`` block."""

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
        """Say what is open."""
        facts = self.facts
        return f"<actviz network {escape(facts.file)}: {facts.writer}, {len(facts.layers)} layers>"

    @property
    def facts(self) -> ModelFacts:
        """What the file says about itself."""
        return self._network.facts

    @property
    def layers(self) -> tuple[LayerInfo, ...]:
        """Every addressable output, in model order."""
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
            Arrays by input name, batch axis first; or one array for a network of one input.
            What the layers do not depend on may be left out.
        addresses
            Layer addresses as on the command line; ``None`` for every layer, but not for
            the scores of attention, which are computed where they are asked for.

        Returns
        -------
        dict
            By address, an `Activation`: ``.values`` with the batch axis first, in the
            layer's own dtype, and ``.axes``. An address that means several layers gives
            several keys.

        Raises
        ------
        UsageError
            When an address means nothing.
        InputError
            When an input that the layers need is missing; when one is unknown, of the wrong
            shape or dtype, or holds tokens outside the vocabulary.
        """
        from actviz.addresses import select_layers

        batch = self._batch(inputs)
        if not all(spec.shape for spec in self.inputs):
            self._network.complete({name: values.shape for name, values in batch.items()})
        if addresses is None:
            return self._network.activations(batch)
        wanted = [addresses] if isinstance(addresses, str) else addresses
        chosen = select_layers(self.layers, wanted, str(self._path), gone=self.facts.gone)
        return self._network.activations(batch, [layer.address for layer in chosen])

    def close(self) -> None:
        """Close the file."""
        self._network.close()

    def _batch(self, inputs: ArrayLike | Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
        from collections.abc import Mapping

        from actviz.inputs.array_checks import as_fed, listed

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
        batch = {spec.name: as_fed(inputs[spec.name], spec) for spec in self.inputs if spec.name in inputs}
        counts = {name: len(values) for name, values in batch.items()}
        if len(set(counts.values())) > 1:
            held = ", ".join(f"{escape(name, 40)} {count}" for name, count in list(counts.items())[:8])
            message = f"the inputs hold different numbers of samples ({held}); the same number for each was expected."
            raise InputError(message)
        return batch


def open(  # noqa: A001, PLR0913  (actviz.open reads as what it does; a keyword for each fact of a file)
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

    Nothing in the file is run unless `allow_code` says so. Its layers are known at once; TensorFlow is imported when
    activations are asked for.

    Parameters
    ----------
    path
        A `.keras`, `.h5` or `.tflite` file, an unpacked `.keras` folder, the JSON of an
        architecture, a SavedModel folder, or a frozen `.pb` graph.
    weights
        The HDF5 file of the weights, for a JSON.
    custom_objects
        The code of custom layers, models and functions: the objects by name, or texts as
        ``--custom-objects`` takes them (``module:Name``, ``file.py:Name``, ``file.py``). The
        function of a Lambda may be given under the layer's name.
    allow_code
        Let Lambda layers run the bytecode in the file.
    signature
        Which signature of a SavedModel; the one for serving otherwise.
    tags
        Which graph of a SavedModel that holds several.
    inputs
        The nodes of a frozen graph that are fed; its placeholders otherwise.

    Raises
    ------
    ModelError, UnsafeError, LimitError
        When it is no model, must not be loaded, or is too large.
    """
    from collections.abc import Mapping

    from actviz.formats import open_network
    from actviz.gate import TrustPolicy
    from actviz.records import GraphSelection

    place = Path(path)
    if isinstance(custom_objects, Mapping):
        trust = TrustPolicy((), dict(custom_objects), allow_code)
    else:
        texts = [custom_objects] if isinstance(custom_objects, str) else custom_objects
        trust = TrustPolicy(tuple(texts), {}, allow_code)
    choice = GraphSelection(
        signature,
        (tags,) if isinstance(tags, str) else tuple(tags),
        (inputs,) if isinstance(inputs, str) else tuple(inputs),
    )
    return OpenNetwork(open_network(place, None if weights is None else Path(weights), trust, choice), place)


def draw(activation: Activation, index: int = 0, style: Style | None = None, context: Context | None = None) -> Image:
    """Draw the output of a layer for one input of its batch, as `actviz show` does.

    Parameters
    ----------
    activation
        One value of the result of `OpenNetwork.activations`.
    index
        Position along the batch axis.
    style
        Scale, colours, channels and layout; the defaults of the command line otherwise.
        For the scale ``run`` give it the `ranges` of the layers.
    context
        What the figure says about model and input.

    Raises
    ------
    UsageError
        When nothing draws these axes, or the style asks for what the activation does not have.
    InputError
        When the file that the scale names is none of actviz's.
    """
    from PIL import Image

    from actviz.batch import color_ranges
    from actviz.figures import renderers

    said = context or Context(model="", input=f"sample {index}", fed="")
    return Image.fromarray(renderers.draw(activation, index, said, color_ranges.known(style or Style())).pixels)


def save(
    path: str | os.PathLike[str],
    activations: Mapping[str, Activation],
    *,
    model: str = "",
    overwrite: bool = False,
    compress: bool = False,
) -> None:
    """Save activations as an `.npz` that `load`, `actviz render` and numpy read, without pickle.

    Parameters
    ----------
    path
        Where to; written whole or not at all.
    activations
        By address, as `OpenNetwork.activations` returns them, all of one batch.
    model
        The name of the model, which figures of the file will show.
    overwrite
        Replace a file that stands there.
    compress
        Smaller and slower.

    Raises
    ------
    InputError
        When the batches differ in size, or an activation is no array with a batch axis.
    OutputError
        When the file cannot be written, or exists.
    """
    from actviz import activations as files
    from actviz.results import output_files
    from actviz.system import file_system

    place = Path(path)
    output_files.prepare_folder(place.parent)
    output_files.check_replaceable(
        place, {"model": model}, output_files.ResultKind("file", lambda _: None), overwrite=overwrite
    )
    counts = {len(one.values) if one.values.ndim else 0 for one in activations.values()}
    if len(counts) != 1 or 0 in counts:
        sizes = ", ".join(map(str, sorted(counts))) or "none"
        message = f"the activations hold batches of the sizes {sizes}; one batch of at least one was expected."
        raise InputError(message)
    with files.ActivationWriter(place.parent) as collector:
        for number in range(counts.pop()):
            found = {
                address: dataclasses.replace(one, values=one.values[number : number + 1])
                for address, one in activations.items()
            }
            collector.add(Sample(f"sample {number}", {}, None, "", ""), found)
        for address, reason in collector.left_out.items():
            message = f"layer {escape(address, 80)!r} cannot be saved: {reason}."
            raise InputError(message)
        with file_system.replacing(place) as file:
            collector.write(file, files.about_layers(model, activations), compress=compress)


def load(path: str | os.PathLike[str], addresses: str | Sequence[str] | None = None) -> dict[str, Activation]:
    """Load activations that `save` or `actviz extract` wrote.

    Parameters
    ----------
    path
        The `.npz` file.
    addresses
        Layer addresses as on the command line; ``None`` for every layer in the file. Only
        those are read.

    Returns
    -------
    dict
        By address, an `Activation`. bfloat16 and float8 come back as float32, text as
        fixed-width unicode.

    Raises
    ------
    InputError, UnsafeError, LimitError
        When it is no such file, damaged, unsafe or a zip bomb.
    UsageError
        When an address means nothing, or a layer that is not in the file.
    """
    from actviz import activations as files
    from actviz.addresses import select_layers
    from actviz.system import file_system

    place = Path(path)
    with file_system.reading(place) as (file, _):
        saved = files.open_saved(file, str(place))
        if saved is None:
            message = f"{place}: no actviz.json in it says what its arrays are; open it with numpy.load."
            raise InputError(message)
        held = [layer for layer in saved.description.layers if layer.address in saved.description.entries]
        wanted = [addresses] if isinstance(addresses, str) else addresses
        chosen = held if wanted is None else select_layers(held, wanted, str(place), "python -m zipfile -l")
        return {layer.address: saved.whole(layer.address) for layer in chosen}
