"""What the fuzzer reads beside models and arrays: manifests, ranges, figures, graphs, options, images."""

from __future__ import annotations

import functools
import io
import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import graph_files

if TYPE_CHECKING:
    from PIL import Image

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
SAMPLES = ROOT / "sample_models"
SAVED = DATA / "tfk221" / "a02_dense_sm"
RECORD = {
    "file": "a/001_conv.png", "bytes": 10, "input": "a.png", "address": "conv", "work": "w", "pages": 1,
    "numbers": {"low": 0.0, "high": 2.5, "channels": 4, "dead": [], "layers": {"conv": {"low": -1.0, "high": 1}}},
}  # fmt: skip
IDENTITY = {"model": "m.h5", "input": "a.png", "address": "conv"}
OPTIONS = (
    'cmap = "viridis"\nlayer = ["conv", "@Conv2D"]\nbare = true\n[show]\noutput = "out/"\n[check]\nmax-dead = 0.1\n'
)


# ------------------------------------------------------------------ seeds
def manifests() -> list[bytes]:
    """A manifest as it is written, and the same written again by another program."""
    from actviz.results.manifest import Manifest

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        with Manifest(folder, "m.h5") as made:
            made.about = {"actviz": "1", "configuration": "", "code": [], "versions": {"numpy": "2"}}
            for name in ("a", "b"):
                made.add(RECORD | {"file": f"{name}/001_conv.png", "input": f"{name}.png"})
            made.fail({"input": "c.png", "address": None, "reason": "no image", "code": 3})
            made.write(interrupted=False)
        content = (folder / "manifest.json").read_bytes()
    return [content, json.dumps(json.loads(content), indent=1).encode()]


def figures() -> list[bytes]:
    """A PNG and an SVG that carry where they come from."""
    import numpy as np

    from actviz.results import output_files, png

    about = RECORD | IDENTITY | {"tiles": [[0, 1, 2, 3, 4, 0.0, 1.0, "live"]]}
    return [png.encode_png(np.zeros((4, 4, 3), np.uint8), about), output_files.encode_svg(b"<svg></svg>", about)]


def options() -> list[bytes]:
    """A file of options."""
    return [OPTIONS.encode(), b'layer = "conv"\n[diff]\ntolerance = 1e-3\n[tool.actviz]\ncmap = "jet"\n']


def graphs() -> list[bytes]:
    """Graphs of SavedModels, and frozen ones."""
    found = [path for path in sorted(DATA.rglob("*.pb")) if path.name == "saved_model.pb" or "frozen" in path.name]
    small = [graph_files.small_graph(branches=True), graph_files.doubling(4), graph_files.chain(8, scoped=True)]
    return small + [path.read_bytes() for path in found if path.stat().st_size < 400_000]


def members() -> list[bytes]:
    """The files of one SavedModel that are not its weights, each after its name and a NUL byte."""
    names = ("saved_model.pb", "keras_metadata.pb", "variables/variables.index")
    return [name.encode() + b"\0" + (SAVED / name).read_bytes() for name in names]


# ------------------------------------------------------------------ readers
def read_manifest(path: Path) -> None:
    """Take in a manifest, add to it, and write it: what is written is whole."""
    from actviz.results.manifest import Manifest, read

    target = path.with_name("manifest.json")
    target.write_bytes(path.read_bytes())
    with Manifest(path.parent, "m.h5") as made:
        made.about = {"actviz": "1", "configuration": "", "code": [], "versions": made.versions}
        made.find("a/001_conv.png")
        made.drop_lost()
        made.add(RECORD)
        made.fail({"input": "a.png", "address": None, "reason": "no image", "code": 3})
        made.forget_earlier_failures()
        made.write(interrupted=False)
    json.loads(target.read_bytes())
    for _ in read(target):
        pass


def read_ranges(path: Path) -> None:
    """Read what ``--scale from:`` reads."""
    from actviz.batch import color_ranges

    color_ranges.read_ranges(path)


