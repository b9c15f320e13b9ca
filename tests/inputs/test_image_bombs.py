"""Images that are small files and endless work: each ends with a limit, in a bounded time, and the batch goes on."""

from __future__ import annotations

import io
import os
import resource
import struct
import time
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image
from threats import threat

from actviz.errors import ActvizError, InputError, LimitError
from actviz.inputs import PREPROCESSINGS, InputOptions, decoder, image_structure, read_samples
from actviz.inputs.decoder import Decoder
from actviz.inputs.pillow_images import DecodeTarget
from actviz.records import TensorSpec

SPEC = TensorSpec("image", (None, 8, 8, 3), "float32", ("batch", "row", "column", "channel"))


def read(path, **options):
    return read_samples(path, (SPEC,), PREPROCESSINGS["0..1"], InputOptions(**options))


def saved(kind, size=(64, 64), **more):
    buffer = io.BytesIO()
    random = np.random.default_rng(1)
    Image.fromarray(random.integers(0, 256, (*size, 3), np.uint8)).save(buffer, kind, **more)
    return buffer.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunks(extra):
    content = saved("PNG")
    return content[:33] + extra + content[33:]


def scans(count):
    """Return a progressive JPEG that repeats its last scan, each of which refines the whole picture."""
    content = saved("JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * count + content[-2:]


def comments(count):
    content = saved("GIF")
    return content[: 13 + 768] + (b"!\xfe" + b"\xff" + b"c" * 255 + b"\0") * count + content[13 + 768 :]


def many_frames(kind, count=image_structure.MAX_FRAMES + 1):
    if kind == "GIF":
        content = saved("GIF", (1, 1))
        image = content.index(b",\0\0\0\0")
        return content[:image] + content[image:-1] * count + content[-1:]
    if kind == "PNG":
        return with_chunks(chunk(b"acTL", struct.pack(">II", count, 0)))
    frame = b"ANMF" + struct.pack("<I", 24) + bytes(24)
    content = saved("WEBP", lossless=True)
    body = content[12:] + frame * count
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def pages(count=image_structure.MAX_FRAMES + 1, circle=False):
    content = b"II*\0" + struct.pack("<I", 8)
    for number in range(count):
        following = 0 if number == count - 1 else 8 + 18 * (number + 1)
        content += struct.pack("<HHHIII", 1, 256, 4, 1, 1, 8 if circle else following)
    return content


def one_tile(side):
    """Return a TIFF of one pixel in a tile of `side` by `side`."""
    tags = [(256, 1), (257, 1), (258, 8), (259, 8), (262, 1), (277, 1), (322, side), (323, side), (324, 250), (325, 8)]
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return (b"II*\0" + struct.pack("<IH", 8, len(tags)) + body + b"\0\0\0\0").ljust(250, b"\0") + bytes(8)


LIMITS = {
    "scans": (lambda: scans(3000), "scans in the JPEG image, at most 100"),
    "segments": (lambda: b"\xff\xd8" + b"\xff\xfe\0\2" * 100_000 + saved("JPEG")[2:], "segments before the first scan"),
    "texts": (lambda: with_chunks(chunk(b"tEXt", b"k\0v") * 100_000), "texts in the PNG image, at most 1,000"),
    "many packed texts": (
        lambda: with_chunks(chunk(b"zTXt", b"k\0\0" + zlib.compress(b"A" * (1 << 20))) * 40), "texts of more bytes",
    ),
    "international text": (
        lambda: with_chunks(chunk(b"iTXt", b"k\0\1\0\0\0" + zlib.compress(b"A" * (64 << 20)))), "unpacks to more than",
    ),
    "profile": (lambda: with_chunks(chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(64 << 20)))), "a color profile"),
    "chunks": (lambda: with_chunks(chunk(b"prVt", b"") * 600_000), "chunks in the PNG image"),
    "frames of a PNG": (lambda: many_frames("PNG"), "10,001 frames"),
    "frames of a GIF": (lambda: many_frames("GIF"), "more than 10,000 frames"),
    "frames of a WebP": (lambda: many_frames("WEBP"), "more than 10,000 frames"),
    "comments": (lambda: comments(100_000), "comments in the GIF image"),
    "pages": (pages, "more than 10,000 pages"),
    "pages in a circle": (lambda: pages(3, circle=True), "run in a circle"),
    "a tile": (lambda: one_tile(65_520), "bytes unpacked, at most"),
    "pixels of a TIFF": (lambda: one_tile(16).replace(struct.pack("<HHII", 256, 4, 1, 1), struct.pack("<HHII", 256, 4, 1, 10**9)), "pixels, at most"),
}  # fmt: skip


