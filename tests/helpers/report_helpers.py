"""What the tests of reports share: a report of made-up layers, without any model."""

from __future__ import annotations

import numpy as np

from actviz.commands import report_data
from actviz.records import Activation, Geometry, LayerInfo, Sample
from actviz.report import ReportContents

GRID = ("batch", "row", "column", "channel")


def layer(address, values, kind="Conv2D", axes=GRID, parameters=100):
    return LayerInfo(
        address, address.rsplit("/", 1)[-1], None, kind, (None, *values.shape[1:]), "float32", parameters, axes
    )


def sample(name, rng):
    picture = rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)
    return Sample(name, {}, picture, "24 x 24 x 3, 0..1", name, pictures={"image": picture})


def maps(rng, channels=12, size=8):
    """Return maps with a dead, a constant and a faint channel, ``(1, row, column, channel)``."""
    values = np.maximum(rng.normal(size=(1, size, size, channels)), 0).astype(np.float32)
    values[..., 1] = 0
    values[..., 2] = 0.75
    values[..., 3] *= 1e-3
    return values


def gathered(layers, inputs, *, room=20_000_000, kinds=None, axes=None):
    """Return what a job has gathered: `layers` are addresses, `inputs` lists of their values by input."""
    rng = np.random.default_rng(1)
    axes = axes or {}
    infos = [
        layer(address, inputs[0][place], (kinds or {}).get(address, "Conv2D"), axes.get(address, GRID))
        for place, address in enumerate(layers)
    ]
    found = report_data.begin(infos, 1, asked=True)
    for number, values in enumerate(inputs):
        activations = {}
        for place, info in enumerate(infos):
            geometry = None
            if info.axes == GRID:
                stride = 24 / values[place].shape[1]
                geometry = Geometry("image", (24, 24), (stride / 2 - 0.5,) * 2, (stride,) * 2, (3.0, 3.0))
            activations[info.address] = Activation(info.address, info.kind, values[place], info.axes, geometry=geometry)
        report_data.add(
            found, sample(f"input{number}.png", rng), activations, report_data.PageBudget(room, len(inputs))
        )
    return found


def contents(found, *, model="model.keras", comparison=None, labels=(), facts=(), left_out=()):
    findings = report_data.findings_of(found)
    marked = frozenset(one.address for one in findings)
    return ReportContents(
        model,
        facts or (("written by", "Keras 3"), ("layers", str(len(found.layers)))),
        tuple(found.inputs),
        found.tally.inputs,
        report_data.shown_of(found, marked, labels),
        findings,
        comparison,
        left_out,
        (),
        {"command": "report", "model": model, "versions": "numpy"},
    )
