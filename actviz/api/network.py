"""`actviz.open`: a network in the process of the caller."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Self

from actviz.api.arguments import check_array, names_of, path_of, python_errors
from actviz.api.layer_activation import LayerActivation
from actviz.errors import InputError, escape
from actviz.system import streams

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from actviz.api.top_inputs import TopInputs
    from actviz.explanations.explain import ExplanationMaps
    from actviz.formats.network_protocol import Network
    from actviz.records import LayerInfo, ModelFacts, TensorSpec


# What TensorFlow and its libraries print when they start: information, and that there is no GPU.
START_LINES = (
    r"^(I[0-9]{4} |[0-9 :.-]+: I |E[0-9]{4} .*failed call to cuInit"
    r"|WARNING: All log messages before absl|To enable the following instructions|INFO: Created TensorFlow Lite)"
)


class OpenNetwork:
    """A model opened by `actviz.open`; a context manager that closes the file."""

    def __init__(self, network: Network, path: Path) -> None:
        self._network = network
        self._path = path
        self._started = False

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

    def _repr_html_(self) -> str:
        """Return the table of layers for notebooks."""
        from actviz.api.layer_table import as_html

        return as_html(self.facts)

    def to_pandas(self) -> pd.DataFrame:
        """Return the layers as a DataFrame, one row each.

        Raises
        ------
        ImportError
            When pandas is not installed.
        """
        from actviz.api.layer_table import as_frame

        return as_frame(self.facts)

    def select(self, addresses: str | Sequence[str]) -> list[LayerInfo]:
        """Return the layers that addresses select, written as on the command line.

        Raises
        ------
        UsageError
            When an address matches no layer.
        """
        from actviz.addresses import select_layers_of

        hint = 'layers are chosen by text such as "conv" or "-1"'
        names = names_of(addresses, "addresses", "a layer address", hint)
        with python_errors():
            return select_layers_of(self.facts, names, str(self._path))

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

    @python_errors()
    def activations(
        self, inputs: ArrayLike | Mapping[str, ArrayLike], addresses: str | Sequence[str] | None = None
    ) -> dict[str, LayerActivation]:
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
        TypeError
            When an address is no text, or an input is a path.
        InputError
            When a required input is missing, or an input is unknown, has the wrong shape or
            dtype, or holds tokens outside the vocabulary.
        """
        chosen = None if addresses is None else [layer.address for layer in self.select(addresses)]
        with self._starting():
            computed = self._network.activations(self._batch(inputs), chosen)
        return {address: LayerActivation.of(activation) for address, activation in computed.items()}

    def explain(
        self,
        inputs: ArrayLike | Mapping[str, ArrayLike],
        *,
        of: int | str = "top",
        method: str | None = None,
        layer: str | None = None,
        labels: Sequence[str] = (),
    ) -> ExplanationMaps:
        """Return heat maps for a batch; see `actviz.explain`."""
        from actviz.explanations.explain import explain, layer_to_explain, parse_target
        from actviz.explanations.heat_maps import complete_shapes

        with self._starting():
            batch = self._batch(inputs)
            complete_shapes(self._network, batch)
            target = parse_target(of, self.facts, str(self._path), labels)
            names = names_of(layer, "layer", "a layer address") if layer is not None else ()
            address = layer_to_explain(self.facts, names, str(self._path)) if names else ""
            default = "gradcam" if self._network.has_gradients else "occlusion"
            return explain(self._network.scores, self.facts, batch, target, method or default, address)

    def top(
        self,
        inputs: ArrayLike | Mapping[str, ArrayLike],
        layers: str | Sequence[str],
        *,
        k: int = 9,
        by: str = "max",
        extreme: str = "high",
    ) -> dict[str, TopInputs]:
        """Return the inputs on which each channel is strongest; see `actviz.top`."""
        from actviz.api.top_inputs import strongest
        from actviz.statistics.strength_options import StrengthOptions

        with self._starting():
            batch, addresses = self._batch(inputs), [layer.address for layer in self.select(layers)]
            return strongest(self._network, batch, addresses, StrengthOptions(k, by, (extreme,)))

    @contextlib.contextmanager
    def _starting(self) -> Iterator[None]:
        """Hide what the libraries print when they start, unless TF_CPP_MIN_LOG_LEVEL is 0."""
        first, self._started = not self._started, True
        shown = not first or os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0"
        with contextlib.nullcontext() if shown else streams.without_lines(START_LINES):
            yield

    def close(self) -> None:
        """Close the file."""
        self._network.close()

    def _batch(self, inputs: ArrayLike | Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
        """Return the inputs as arrays by name, after completing shapes that the file leaves open from them."""
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
        for spec in self.inputs:
            if spec.name in inputs and spec.dtype != "string":
                check_array(inputs[spec.name], "inputs" if len(names) == 1 else f"inputs[{spec.name!r}]")
        batch = {spec.name: as_input_array(inputs[spec.name], spec) for spec in self.inputs if spec.name in inputs}
        counts = {name: len(values) for name, values in batch.items()}
        if len(set(counts.values())) > 1:
            held = ", ".join(f"{escape(name, 40)} {count}" for name, count in list(counts.items())[:8])
            message = f"the inputs hold different numbers of samples ({held}); the same number for each was expected."
            raise InputError(message)
        if not all(spec.shape for spec in self.inputs):
            self._network.complete({name: values.shape for name, values in batch.items()})
        return batch


@python_errors()
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

    file = path_of(path, "path")
    if isinstance(custom_objects, Mapping):
        trust = TrustPolicy((), dict(custom_objects), allow_code)
    else:
        trust = TrustPolicy(names_of(custom_objects, "custom_objects", "a source such as file.py:Name"), {}, allow_code)
    choice = GraphSelection(
        signature, names_of(tags, "tags", "a tag"), names_of(inputs, "inputs", "the name of an input")
    )
    return OpenNetwork(
        open_network(file, None if weights is None else path_of(weights, "weights"), trust, choice), file
    )