@pytest.mark.parametrize("name", LIMITS)
@threat(82, 6)
def test_what_is_beyond_a_limit_costs_no_time(tmp_path, name):
    make, words = LIMITS[name]
    path = tmp_path / "bomb"
    path.write_bytes(make())
    own, theirs = time.process_time(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    with pytest.raises(LimitError) as caught:
        read(path)
    assert words in caught.value.message
    assert str(path) in caught.value.message
    assert time.process_time() - own < 2
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - theirs < 5


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP"])
def test_ordinary_files_are_decoded_in_the_command(kind):
    more = {"JPEG": [{}, {"progressive": True}], "WEBP": [{}, {"lossless": True}]}.get(kind, [{}])
    for options in more:
        assert image_structure.is_bounded(kind, saved(kind, **options), "a")


def test_large_ones_in_many_scans_are_not():
    content = saved("JPEG", progressive=True)
    frame = content.index(b"\xff\xc2")
    large = content[: frame + 5] + struct.pack(">HH", 8000, 8000) + content[frame + 9 :]
    assert not image_structure.is_bounded("JPEG", large, "a")


def test_run_lengths_deep_colours_and_animations_are_not():
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "WEBP", save_all=True, append_images=[Image.new("RGB", (4, 4), "red")])
    assert not image_structure.is_bounded("WEBP", buffer.getvalue(), "a")
    packed = bytearray(saved("BMP"))
    packed[30] = 1
    assert not image_structure.is_bounded("BMP", bytes(packed), "a")
    deep = bytearray(saved("PNG"))
    deep[24] = 16
    assert not image_structure.is_bounded("PNG", bytes(deep), "a")


@pytest.fixture
def impatient(monkeypatch):
    """A decoder that allows half a second."""
    monkeypatch.setattr(decoder, "CPU_SECONDS", 0.5)
    found = Decoder()
    yield found
    if found._process is not None:
        found._process.end()


def lzw_bomb(side=6000):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.zeros((side, side), np.uint8), compression="zlib", predictor=2, rowsperstrip=1)
    return buffer.getvalue()


@threat(82, 6)
def test_what_takes_too_long_is_ended_and_the_next_is_decoded(impatient):
    wanted = DecodeTarget(1)
    small = io.BytesIO()
    Image.new("L", (3, 2), 7).save(small, "TIFF")
    assert impatient.decode(small.getvalue(), "TIFF", "small.tif", wanted).values.shape == (2, 3, 1)
    with pytest.raises(LimitError, match=r"bomb\.gif: decoding it took more than 0\.5 s of CPU time"):
        impatient.decode(slow_gif(), "GIF", "bomb.gif", DecodeTarget(3, frames=True))
    assert impatient.decode(small.getvalue(), "TIFF", "small.tif", wanted).values.shape == (2, 3, 1)


def slow_gif():
    """Return an animation of a size whose frames take seconds to put together."""
    buffer = io.BytesIO()
    frames = [Image.new("P", (700, 700), level) for level in (1, 2)]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    content = buffer.getvalue()
    image = content.rindex(b"!\xf9")
    return content[:image] + content[image:-1] * 90 + content[-1:]


def test_a_decoder_that_dies_costs_one_image(impatient):
    small = io.BytesIO()
    Image.new("L", (3, 2), 7).save(small, "TIFF")
    wanted = DecodeTarget(1)
    impatient.decode(small.getvalue(), "TIFF", "a.tif", wanted)
    os.kill(impatient._process.process.pid, 9)
    with pytest.raises(LimitError, match=r"a\.tif: the image decoder crashed \(SIGKILL\)"):
        impatient.decode(small.getvalue(), "TIFF", "a.tif", wanted)
    assert impatient.decode(small.getvalue(), "TIFF", "a.tif", wanted).values[0, 0, 0] == 7


def test_errors_keep_their_class_and_text(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(saved("TIFF")[:500])
    with pytest.raises(InputError, match="truncated or damaged"):
        read(path)
    path.write_bytes(saved("TIFF"))
    with pytest.raises(ActvizError, match="no frame 3"):
        read(path, frame=3)


def test_the_decoder_ends_with_the_command(impatient):
    small = io.BytesIO()
    Image.new("L", (3, 2), 7).save(small, "TIFF")
    impatient.decode(small.getvalue(), "TIFF", "a.tif", DecodeTarget(1))
    impatient._process._channel.close()
    assert impatient._process.process.wait(20) == 0


@pytest.mark.tensorflow
@pytest.mark.slow
@threat(82, 6)
def test_a_batch_goes_on_after_an_endless_image(actviz, samples, tmp_path, code):
    (tmp_path / "scans.jpg").write_bytes(scans(3000))
    (tmp_path / "pages.tif").write_bytes(pages())
    inputs = ["scans.jpg", "pages.tif", samples / "seven.png"]
    done = actviz("check", samples / "digits_cnn.h5", *inputs, "--no-nan")
    assert done.code == 1
    assert "scans.jpg: 3,0" in done.err
    assert "pages.tif: more than 10,000 pages" in done.err
    done = actviz("show", samples / "digits_cnn.h5", *inputs, "-l", "conv", "-o", "maps/")
    assert done.code == 1
    assert len(list((tmp_path / "maps").rglob("*.png"))) == 1
    for name in ("scans.jpg", "pages.tif"):
        assert actviz("show", samples / "digits_cnn.h5", name, "-l", "conv", "-o", "x.png").code == code
