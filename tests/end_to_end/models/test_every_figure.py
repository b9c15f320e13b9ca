"""Every output of real files of many versions gets a figure, or a reason why it has none.

Beside single figures, every file is drawn as a sheet, and its maps are laid over a picture
as large as its input.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace

import corpus
import numpy as np
import pytest
from picture_helpers import sheet_pages

from actviz.errors import ActvizError, ModelError, UsageError
from actviz.figures import renderers
from actviz.figures.renderers import spatial
from actviz.formats import open_network
from actviz.records import Context, Style

CONTEXT = Context("model.keras", "given.npz", "as given")
REASONS = re.compile(r"which cannot be drawn|is empty \(|steps are masked|must be the batch")
PART = corpus.files(corpus.DATA)
WHOLE = corpus.files()


def name_of(path):
    return f"{path.parent.name}/{path.name}"


def outputs(path):
    """Return every output of a file for its writer's own inputs, scores of attention too."""
    with np.load(corpus.expected(path)) as truth:
        given = dict(truth)
    with open_network(path, None, corpus.trust(path)) as network:
        batch = corpus.batch(given, network)
        found = network.activations(batch)
        scores = [layer.address for layer in network.complete().layers if layer.address.endswith("@scores")]
        return found | (network.activations(batch, scores) if scores else {})


def drawn(activation, style=Style()):  # noqa: B008  (a frozen record)
    """Return whether an output has a figure; what it lacks one for is a reason of ours, in one line."""
    try:
        picture = renderers.draw(activation, 0, CONTEXT, style)
    except UsageError as failure:
        assert REASONS.search(failure.message), failure.message  # noqa: PT017  (most outputs are drawn)
        return False
    assert picture.tiles
    assert math.prod(picture.size) < 100_000_000
    height, width = picture.size
    assert all(
        0 <= top < bottom <= height and 0 <= left < right <= width for top, left, bottom, right in boxes(picture)
    )
    return True


def boxes(picture):
    return [label.box for label in picture.labels] + [tile.box for tile in picture.tiles]


def overlaid(activation):
    """Lay the maps of one entry over a picture as large as the input that they come of."""
    size = activation.geometry.size if activation.geometry else (40, 60)
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    name = activation.geometry.input if activation.geometry else "input"
    context = replace(CONTEXT, pictures={name: picture}, thumbnail=picture)
    return renderers.draw(activation, 0, context, Style(overlay=True, top=4)).tiles


def check(path):
    """Draw everything of a file; return how many outputs there are, drawn and laid over a known place."""
    found = outputs(path)
    assert found
    has_figure = [activation for activation in found.values() if drawn(activation)]
    aligned = 0
    for activation in has_figure:
        if spatial.accepts(activation.axes):
            assert overlaid(activation)
            aligned += activation.geometry is not None
    if has_figure:
        pages = list(sheet_pages(list(found.values()), CONTEXT, Style()))
        everything = list(sheet_pages(list(found.values()), CONTEXT, Style(channels="all")))
        assert {tile.address for page in everything for tile in page.tiles} >= {
            tile.address for page in pages for tile in page.tiles
        }
    return len(found), len(has_figure), aligned


def opens(path):
    """Tell whether a file is one of those that open, which another test is about."""
    try:
        with np.load(corpus.expected(path)) as truth, open_network(path, None, corpus.trust(path)) as network:
            network.activations(corpus.batch(dict(truth), network))
    except ActvizError as failure:
        assert isinstance(failure, ModelError)  # noqa: PT017  (most files open)
        return False
    return True


@pytest.mark.parametrize("path", PART[::3], ids=name_of)
def test_every_output_has_a_figure_or_a_reason(path):
    if opens(path):
        outputs_, figures, _ = check(path)
        assert 0 < figures <= outputs_


@pytest.mark.slow
@pytest.mark.skipif(not WHOLE, reason="the whole collection is not beside this checkout")
def test_the_whole_collection():
    counts = np.array([check(path) for path in WHOLE if opens(path)]).sum(axis=0)
    outputs_, figures, aligned = counts.tolist()
    print(f"{outputs_:,} outputs, {figures:,} figures, {aligned:,} maps with a known place")
    assert figures >= 0.99 * outputs_
    assert aligned > 0
