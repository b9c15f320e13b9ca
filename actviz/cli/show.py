"""``actviz show``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from actviz.cli import options

if TYPE_CHECKING:
    from pathlib import Path


@click.command("show")
@options.model
@options.inputs
@options.layer
@options.output
@options.styled
@options.reading
@options.overwrite
@click.option("--fail-fast", is_flag=True, help="Stop at the first input that fails.")
@options.labels
@options.tokens
@options.weights
@options.timeout
@options.quiet
@options.verbose
def command(  # noqa: PLR0913  (one parameter an option)
    model: Path,
    inputs: tuple[Path, ...],
    layers: tuple[str, ...],
    output: str | None,
    *,
    overwrite: bool,
    fail_fast: bool,
    labels: Path | None,
    tokens: Path | None,
    weights: Path | None,
    timeout: float,
    quiet: bool,
    verbose: bool,
    **values: Any,
) -> None:
    """Draw what layers of MODEL compute for INPUTS, as labelled PNG figures.

    MODEL is a .keras or .h5 file. INPUTS are images, or arrays as .npy or .npz; without any, a
    sample photograph or seeded noise is fed. Without --layer, one sheet shows every spatial
    layer. The path of each file written is printed, one a line.
    """
    from actviz.jobs.show import Said, ShowRequest, show

    request = ShowRequest(
        model=model,
        inputs=inputs,
        layers=layers,
        output=output,
        style=options.style_of(values),
        reading=options.reading_of(values),
        overwrite=overwrite,
        timeout=timeout,
        verbose=verbose,
        weights=weights,
        fail_fast=fail_fast,
        labels=labels,
        tokens=tokens,
    )
    for event in show(request):
        if not isinstance(event, Said):
            click.echo(str(event.path))
        elif not quiet:
            click.echo(f"actviz: {event.text}", err=True)
