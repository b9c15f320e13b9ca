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
@options.fail_fast
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
    from actviz.jobs.show import ShowRequest, show

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
    )
    options.tell(show(request), quiet=quiet)
