"""``actviz layers``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from actviz.cli import options
from actviz.cli.configured_command import ConfiguredCommand
from actviz.cli.notes import write_note
from actviz.errors import escape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actviz.commands.layers import LayersResult
    from actviz.records import ModelFacts, SignatureInfo, TensorSpec

RIGHT = (0, 4)


@click.command("layers", cls=ConfiguredCommand)
@options.model
@options.layer
@options.as_json
@options.flag("--operations", help="Also list the single operations of a graph; each has an address.")
@options.model_options
@options.quiet
def command(*, as_json: bool, operations: bool, layers: tuple[str, ...], quiet: bool, **values: Any) -> None:
    """List the layers of MODEL: addresses for `--layer`, classes, shapes, parameters and kinds of figures."""
    from actviz.commands.layers import LayersRequest, list_layers, record_of

    result = list_layers(LayersRequest(options.take_model_options(values), operations, layers))
    if not quiet:
        for note in result.notes:
            write_note(f"actviz: {note}")
    click.echo(json.dumps(record_of(result)) if as_json else table(result))


def table(result: LayersResult) -> str:
    """Return the header and the table as text."""
    from actviz.commands.layers import HEADINGS, layer_row
    from actviz.results.text_table import text_table

    facts = result.facts
    lines = [f"{escape(facts.file, 200)}: written by {facts.writer}"]
    if len(facts.signatures) > 1:
        lines += [signature_text(signature) for signature in facts.signatures]
    lines += [input_text(spec) for spec in facts.inputs]
    if result.preprocessing:
        lines.append(f"images are fed as {result.preprocessing}")
    lines.append(f"code inside: {', '.join(escape(text, 100) for text in facts.code) or 'none'}")
    described = zip(facts.every_layer, result.drawn_as, strict=True)
    rows = [HEADINGS, *(layer_row(layer, drawn) for layer, drawn in described)]
    removed = _reasons("no values of their own:", facts.removed_layers)
    refused = _reasons("not computed:", _first_reasons(facts))
    return "\n".join([*lines, "", text_table(rows, RIGHT), *removed, *refused])


def _first_reasons(facts: ModelFacts) -> dict[str, str]:
    """Return each reason for which layers are not computed by the first layer that has it."""
    reasons: dict[str, str] = {}
    for address, (_, text) in facts.refusals.items():
        reasons.setdefault(text.removeprefix(f"{facts.file}: "), address)
    return {address: text for text, address in reasons.items()}


def _reasons(heading: str, reasons: Mapping[str, str]) -> list[str]:
    """Return the lines about layers that have no values, with the reason by address."""
    if not reasons:
        return []
    width = max(len(address) for address in reasons)
    lines = [f"  {address.ljust(width)}  {escape(reason, 300)}" for address, reason in reasons.items()]
    return ["", heading, *lines]


def signature_text(signature: SignatureInfo) -> str:
    """Return the line about a signature: its inputs and outputs, and whether the layers listed are its own."""
    inputs, outputs = (", ".join(escape(name, 80) for name in names) for names in (signature.inputs, signature.outputs))
    selected = " (listed here)" if signature.selected else ""
    return f"signature {escape(signature.name, 80)}: {inputs} -> {outputs}{selected}"


def input_text(spec: TensorSpec) -> str:
    """Return the line about an input: shape, dtype, and the range of integers that an Embedding looks up."""
    from actviz.records import sizes_text  # a third of the time of `layers --help`, which needs none

    limit = "" if spec.limit is None else f", whole numbers from 0 to {spec.limit - 1:,}"
    shape = sizes_text(spec.shape) if spec.shape else "of a shape that the file does not tell,"
    return f"input {escape(spec.name, 80)}: {shape} {escape(spec.dtype, 40)}{limit}"
