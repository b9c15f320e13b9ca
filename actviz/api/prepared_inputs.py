"""`actviz.preprocess`: files as arrays for a network, read and prepared as the command does."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actviz.api.arguments import check_type, path_of, python_errors, python_words
from actviz.api.network import OpenNetwork
from actviz.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from actviz.inputs import InputArguments
    from actviz.records import Sample

    FilePath = str | os.PathLike[str]

_STACK = 3
"""From `warnings.warn` to the caller of `preprocess`, which is decorated."""


@python_errors()
def preprocess(  # noqa: PLR0913  (one keyword per option)
    inputs: FilePath | Sequence[FilePath] | Mapping[str, FilePath] | None,
    network: OpenNetwork,
    addresses: str | Sequence[str] | None = None,
    *,
    resize: str = "stretch",
    preprocess: str | Callable[[Path], Any] = "auto",
    invert: bool = False,
    layout: str = "auto",
    allow_nonfinite: bool = False,
    maximum_pixels: int = 50_000_000,
    frame: int = 0,
    background: str = "white",
    seed: int = 0,
    sample_rate: int | None = None,
) -> Any:
    """Read files and prepare them for a network, exactly as the command does.

    The range of images (0..1, -1..1 ...) is read off the model, if `preprocess` names none. Notes of the command
    on the files are warnings, and so is a range that is only a guess.

    Parameters
    ----------
    inputs
        A file, folder or pattern, or a list of them; files by input name for a network with
        several inputs; ``None`` for the input that the command uses if none is given.
    network
        The network that `open` returned.
    addresses
        The layers to be computed, if they do not need all inputs of the network.
    resize, preprocess, invert, layout, allow_nonfinite, maximum_pixels, frame, background, seed, sample_rate
        As the options of the command (``--max-pixels``); see ``actviz help inputs``. `preprocess` may also be
        a function that takes the path of a file and returns its values; the code of ``file.py:function`` runs.

    Returns
    -------
    numpy.ndarray or dict
        The argument of `Network.activations`: one array, batch axis first, in the dtype of the
        input; for a network with several inputs, arrays by name.

    Raises
    ------
    TypeError
        When `inputs` are no paths, `network` is no network, or `preprocess` no text and no function.
    UsageError, InputError, LimitError, UnsafeError
        When an option or a file is refused, or the files have different sizes.
    """
    from actviz.inputs import InputFunction, InputOptions, load_samples, preprocess_option

    check_type(network, OpenNetwork, "network", "what actviz.open returns", "the order is preprocess(inputs, network)")
    if not callable(preprocess):
        check_type(preprocess, str, "preprocess", "a range, file.py:function or a function")
    reader = {"function": InputFunction.of(preprocess)} if callable(preprocess) else preprocess_option(preprocess)
    options = InputOptions(
        resize=resize,
        invert=invert,
        layout=layout,
        allow_nonfinite=allow_nonfinite,
        maximum_pixels=maximum_pixels,
        frame=frame,
        background=background,
        seed=seed,
        sample_rate=sample_rate,
        **reader,
    )
    layers = network.layers if addresses is None else network.select(addresses)
    samples = load_samples(_arguments(inputs), network.facts, layers, options, fail_fast=True).samples
    guesses = [f"preprocessing: {text}" for sample in samples for text in sample.ranges if "give --preprocess" in text]
    for note in dict.fromkeys([*guesses, *(note for sample in samples for note in sample.notes)]):
        warnings.warn(python_words(note), stacklevel=_STACK)
    batch = _joined(samples)
    return next(iter(batch.values())) if len(network.inputs) == 1 else batch


def _arguments(inputs: Any) -> InputArguments:
    from actviz.inputs import InputArguments

    if inputs is None:
        return InputArguments()
    if isinstance(inputs, Mapping):
        return InputArguments(named=tuple(f"{name}={path_of(path, 'inputs')}" for name, path in inputs.items()))
    hint = "arrays are given to network.activations as they are"
    several = isinstance(inputs, Iterable) and not isinstance(inputs, (str, os.PathLike))
    paths = tuple(path_of(path, "inputs", hint) for path in (inputs if several else (inputs,)))
    if not paths:
        raise InputError("inputs: the list is empty; at least one path was expected.")
    return InputArguments(tuple(map(Path, paths)))


def _joined(samples: Sequence[Sample]) -> dict[str, NDArray[Any]]:
    """Return the values of samples by input name, joined along the batch axis."""
    import numpy as np

    batch = {}
    for name in samples[0].values:
        parts = [sample.values[name] for sample in samples]
        shapes = list(dict.fromkeys(part.shape[1:] for part in parts))
        if len(shapes) > 1:
            message = f"inputs: the files have different sizes ({shapes[0]} and {shapes[1]}), and one batch has one size; preprocess them one by one."
            raise InputError(message)
        batch[name] = np.concatenate(parts)
    return batch