def read_figure(path: Path) -> None:
    """Read what a figure says of itself, as a later run that might leave it as it is."""
    from actviz.batch.output_paths import OutputPaths
    from actviz.batch.up_to_date import ReplaceRules, UpToDateCheck
    from actviz.results import output_files
    from actviz.results.manifest import Manifest

    folder = path.parent / "out"
    folder.mkdir(exist_ok=True)
    figure = folder / "001_conv.png"
    figure.write_bytes(path.read_bytes())
    output_files.read_provenance(figure)
    output_files.is_whole(figure)
    check = UpToDateCheck(OutputPaths(None, folder, {"conv": "001_conv.png"}), ["conv"], "m.h5", ReplaceRules())
    with Manifest(folder, "m.h5") as made:
        check.begin(made, None)  # type: ignore[arg-type]  # the work is given below
        for record in check._up_to_date_records(figure, "w") or ():
            made.add(record)
        made.write(interrupted=False)
    json.loads((folder / "manifest.json").read_bytes())
    (folder / "manifest.json").unlink()
    output_files.check_target(figure, IDENTITY, overwrite=False)


@functools.cache
def _known_options() -> dict[str, dict[str, object]]:
    from actviz.cli.configured_command import options_of
    from actviz.cli.program import COMMANDS, program

    return {name: options_of(program.get_command(None, name)) for name in COMMANDS}


def read_options(path: Path) -> None:
    """Find and read a file of options in a folder."""
    from actviz.cli import config

    for name in (config.FILE, config.PROJECT):
        target = path.with_name(name)
        target.write_bytes(path.read_bytes())
        try:
            found = config.find(path.parent)
            if found is not None:
                config.defaults(config.read(found, _known_options()), _known_options())
        finally:
            target.unlink()


def open_member(path: Path) -> None:
    """Open a SavedModel one of whose files is the mutant."""
    from actviz.formats import open_network

    name, _, content = path.read_bytes().partition(b"\0")
    folder = path.parent / "model"
    if not folder.exists():
        shutil.copytree(SAVED, folder)
    names = ("saved_model.pb", "keras_metadata.pb", "variables/variables.index")
    member = name.decode("ascii", "replace") if name.decode("ascii", "replace") in names else names[0]
    (folder / member).write_bytes(content)
    try:
        with open_network(folder) as network:
            _ = network.layers
    finally:
        (folder / member).write_bytes((SAVED / member).read_bytes())


def images() -> list[bytes]:
    """Return small images of every kind that is decoded, in each way in which it can be packed."""
    import numpy as np
    import tifffile
    from PIL import Image

    with Image.open(SAMPLES / "flower.jpg") as picture:
        small = picture.resize((24, 20))
    ways = {
        "PNG": ({},), "JPEG": ({}, {"progressive": True}), "GIF": ({}, {"interlace": 0}), "BMP": ({},),
        "WEBP": ({}, {"lossless": True}), "TIFF": tuple({"compression": name} for name in ("raw", "tiff_lzw", "tiff_deflate")),
    }  # fmt: skip
    found = []
    for kind, options in ways.items():
        for mode in ("RGB", "L", "P"):
            if mode == "P" and kind in {"JPEG", "WEBP"}:
                continue
            found += [_saved_image(small.convert(mode), kind, **option) for option in options]
    for kind in ("PNG", "GIF", "WEBP", "TIFF"):  # several frames or pages
        found.append(_saved_image(small, kind, save_all=True, append_images=[small.rotate(90), small]))
    for compression, depth in ((None, "u1"), ("zlib", "u2"), ("lzw", "u1"), ("packbits", "u1")):
        stream = io.BytesIO()
        values = np.asarray(small).astype(depth)
        tifffile.imwrite(stream, values, tile=(16, 16), compression=compression, photometric="rgb")
        found.append(stream.getvalue())
    found.append(_saved_image(Image.fromarray(np.arange(480, dtype=np.uint16).reshape(20, 24)), "PNG"))
    return found


def _saved_image(picture: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()
