"""Layer addresses: the layers of a network that a text on the command line selects."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from actviz.errors import UsageError, error_of_code, escape
from actviz.layer_catalogue import facts_of
from actviz.records import PRE
from actviz.suggestions import did_you_mean, near_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actviz.records import LayerInfo, ModelFacts

NEAR = 3
LISTED = 5
EVERY_LAYER = "**"
PATTERN = re.compile(r"[*?\[]")
SLICE = re.compile(r"(-?\d{1,9})?:(-?\d{1,9})?(?::(-?\d{1,9}))?")


def select_layers(
    layers: Sequence[LayerInfo],
    wanted: Sequence[str],
    file: str,
    command: str = "actviz layers",
    facts: ModelFacts | None = None,
) -> list[LayerInfo]:
    """Return the layers that addresses select, each once, in the order given.

    Parameters
    ----------
    layers
        All layers of the network, in model order.
    wanted
        Addresses; each may hold several, separated by commas. Those that begin with ``!`` leave layers out of
        what the others select, or of all layers if there are no others.
    file
        Path of the model or file, for error messages.
    command
        The command that lists the layers of such a file, for error messages.
    facts
        Facts of the model: layers with a refusal are left out of patterns that match others, and
        layers that a converter removed are named as such.

    Raises
    ------
    ModelError, UnsafeError
        When an address selects only layers with a refusal.
    UsageError
        When an address matches no layer (with the closest names), or is ambiguous.
    """
    listing = f"{command} {shlex.quote(escape(file, 100))}"
    if facts is not None and any(PRE in text for text in wanted):
        layers = [*layers, *facts.pre_activations]
    removed, refusals = (facts.removed_layers, facts.refusals) if facts is not None else ({}, {})
    found: dict[str, LayerInfo] = {}
    parts = [part for text in wanted for part in ([text] if _exact(layers, text) else map(str.strip, text.split(",")))]
    exclusions = [part for part in parts if part.startswith("!") and not _exact(layers, part)]
    for part in [part for part in parts if part not in exclusions] or [EVERY_LAYER] * bool(exclusions):
        if not _exact(layers, part):
            _check_removed(layers, part, removed, listing)
        if facts is not None and part.endswith(PRE):
            _check_pre_activation(layers, part, facts, listing)
        selected = _exact(layers, part) or _resolve(layers, _without_model(layers, part, facts), listing)
        computed = [layer for layer in selected if layer.address not in refusals]
        if refusals and not computed:
            raise error_of_code(*refusals[selected[0].address])
        found |= {layer.address: layer for layer in computed if layer.address not in found}
    for part in exclusions:
        for layer in _resolve(layers, _without_model(layers, part[1:].strip(), facts), listing):
            found.pop(layer.address, None)
    if exclusions and not found:
        message = (
            f"{' '.join(escape(part, 60) for part in exclusions)} leaves no layer; list the layers with: {listing}"
        )
        raise UsageError(message)
    return list(found.values())


def select_layers_of(facts: ModelFacts, wanted: Sequence[str], file: str) -> list[LayerInfo]:
    """Return the layers of a model that addresses select; see `select_layers`."""
    return select_layers(facts.every_layer, wanted, file, facts=facts)


def _exact(layers: Sequence[LayerInfo], text: str) -> list[LayerInfo]:
    """Return the layer with that address, or else that top-level name; both take precedence over patterns."""
    return [layer for layer in layers if text == layer.address] or [
        layer for layer in layers if text == layer.name and layer.index is not None
    ]


def _without_model(layers: Sequence[LayerInfo], text: str, facts: ModelFacts | None) -> str:
    """Return an address without the name of the model, which begins the names of operations in a graph."""
    model = f"{facts.names[0]}/" if facts is not None and facts.names else ""
    if not model or any(layer.address.startswith(model) for layer in layers):
        return text
    return text.removeprefix(model)


def _check_removed(layers: Sequence[LayerInfo], text: str, removed_layers: Mapping[str, str], listing: str) -> None:
    """Refuse a layer whose output a converter removed, with the reason."""
    lost = [address for address in removed_layers if text in {address, address.rpartition("/")[2]}]
    there = any(text in {layer.address, layer.name, layer.address.rpartition("/")[2]} for layer in layers)
    if lost and not there:
        message = f'"{escape(text, 80)}" has no values of its own in this file: {escape(removed_layers[lost[0]], 300)}; list the layers with: {listing}'
        raise UsageError(message)


def _check_pre_activation(layers: Sequence[LayerInfo], text: str, facts: ModelFacts, listing: str) -> None:
    """Refuse a layer whose values before its activation function are not known, with the reason."""
    address = text.removesuffix(PRE)
    if PATTERN.search(text) or any(_without_calls(layer.address) in {text, _without_calls(text)} for layer in layers):
        return
    before = [layer for layer in _resolve(facts.every_layer, address, listing) if not layer.inner]
    if not before or any(layer.address == f"{item.address}{PRE}" for item in before for layer in layers):
        return
    layer = before[0]
    record = facts_of(layer.kind)
    shown = escape(address, 80)
    if facts.format == "tflite":
        reason = "TensorFlow Lite computes activation functions inside the operations before them"
    elif record.recurrent or record.attention or record.wraps:
        reason = f"a {escape(layer.kind, 60)} applies functions inside its computation, not to its output"
    elif record.activation is not None:
        reason = "it only applies an activation function, to the output of the layer before it"
    elif record.activation_last and layer.activation in {None, "linear"}:
        reason = "it has no activation function that the file shows, or a linear one"
    elif record.activation_last:
        reason = "it lies inside a wrapper or a custom layer, or replaces a class of Keras"
    else:
        reason = f"{escape(layer.kind, 60)} applies no activation function last, or none that the file shows"
    message = f'"{escape(text, 80)}" has no values: {reason}; choose {shown}, or list the layers with: {listing}'
    raise UsageError(message)


def _resolve(layers: Sequence[LayerInfo], text: str, listing: str) -> list[LayerInfo]:
    exact = _exact(layers, text)
    if exact:
        return exact
    if re.fullmatch(r"-?\d{1,9}", text):
        return _indexed(layers, int(text), listing)
    if ":" in text and SLICE.fullmatch(text):
        return _sliced(layers, text, listing)
    if text.startswith("@"):
        return _some(_outer([layer for layer in layers if _matches(layer.kind, text[1:])]), text, layers, listing)
    if PATTERN.search(text):
        return _some(_outer([layer for layer in layers if _matches(layer.address, text)]), text, layers, listing)
    return _named(layers, text, listing)


def _outer(found: list[LayerInfo]) -> list[LayerInfo]:
    """Return the layers that a pattern matches; operations inside layers only if it matches no layer."""
    return [layer for layer in found if not layer.inner] or found


def _named(layers: Sequence[LayerInfo], text: str, listing: str) -> list[LayerInfo]:
    """Return the calls of a shared layer, or a nested layer by its bare name."""
    calls = [layer for layer in layers if _without_calls(layer.address) == text]
    if calls:
        return calls
    nested = _outer([layer for layer in layers if text in (layer.name, layer.address.rsplit("/", 1)[-1])])
    places = {_without_calls(layer.address) for layer in nested}
    if len(places) > 1:
        named = ", ".join(escape(place, 60) for place in sorted(places)[:LISTED])
        message = f'"{escape(text, 80)}" means {len(places)} layers ({named}); give the whole address.'
        raise UsageError(message)
    if not nested:
        _check_number(layers, text)
    return _some(nested, text, layers, listing)


def _check_number(layers: Sequence[LayerInfo], text: str) -> None:
    """Refuse the index of a call or output that does not exist, with those that do."""
    for place in re.finditer(r"[#@](\d{1,9})", text):
        before, mark = text[: place.start()], place[0][0]
        family = re.compile(rf"{re.escape(before)}{mark}(\d+)")
        numbers = sorted({int(found[1]) for layer in layers if (found := family.match(layer.address))})
        what = "call" if mark == "#" else "output"
        if numbers and int(place[1]) not in numbers:
            message = f'"{escape(text, 80)}": "{escape(before, 80)}" has {len(numbers)} {what}s, {mark}{numbers[0]} to {mark}{numbers[-1]}.'
            raise UsageError(message)
        if not numbers and any(layer.address == before for layer in layers):
            message = f'"{escape(text, 80)}": "{escape(before, 80)}" has one {what}; leave {place[0]} away.'
            raise UsageError(message)


def _without_calls(address: str) -> str:
    return re.sub(r"[#@]\d+", "", address)


def _indexed(layers: Sequence[LayerInfo], index: int, listing: str) -> list[LayerInfo]:
    count = _count(layers)
    position = index + count if index < 0 else index
    found = [layer for layer in layers if layer.index == position]
    if not count:
        message = f"{index}: the layers of this model have no numbers, only names; list them with: {listing}"
        raise UsageError(message)
    if not found:
        message = f"there is no layer {index}; the model has {count} (0 to {count - 1}); list them with: {listing}"
        raise UsageError(message)
    return found


def _sliced(layers: Sequence[LayerInfo], text: str, listing: str) -> list[LayerInfo]:
    start, stop, step = (int(part) if part else None for part in (*text.split(":"), "")[:3])
    if step == 0:
        message = f'"{text}": the step of a slice cannot be 0.'
        raise UsageError(message)
    positions = range(_count(layers))[start:stop:step]
    return _some(
        [layer for position in positions for layer in layers if layer.index == position], text, layers, listing
    )


def _count(layers: Sequence[LayerInfo]) -> int:
    return max((layer.index + 1 for layer in layers if layer.index is not None), default=0)


def _matches(name: str, pattern: str) -> bool:
    """Match a glob in which ``*`` stays within a level and ``**`` crosses levels."""
    pieces = re.split(r"(\*\*|\*|\?|\[[^\]]*\])", pattern)
    translated = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    expression = "".join(
        translated.get(piece, piece.replace("[!", "[^") if piece.startswith("[") else re.escape(piece))
        for piece in pieces
    )
    try:
        return re.fullmatch(expression, name) is not None
    except re.error:
        return False


def _some(found: list[LayerInfo], text: str, layers: Sequence[LayerInfo], listing: str) -> list[LayerInfo]:
    if found:
        return found
    address, _, channel = text.rpartition(":")
    if channel.isdecimal() and any(address in {layer.address, layer.name} for layer in layers):
        message = f'no layer "{escape(text, 80)}"; a channel after a layer is for show --contact; otherwise choose {escape(address, 80)} and --channels {escape(channel, 20)}.'
        raise UsageError(message)
    names = sorted({layer.kind for layer in layers}) if text.startswith("@") else [layer.address for layer in layers]
    plain = text.strip("@*")
    near = near_names(plain, names) or [name for name in names if plain.lower() in name.lower()][:NEAR]
    sign = "@" if text.startswith("@") else ""
    deeper = "**" + text.lstrip("*")
    if not sign and PATTERN.search(text) and any(_matches(layer.address, deeper) for layer in layers):
        near = [deeper]  # the layers are inside others, where * does not reach
    hint = f"{did_you_mean(sign + name for name in near)} Or list" if near else "list"
    message = f'no layer "{escape(text, 80)}"; {hint} them with: {listing}'
    raise UsageError(message)
