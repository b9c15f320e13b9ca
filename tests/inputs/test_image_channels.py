"""Every band of a picture arrives as the file stores it, or the file is refused with advice."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from actviz.errors import InputError, LimitError
from actviz.inputs import PREPROCESSINGS, InputOptions, read_samples
from actviz.records import TensorSpec

AXES = {
    4: ("batch", "row", "column", "channel"),
    5: ("batch", "step", "row", "column", "channel"),
}
ROWS, COLUMNS = 6, 5


def spec(channels, rows=None, columns=None, frames=0, axes=None):
    shape = (None, *([frames] if frames != 0 else []), rows, columns, channels)
    return TensorSpec("image", shape, "float32", axes or AXES[len(shape)])


def fed(path, wanted, name="0..1", **options):
    (sample,) = read_samples(path, (wanted,), PREPROCESSINGS[name], InputOptions(**options))
    return sample


def values(path, wanted, name="0..1", **options):
    return fed(path, wanted, name, **options).values["image"][0]


def bands(count, dtype=np.uint8, seed=1):
    random = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return random.random((ROWS, COLUMNS, count)).astype(dtype)
    return random.integers(0, np.iinfo(dtype).max, (ROWS, COLUMNS, count), dtype, endpoint=True)


def write(path, array, **more):
    planar = more.get("planarconfig") == "separate"
    tifffile.imwrite(
        path,
        np.moveaxis(array, 2, 0) if planar else array,
        **{"photometric": "minisblack", "planarconfig": "contig"} | more,
    )


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32", "float64"])
@pytest.mark.parametrize("count", [2, 4, 7])
def test_as_many_bands_as_channels_arrive_with_their_depth(tmp_path, count, dtype, planar):
    path, array = tmp_path / "a.tif", bands(count, dtype)
    write(path, array, planarconfig=planar)
    top = np.iinfo(array.dtype).max if array.dtype.kind == "u" else 1
    np.testing.assert_array_equal(values(path, spec(count)), (array.astype(np.float64) / top).astype(np.float32))


STORED = [
    {"compression": "lzw"}, {"compression": "zlib"}, {"compression": "packbits"}, {"compression": "zstd"},
    {"compression": "lzw", "predictor": 2}, {"compression": "zlib", "predictor": 2}, {"tile": (16, 16)},
    {"tile": (16, 16), "compression": "lzw", "predictor": 2}, {"rowsperstrip": 2}, {"bigtiff": True},
    {"byteorder": ">"}, {"rowsperstrip": 1, "compression": "zlib", "planarconfig": "separate"},
]  # fmt: skip


@pytest.mark.parametrize("stored", STORED, ids=str)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_however_they_are_stored(tmp_path, stored, dtype):
    path, array = tmp_path / "a.tif", bands(4, dtype)
    write(path, array, **stored)
    top = np.iinfo(dtype).max
    np.testing.assert_array_equal(values(path, spec(4)), (array / np.float64(top)).astype(np.float32))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_with_their_own_predictor(tmp_path, dtype):
    path, array = tmp_path / "a.tif", bands(3, dtype)
    write(path, array, compression="zlib", predictor=3)
    np.testing.assert_array_equal(values(path, spec(3)), array.astype(np.float32))


def packed(samples, bits):
    """Return one row of samples of any number of bits, most significant first, filled up to bytes."""
    text = "".join(f"{value:0{bits}b}" for value in samples)
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def by_hand(rows, bits, photometric=1):
    """Return a TIFF of one band with a number of bits that few programs write."""
    data = b"".join(packed(row, bits) for row in rows)
    tags = [(256, len(rows[0])), (257, len(rows)), (258, bits), (259, 1), (262, photometric), (273, 200), (277, 1),
            (278, len(rows)), (279, len(data))]  # fmt: skip
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return (b"II*\0" + struct.pack("<IH", 8, len(tags)) + body + b"\0\0\0\0").ljust(200, b"\0") + data


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 10, 12, 14])
def test_samples_are_scaled_by_their_own_depth(tmp_path, bits):
    path, top = tmp_path / "a.tif", 2**bits - 1
    rows = [[0, top, top // 2, 1], [1, 0, top, top]]
    path.write_bytes(by_hand(rows, bits))
    np.testing.assert_allclose(values(path, spec(1))[:, :, 0], np.array(rows) / top, rtol=1e-6)
    path.write_bytes(by_hand(rows, bits, photometric=0))
    np.testing.assert_allclose(values(path, spec(1))[:, :, 0], 1 - np.array(rows) / top, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", ["uint32", "int32", "int16"])
def test_whole_numbers_of_32_bits_and_signed_ones_count_as_16_bit_if_they_fit(tmp_path, dtype):
    path = tmp_path / "a.tif"
    array = np.array([[[0, 100], [1, 32_767]]], dtype)
    write(path, array, planarconfig="contig")
    np.testing.assert_array_equal(values(path, spec(2)), (array / 65_535).astype(np.float32))
    write(path, np.array([[[0, 70_000], [1, 2]]]).astype("uint32"), planarconfig="contig")
    with pytest.raises(InputError, match="beyond 16 bits"):
        fed(path, spec(2))


def test_a_fourth_band_that_is_no_alpha_is_data(tmp_path):
    path, array = tmp_path / "a.tif", bands(4)
    write(path, array, photometric="rgb", extrasamples=["unspecified"])
    np.testing.assert_array_equal(values(path, spec(4), "0..255"), array)
    for channels in (1, 3, 5):
        with pytest.raises(InputError, match=f"4 bands .*, the input takes {channels} channels"):
            fed(path, spec(channels))


def test_bands_are_resized_one_by_one(tmp_path):
    path, array = tmp_path / "a.tif", bands(4)
    write(path, array, photometric="rgb", extrasamples=["unspecified"])
    got = values(path, spec(4, 3, 3), "0..255")
    for band in range(4):
        alone = np.asarray(Image.fromarray(array[:, :, band]).resize((3, 3), Image.Resampling.BICUBIC))
        np.testing.assert_array_equal(got[:, :, band], alone)


def test_the_negative_of_bands_is_that_of_each(tmp_path):
    path, array = tmp_path / "a.tif", bands(4)
    write(path, array, photometric="rgb", extrasamples=["unspecified"])
    np.testing.assert_array_equal(values(path, spec(4), "0..255", invert=True), 255 - array)
    write(path, array, photometric="rgb", extrasamples=["unassalpha"])
    inverted = values(path, spec(4), "0..255", invert=True)
    np.testing.assert_array_equal(inverted[:, :, :3], 255 - array[:, :, :3])
    np.testing.assert_array_equal(inverted[:, :, 3], array[:, :, 3])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_alpha_is_the_fourth_channel_or_mixed_with_the_background(tmp_path, dtype):
    path, array = tmp_path / "a.tif", bands(4, dtype)
    top = np.iinfo(dtype).max if dtype != "float32" else 1
    share = array / np.float64(top)
    write(path, array, photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_allclose(values(path, spec(4)), share, atol=1e-6)
    mixed = share[:, :, :3] * share[:, :, 3:] + np.array([0, 0, 1]) * (1 - share[:, :, 3:])
    np.testing.assert_allclose(values(path, spec(3), background="#0000ff"), mixed, atol=1 / 250)
    grey = mixed @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(values(path, spec(1), background="#0000ff")[:, :, 0], grey, atol=1 / 120)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_colours_multiplied_by_alpha_are_divided_by_it(tmp_path, dtype):
    path, top = tmp_path / "a.tif", np.iinfo(dtype).max
    array = np.array([[[top // 4, top // 2, 0, top // 2], [0, 0, 0, 0]]], dtype)
    write(path, array, photometric="rgb", extrasamples=["assocalpha"])
    got = values(path, spec(4))
    np.testing.assert_allclose(got[0, 0], [0.5, 1, 0, 0.5], atol=0.01)
    np.testing.assert_array_equal(values(path, spec(3), background="white")[0, 1], [1, 1, 1])


def test_bands_with_an_alpha_lose_it_only_where_it_is_opaque(tmp_path):
    path, array = tmp_path / "a.tif", bands(6)
    extra = ["unspecified"] * 4 + ["unassalpha"]
    write(path, array, extrasamples=extra, planarconfig="contig")
    np.testing.assert_array_equal(values(path, spec(6), "0..255"), array)
    with pytest.raises(InputError, match="alpha channel that is not opaque"):
        fed(path, spec(5))
    array[:, :, 5] = 255
    write(path, array, extrasamples=extra, planarconfig="contig")
    np.testing.assert_array_equal(values(path, spec(5), "0..255"), array[:, :, :5])


@pytest.mark.parametrize(
    ("mode", "channels", "good"),
    [("L", 1, True), ("L", 3, True), ("L", 4, False), ("L", 2, False), ("LA", 2, True), ("LA", 3, True), ("LA", 4, True),
     ("RGB", 1, True), ("RGB", 3, True), ("RGB", 2, False), ("RGB", 4, False), ("RGB", 5, False), ("RGBA", 1, True),
     ("RGBA", 3, True), ("RGBA", 4, True), ("RGBA", 5, False), ("P", 3, True), ("P", 4, False), ("1", 4, False),
     ("I;16", 4, False), ("I;16", 3, True), ("CMYK", 4, False), ("CMYK", 3, True)],
)  # fmt: skip
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_only_known_conversions_are_made(tmp_path, mode, channels, good, suffix):
    if mode == "CMYK" and suffix == "png":
        pytest.skip("no such file")
    path = tmp_path / f"a.{suffix}"
    Image.new(mode, (4, 3)).save(path)
    if good:
        assert values(path, spec(channels)).shape == (3, 4, channels)
        return
    with pytest.raises(InputError, match=rf"the input takes {channels} channels, and no conversion") as caught:
        fed(path, spec(channels))
    assert f"give an image with {channels} bands" in caught.value.message


def test_a_free_number_of_channels_takes_the_bands_of_the_file(tmp_path):
    path = tmp_path / "a.tif"
    write(path, bands(6), planarconfig="contig")
    assert values(path, spec(None)).shape == (ROWS, COLUMNS, 6)
    Image.new("L", (4, 3)).save(path)
    assert values(path, spec(None)).shape == (3, 4, 3)


@pytest.mark.parametrize(("count", "words"), [(2, "band 1 is shown"), (6, "bands 1 to 3 are shown"), (3, "")])
def test_which_bands_the_thumbnail_shows_is_told(tmp_path, count, words):
    path, array = tmp_path / "a.tif", bands(count)
    write(path, array, planarconfig="contig")
    sample = fed(path, spec(count))
    shown = array[:, :, :3] if count > 2 else array[:, :, :1].repeat(3, axis=2)
    np.testing.assert_array_equal(sample.thumbnail, shown)
    assert sample.fed.endswith(words or "0..1")


@pytest.mark.parametrize("name", PREPROCESSINGS)
@pytest.mark.parametrize("count", [2, 5])
def test_every_range_takes_any_number_of_bands(tmp_path, count, name):
    path = tmp_path / "a.tif"
    write(path, bands(count), planarconfig="contig")
    assert values(path, spec(count, 4, 4), name, resize="pad").shape == (4, 4, count)


def test_palettes_of_tiff_files_are_colours(tmp_path):
    path = tmp_path / "a.tif"
    picture = Image.fromarray(bands(3)).convert("P", palette=Image.Palette.ADAPTIVE)
    picture.save(path, compression="tiff_lzw")
    np.testing.assert_array_equal(values(path, spec(3), "0..255"), np.asarray(picture.convert("RGB")))


def test_smaller_copies_and_masks_are_no_pages(tmp_path):
    path, array = tmp_path / "a.tif", bands(3)
    with tifffile.TiffWriter(path) as file:
        file.write(array, photometric="rgb")
        file.write(array[::2, ::2], photometric="rgb", subfiletype=1)
    sample = fed(path, spec(3), "0..255")
    np.testing.assert_array_equal(sample.values["image"][0], array)
    assert not sample.notes


def test_bits_of_sixteen_bit_colours_are_kept_in_png_too(tmp_path):
    path = tmp_path / "a.png"
    for colour, count in ((2, 3), (4, 2), (6, 4)):
        array = bands(count, np.uint16)
        raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
        head = struct.pack(">IIBBBBB", COLUMNS, ROWS, 16, colour, 0, 0, 0)
        chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
        parts = [
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        ]
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
        np.testing.assert_array_equal(values(path, spec(count)), (array / 65_535).astype(np.float32))


def frames(count, seed=3):
    return np.random.default_rng(seed).integers(0, 256, (count, ROWS, COLUMNS, 3), np.uint8)


def save_frames(path, stack):
    pictures = [Image.fromarray(one) for one in stack]
    more = {".webp": {"lossless": True}, ".tif": {"compression": "tiff_lzw"}}.get(path.suffix, {})
    pictures[0].save(path, save_all=True, append_images=pictures[1:], **more)


@pytest.mark.parametrize("suffix", ["tif", "png", "webp"])
@pytest.mark.parametrize("along", ["step", "plane"])
@pytest.mark.parametrize("declared", [4, None])
def test_animations_and_pages_feed_networks_that_take_frames(tmp_path, suffix, along, declared):
    path, stack = tmp_path / f"a.{suffix}", frames(4)
    save_frames(path, stack)
    wanted = spec(3, frames=declared, axes=("batch", along, "row", "column", "channel"))
    sample = fed(path, wanted, "0..255")
    np.testing.assert_array_equal(sample.values["image"][0], stack)
    assert sample.fed.startswith("4 frames, 6 ")
    assert sample.thumbnail is not None
    assert not sample.notes


def test_frames_of_a_gif(tmp_path):
    path = tmp_path / "a.gif"
    stack = np.stack([np.full((ROWS, COLUMNS, 3), level, np.uint8) for level in (0, 100, 200)])
    save_frames(path, stack)
    np.testing.assert_array_equal(values(path, spec(3, frames=3), "0..255"), stack)
    np.testing.assert_array_equal(values(path, spec(1, frames=3), "0..255")[:, :, :, 0], stack[:, :, :, 0])


def test_frames_are_resized_and_put_into_the_order_of_the_axes(tmp_path):
    path, stack = tmp_path / "a.tif", frames(2)
    save_frames(path, stack)
    axes = ("batch", "step", "channel", "row", "column")
    wanted = TensorSpec("image", (None, 2, 3, 4, 4), "float32", axes)
    got = values(path, wanted, "0..255")
    assert got.shape == (2, 3, 4, 4)
    alone = np.asarray(Image.fromarray(stack[1]).resize((4, 4), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(np.moveaxis(got[1], 0, 2), alone)


@pytest.mark.parametrize("imagej", [True, False])
def test_volumes_of_grey_pages(tmp_path, imagej):
    path, stack = tmp_path / "a.tif", frames(5)[:, :, :, 0]
    tifffile.imwrite(path, stack, imagej=imagej, photometric="minisblack")
    wanted = spec(1, frames=5, axes=("batch", "plane", "row", "column", "channel"))
    np.testing.assert_array_equal(values(path, wanted, "0..255")[:, :, :, 0], stack)


def test_another_number_of_frames_is_refused_with_both(tmp_path):
    path = tmp_path / "a.tif"
    save_frames(path, frames(3))
    with pytest.raises(InputError, match=r"the image has 3 frames, the input \(any, 5, any, any, 3\) takes 5 frames"):
        fed(path, spec(3, frames=5))
    Image.fromarray(frames(1)[0]).save(path)
    with pytest.raises(InputError, match="the image has one frame"):
        fed(path, spec(3, frames=5))
    assert values(path, spec(3, frames=None)).shape[0] == 1
    with pytest.raises(InputError, match="chooses one frame, but the input takes all"):
        fed(path, spec(3, frames=None), frame=1)


def test_frames_count_together_for_the_limit_of_pixels(tmp_path):
    path = tmp_path / "a.png"
    save_frames(path, frames(4))
    each = ROWS * COLUMNS
    fed(path, spec(3, frames=4), maximum_pixels=4 * each)
    with pytest.raises(LimitError, match="its first 4 frames have"):
        fed(path, spec(3, frames=4), maximum_pixels=4 * each - 1)


def test_frames_of_different_sizes_are_refused(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(bands(1)[:, :, 0], photometric="minisblack")
        file.write(bands(1)[:4, :4, 0], photometric="minisblack")
    with pytest.raises(InputError, match=r"different sizes \(6 x 5 and 4 x 4\)"):
        fed(path, spec(1, frames=2))


def test_one_page_of_many_bands(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        for seed in range(3):
            file.write(bands(4, seed=seed), photometric="minisblack", planarconfig="contig")
    sample = fed(path, spec(4), "0..255", frame=2)
    np.testing.assert_array_equal(sample.values["image"][0], bands(4, seed=2))
    assert "frame 2 is read" in sample.notes[0]
    with pytest.raises(InputError, match="there is no frame 3"):
        fed(path, spec(4), frame=3)


def test_compressions_that_are_not_read_are_refused(tmp_path):
    path = tmp_path / "a.tif"
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, bands(4), photometric="minisblack", planarconfig="contig", compression="jpeg2000")
    path.write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match="compressed or stored in a way that is not read"):
        fed(path, spec(4))


def test_colours_of_12_bits_are_scaled_by_12_bits(tmp_path):
    path, top = tmp_path / "a.tif", 4095
    row = [0, top, 2047, 1, 4094, 16]
    data = packed(row, 12)
    tags = [(256, 4, 1, 2), (257, 4, 1, 1), (258, 3, 3, 180), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 200),
            (277, 3, 1, 3), (278, 4, 1, 1), (279, 4, 1, len(data)), (284, 3, 1, 1)]  # fmt: skip
    body = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = (b"II*\0" + struct.pack("<IH", 8, len(tags)) + body + b"\0\0\0\0").ljust(180, b"\0")
    path.write_bytes((head + struct.pack("<3H", 12, 12, 12)).ljust(200, b"\0") + data)
    np.testing.assert_allclose(values(path, spec(3)).reshape(-1), np.array(row) / top, rtol=1e-6)
