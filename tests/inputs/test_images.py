"""Images: what the network is fed is what a person sees; hostile rows 73-84."""

from __future__ import annotations

import io
import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile, PngImagePlugin
from threats import threat

from actviz.errors import InputError, LimitError
from actviz.inputs import PREPROCESSINGS, InputOptions, image_resize, read_samples
from actviz.records import TensorSpec

LAST = ("batch", "row", "column", "channel")
FIRST = ("batch", "channel", "row", "column")


def spec(rows=None, columns=None, channels=3, dtype="float32"):
    return TensorSpec("image", (None, rows, columns, channels), dtype, LAST)


def fed(path, wanted, name="0..1", **options):
    (sample,) = read_samples(path, (wanted,), PREPROCESSINGS[name], InputOptions(**options))
    return sample


def values(path, wanted, name="0..1", **options):
    return fed(path, wanted, name, **options).values["image"][0]


def png(width, height, form=(8, 2), raw=b"", extra=b""):
    bits, colour = form

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    )


def noise(rows, columns, channels=3, seed=1):
    return np.random.default_rng(seed).integers(0, 256, (rows, columns, channels), np.uint8)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "gif", "webp"])
def test_lossless_formats_feed_the_very_pixels(tmp_path, suffix):
    picture = noise(9, 7)
    if suffix == "gif":
        picture[:] = (noise(9, 7, 1) > 127) * 255
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(picture).save(path, **({"lossless": True} if suffix == "webp" else {}))
    np.testing.assert_array_equal(values(path, spec()), picture / np.float32(255))
    np.testing.assert_array_equal(values(path, spec(), "0..255"), picture)
    np.testing.assert_array_equal(fed(path, spec()).thumbnail, picture)


def test_jpeg_is_the_decoders_own_pixels(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(noise(16, 24)).save(path)
    with Image.open(path) as image:
        expected = np.asarray(image)
    np.testing.assert_array_equal(values(path, spec(), "0..255"), expected)


def test_name_decides_nothing(tmp_path):
    picture = noise(4, 5)
    path = tmp_path / "a.jpg"
    Image.fromarray(picture).save(path, "PNG")
    np.testing.assert_array_equal(values(path, spec(), "0..255"), picture)


@pytest.mark.parametrize("form", ["png", "little.tif", "big.tif"])
@threat(73, 0)
def test_sixteen_bit_grey_is_scaled_by_65535(tmp_path, form):
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    path = tmp_path / f"g.{form}"
    if form == "big.tif":
        rows = b"".join(
            struct.pack(">HHII", *entry)
            for entry in (
                (256, 3, 1, 256 << 16),
                (257, 3, 1, 256 << 16),
                (258, 3, 1, 16 << 16),
                (259, 3, 1, 1 << 16),
                (262, 3, 1, 1 << 16),
                (273, 4, 1, 200),
                (277, 3, 1, 1 << 16),
                (278, 3, 1, 256 << 16),
                (279, 4, 1, 131072),
            )
        )
        head = b"MM\0*" + struct.pack(">I", 8) + struct.pack(">H", 9) + rows + b"\0\0\0\0"
        path.write_bytes(head.ljust(200, b"\0") + ramp.astype(">u2").tobytes())
    else:
        Image.fromarray(ramp).save(path)
    expected = (ramp / 65535).astype(np.float32)
    np.testing.assert_array_equal(values(path, spec(channels=1))[:, :, 0], expected)
    colour = values(path, spec())
    np.testing.assert_array_equal(colour, np.repeat(expected[:, :, None], 3, axis=2))


def test_sixteen_bit_white_is_zero_is_turned_round(tmp_path):
    path = tmp_path / "w.tif"
    ramp = np.array([[0, 65535]], np.uint16)
    Image.fromarray(ramp).save(path, tiffinfo={262: 0})
    np.testing.assert_array_equal(values(path, spec(channels=1))[:, :, 0], [[1, 0]])


def test_sixteen_bit_is_resized_without_losing_depth(tmp_path):
    path = tmp_path / "g.png"
    Image.fromarray(np.full((8, 8), 257, np.uint16) + np.eye(8, dtype=np.uint16)).save(path)
    small = values(path, spec(4, 4, 1))
    assert 257 / 65535 <= small.min() < small.max() <= 258 / 65535


@pytest.mark.parametrize(("low", "high", "good"), [(0, 65535, True), (-1, 5, False), (0, 70000, False)])
def test_32_bit_grey_counts_as_16_bit_if_it_fits(tmp_path, low, high, good):
    path = tmp_path / "i.tif"
    Image.fromarray(np.array([[low, high]], np.int32)).save(path)
    if good:
        np.testing.assert_array_equal(values(path, spec(channels=1))[0, :, 0], [0, 1])
    else:
        with pytest.raises(InputError, match="beyond 16 bits"):
            fed(path, spec(channels=1))


@threat(74, 0)
def test_float_tiff_is_kept(tmp_path):
    path = tmp_path / "f.tif"
    ramp = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    Image.fromarray(ramp).save(path)
    np.testing.assert_array_equal(values(path, spec(channels=1))[:, :, 0], ramp)


def test_float_tiff_beyond_its_range_is_refused(tmp_path):
    path = tmp_path / "f.tif"
    Image.fromarray(np.array([[0, 200]], np.float32)).save(path)
    with pytest.raises(InputError, match=r"values 0\.\.200, 0\.\.1 was expected"):
        fed(path, spec(channels=1))


@threat(70, 3)
def test_float_tiff_with_nan(tmp_path):
    path = tmp_path / "f.tif"
    Image.fromarray(np.array([[0, np.nan, 1]], np.float32)).save(path)
    with pytest.raises(InputError, match="1 NaN and 0 infinite of 3 values"):
        fed(path, spec(channels=1))
    sample = fed(path, spec(channels=1), allow_nonfinite=True)
    assert np.isnan(sample.values["image"]).sum() == 1
    assert "1 NaN" in sample.notes[0]


def test_infinite_floats_survive_resizing_without_a_warning(tmp_path):
    path = tmp_path / "f.tif"
    Image.fromarray(np.full((8, 8), np.nan, np.float32)).save(path)
    assert np.isnan(values(path, spec(4, 4, 1), allow_nonfinite=True)).all()


@pytest.mark.parametrize(
    ("cmyk", "rgb"),
    [((0, 255, 255, 0), (255, 0, 0)), ((255, 0, 0, 0), (0, 255, 255)), ((0, 0, 0, 255), (0, 0, 0))],
)
@threat(75, 0)
def test_cmyk_known_colours(tmp_path, cmyk, rgb):
    path = tmp_path / "c.tif"
    Image.new("CMYK", (8, 8), cmyk).save(path)
    np.testing.assert_array_equal(values(path, spec(), "0..255")[0, 0], rgb)


@pytest.mark.parametrize("rgb", [(255, 0, 0), (0, 128, 0), (30, 60, 200), (255, 255, 255)])
@threat(75, 0)
def test_lab_known_colours(tmp_path, rgb):
    path = tmp_path / "l.tif"
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    ImageCms.profileToProfile(Image.new("RGB", (4, 4), rgb), srgb, lab, outputMode="LAB").save(path)
    np.testing.assert_allclose(values(path, spec(), "0..255")[0, 0], rgb, atol=8)


@threat(75, 0)
def test_ycbcr_is_converted(tmp_path):
    path = tmp_path / "y.tif"
    Image.new("RGB", (4, 4), (200, 30, 60)).convert("YCbCr").save(path)
    try:
        with Image.open(path) as image:
            image.load()
    except OSError:
        pytest.skip("this Pillow cannot read the YCbCr TIFF that it writes")
    np.testing.assert_allclose(values(path, spec(), "0..255")[0, 0], (200, 30, 60), atol=2)


@pytest.mark.parametrize(("background", "expected"), [("white", 255), ((0, 0, 0), 0), ("#0000ff", (0, 0, 255))])
@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
@threat(76, 0)
def test_colours_hidden_by_alpha_stay_hidden(tmp_path, suffix, background, expected):
    path = tmp_path / f"a.{suffix}"
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(path, **({"lossless": True} if suffix == "webp" else {}))
    got = values(path, spec(), "0..255", background=background)
    np.testing.assert_array_equal(got, np.broadcast_to(expected, got.shape))


def test_half_transparent_is_mixed(tmp_path):
    path = tmp_path / "a.png"
    Image.new("LA", (2, 2), (100, 128)).save(path)
    got = values(path, spec(channels=1), "0..255")
    np.testing.assert_allclose(got, 100 * 128 / 255 + 255 * 127 / 255, atol=1)


def test_sixteen_bit_transparent_grey(tmp_path):
    path = tmp_path / "t.png"
    transparent = b"\0\0\0\x02tRNS\0\x05"
    transparent += struct.pack(">I", zlib.crc32(b"tRNS\0\x05"))
    path.write_bytes(png(2, 1, (16, 0), b"\0\0\x05\x80\0", transparent))
    np.testing.assert_array_equal(values(path, spec(channels=1))[0, :, 0], np.float32([1, 32768 / 65535]))


def test_four_channels_keep_the_alpha(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGBA", (2, 2), (255, 0, 0, 51)).save(path)
    np.testing.assert_array_equal(values(path, spec(channels=4), "0..255")[0, 0], (255, 0, 0, 51))


@threat(77, 0)
def test_palette_with_and_without_transparency(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "p.png")
    image.save(tmp_path / "t.png", transparency=0)
    image.save(tmp_path / "t.gif", transparency=0)
    np.testing.assert_array_equal(values(tmp_path / "p.png", spec(), "0..255")[0], [[10, 20, 30], [200, 100, 50]])
    for name in ("t.png", "t.gif"):
        np.testing.assert_array_equal(values(tmp_path / name, spec(), "0..255")[0], [[255] * 3, [200, 100, 50]])


@threat(77, 0)
def test_one_bit(tmp_path):
    image = Image.new("1", (3, 1))
    image.putpixel((1, 0), 1)
    for name in ("b.png", "b.tif", "b.bmp"):
        image.save(tmp_path / name)
        np.testing.assert_array_equal(values(tmp_path / name, spec(channels=1))[0, :, 0], [0, 1, 0])


def test_grey_of_colour_is_what_keras_loads(tmp_path):
    path = tmp_path / "a.png"
    picture = noise(5, 6)
    Image.fromarray(picture).save(path)
    np.testing.assert_array_equal(
        values(path, spec(channels=1), "0..255")[:, :, 0], np.asarray(Image.fromarray(picture).convert("L"))
    )


UPRIGHT = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
STORED = {
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.T,
    6: np.rot90(UPRIGHT),
    7: UPRIGHT[::-1, ::-1].T,
    8: np.rot90(UPRIGHT, -1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jpg"])
@threat(78, 0)
def test_exif_orientations(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"e.{suffix}"
    stored = np.ascontiguousarray(STORED[orientation])
    big = np.kron(stored, np.ones((8, 8), np.uint8))
    more = {"webp": {"lossless": True}, "jpg": {"quality": 100}}.get(suffix, {})
    Image.fromarray(big).save(path, exif=exif, **more)
    got = values(path, spec(channels=1), "0..255")[:, :, 0]
    assert got.shape == (16, 24)
    np.testing.assert_allclose(got[4::8, 4::8], UPRIGHT, atol=2)


def test_damaged_exif_costs_the_orientation_only(tmp_path):
    path = tmp_path / "e.jpg"
    Image.fromarray(noise(8, 8)).save(path, exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert fed(path, spec()).values["image"].shape == (1, 8, 8, 3)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
@threat(79, 0)
def test_frames(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    frames = [Image.new("RGB", (8, 8), (level, level, level)) for level in (0, 100, 200)]
    more = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], **more)
    sample = fed(path, spec(), "0..255")
    assert sample.values["image"].max() == 0
    assert "it has several frames; frame 0 is read (--frame N for another)" in sample.notes[0]
    assert values(path, spec(), "0..255", frame=2).mean() == pytest.approx(200, abs=1)
    with pytest.raises(InputError, match="there is no frame 7"):
        fed(path, spec(), frame=7)


@pytest.mark.parametrize(("width", "height"), [(100_000, 100_000), (10_000, 10_000), (7_072, 7_072)])
@threat(80, 6)
@threat(81, 6)
def test_decompression_bombs(tmp_path, width, height):
    path = tmp_path / "bomb.png"
    path.write_bytes(png(width, height))
    with pytest.raises(LimitError) as caught:
        fed(path, spec())
    assert caught.value.message == (
        f"{path}: {height:,} x {width:,} pixels, at most 50,000,000 in all are read; "
        "give a smaller image or raise --max-pixels."
    )


def test_pixel_limit_is_exact_and_settings_come_back(tmp_path):
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    path = tmp_path / "a.png"
    Image.fromarray(noise(10, 10)).save(path)
    fed(path, spec(), maximum_pixels=100)
    with pytest.raises(LimitError):
        fed(path, spec(), maximum_pixels=99)
    with pytest.raises(LimitError, match="would be fed"):
        fed(path, spec(2000, 2000), maximum_pixels=100)
    after = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    assert after == before


def text_bomb(kind):
    data = b"k\0\0" + zlib.compress(b"A" * (8 << 20))
    chunk = struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return png(1, 1, raw=b"\0\0\0\0", extra=chunk)


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP"])
@threat(82, 6)
def test_text_bombs(tmp_path, kind):
    path = tmp_path / "z.png"
    path.write_bytes(text_bomb(kind))
    with pytest.raises(LimitError, match="unpacks to more than 1,048,576 bytes"):
        fed(path, spec())


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
@threat(83, 3)
def test_truncated_at_every_percent(tmp_path, form, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    buffer = io.BytesIO()
    Image.fromarray(noise(32, 32)).save(buffer, form)
    whole = buffer.getvalue()
    path = tmp_path / "cut"
    for percent in range(1, 100):
        path.write_bytes(whole[: len(whole) * percent // 100])
        with pytest.raises(InputError) as caught:
            fed(path, spec())
        assert "processed" not in caught.value.message
    path.write_bytes(whole)
    fed(path, spec())


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"])
def test_flipped_bytes_give_an_image_or_one_line(tmp_path, form, capfd):
    buffer = io.BytesIO()
    Image.fromarray(noise(16, 16)).save(buffer, form)
    whole = buffer.getvalue()
    random = np.random.default_rng(5)
    path = tmp_path / "flipped"
    for _ in range(150):
        changed = bytearray(whole)
        for place in random.integers(0, len(whole), 3):
            changed[place] = random.integers(0, 256)
        path.write_bytes(changed)
        try:
            fed(path, spec(8, 8))
        except (InputError, LimitError) as failure:
            assert "\n" not in failure.message  # noqa: PT017  (either ending is good)
    assert capfd.readouterr() == ("", "")


def damaged_tiff(path):
    buffer = io.BytesIO()
    Image.fromarray(noise(16, 16)).save(buffer, "TIFF", compression="tiff_lzw")
    content = bytearray(buffer.getvalue())
    place = content.index(b"\x80", 8)
    content[place : place + 40] = b"\xff" * 40
    path.write_bytes(content)


def test_native_libraries_keep_quiet(tmp_path, capfd):
    path = tmp_path / "a.tif"
    damaged_tiff(path)
    with pytest.raises(InputError):
        fed(path, spec())
    assert capfd.readouterr() == ("", "")
    with Image.open(path) as image, pytest.raises(OSError, match=r"."):
        image.load()
    assert capfd.readouterr().err, "control: libtiff says nothing about this file"
    print("still open", file=sys.stderr)
    assert capfd.readouterr().err == "still open\n"


def test_no_pixels(tmp_path):
    path = tmp_path / "z.png"
    path.write_bytes(png(0, 10))
    with pytest.raises(InputError):
        fed(path, spec())


def test_pad_shows_everything(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (40, 20), (10, 10, 10)).save(path)
    sample = fed(path, spec(20, 20), "0..255", resize="pad")
    got = sample.values["image"][0]
    assert (got[:5] == 255).all()
    assert (got[15:] == 255).all()
    assert (got[5:15] == 10).all()
    times = "\N{MULTIPLICATION SIGN}"
    assert sample.fed == f"20 {times} 20 {times} 3, 0..255, padded from 20 {times} 40"
    assert (sample.fitting, sample.padding) == ("padded", {"image": (5, 0, 15, 20)})


def test_crop_keeps_the_centre(tmp_path):
    picture = np.zeros((20, 40, 3), np.uint8)
    picture[:, 10:30] = 200
    path = tmp_path / "a.png"
    Image.fromarray(picture).save(path)
    sample = fed(path, spec(20, 20), "0..255", resize="crop")
    assert (sample.values["image"] == 200).all()
    assert "cropped from" in sample.fed


def test_stretch_fills(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (40, 20), (10, 10, 10)).save(path)
    sample = fed(path, spec(20, 20), "0..255")
    assert (sample.values["image"] == 10).all()
    assert sample.fed.endswith("stretched 2 : 1 from 20 \N{MULTIPLICATION SIGN} 40")
    assert (sample.fitting, sample.padding) == ("stretched 2 : 1", {})


@pytest.mark.parametrize(
    ("columns", "rows", "words"),
    [(300, 200, "stretched 1.5 : 1"), (200, 300, "stretched 1.5 : 1"), (640, 480, "stretched 1.33 : 1"), (224, 224, ""),
     (448, 448, "scaled"), (1000, 999, "scaled")],
)  # fmt: skip
def test_the_factor_of_stretching_is_told(tmp_path, columns, rows, words):
    path = tmp_path / "a.png"
    Image.new("L", (columns, rows)).save(path)
    assert fed(path, spec(224, 224, 1)).fitting == words


def test_a_factor_near_one_is_not_told_as_one():
    assert image_resize.plan((10_000, 9_980), (2_000, 2_000), "stretch").word == "stretched 1.002 : 1"


@pytest.mark.tensorflow
def test_pixels_are_those_of_keras_with_the_same_filter(tmp_path):
    from keras.utils import img_to_array, load_img

    path = tmp_path / "a.png"
    Image.fromarray(noise(40, 60)).save(path)
    theirs = img_to_array(load_img(path, target_size=(20, 20), interpolation="bicubic"))
    np.testing.assert_array_equal(values(path, spec(20, 20), "0..255"), theirs)


@pytest.mark.parametrize("how", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("size", [(1, 300), (300, 1), (1, 1), (28, 29)])
def test_every_shape_can_be_resized(tmp_path, how, size):
    path = tmp_path / "a.png"
    Image.fromarray(noise(*size)).save(path)
    assert values(path, spec(28, 28), resize=how).shape == (28, 28, 3)


def test_same_size_is_not_resampled_and_a_free_size_is_its_own(tmp_path):
    path = tmp_path / "a.png"
    picture = noise(28, 28)
    Image.fromarray(picture).save(path)
    for wanted in (spec(28, 28), spec(), spec(28, None)):
        np.testing.assert_array_equal(values(path, wanted, "0..255"), picture)
    assert values(path, spec(None, 14)).shape == (14, 14, 3)


def test_channels_first(tmp_path):
    path = tmp_path / "a.png"
    picture = noise(4, 6)
    Image.fromarray(picture).save(path)
    wanted = TensorSpec("image", (None, 3, 4, 6), "float32", FIRST)
    sample = fed(path, wanted, "0..255")
    np.testing.assert_array_equal(sample.values["image"][0], picture.transpose(2, 0, 1))
    np.testing.assert_array_equal(sample.thumbnail, picture)
    assert sample.fed.startswith("4 ")


def test_without_a_channel_axis_it_is_grey(tmp_path):
    path = tmp_path / "a.png"
    picture = noise(28, 28, 1)[:, :, 0]
    Image.fromarray(picture).save(path)
    wanted = TensorSpec("image", (None, 28, 28), "float32", ("batch", "step", "unit"))
    sample = fed(path, wanted, "0..255")
    np.testing.assert_array_equal(sample.values["image"][0], picture)
    assert "no channel axis" in sample.notes[0]


@pytest.mark.parametrize("name", PREPROCESSINGS)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_thumbnail_undoes_every_range(tmp_path, name, channels):
    picture = noise(12, 13, 4)
    path = tmp_path / "a.png"
    Image.fromarray({1: picture[:, :, 0], 3: picture[:, :, :3], 4: picture}[channels]).save(path)
    thumbnail = fed(path, spec(channels=channels), name).thumbnail
    expected = np.repeat(picture[:, :, :1], 3, axis=2) if channels == 1 else picture[:, :, :3]
    np.testing.assert_array_equal(thumbnail, expected)


def test_inverted_is_fed_shown_and_said(tmp_path):
    path = tmp_path / "a.png"
    picture = noise(5, 5)
    Image.fromarray(picture).save(path)
    sample = fed(path, spec(), "0..255", invert=True)
    np.testing.assert_array_equal(sample.values["image"][0], 255 - picture)
    np.testing.assert_array_equal(sample.thumbnail, 255 - picture)
    assert sample.fed.endswith("0..255, inverted")


def test_large_thumbnails_are_reduced(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (600, 300), (9, 9, 9)).save(path)
    thumbnail = fed(path, spec()).thumbnail
    assert thumbnail.shape == (128, 256, 3)
    assert thumbnail.dtype == np.uint8


def test_whole_number_inputs_take_bytes_only(tmp_path):
    path = tmp_path / "a.png"
    picture = noise(4, 4)
    Image.fromarray(picture).save(path)
    got = values(path, spec(dtype="uint8"), "0..255")
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, picture)
    for dtype, name in (("uint8", "0..1"), ("int8", "0..255")):
        with pytest.raises(InputError, match="whole numbers"):
            fed(path, spec(dtype=dtype), name)


@pytest.mark.parametrize("shape", [(None, 10), (None, 8, 8, 5), (None, 8, 8, 4), (None, 4, 8, 8, 3)])
def test_inputs_that_take_no_image(tmp_path, shape):
    path = tmp_path / "a.png"
    Image.fromarray(noise(4, 4)).save(path)
    wanted = TensorSpec("x", shape, "float32", ("batch", *["unit"] * (len(shape) - 1)))
    with pytest.raises(InputError, match="give an array of that shape"):
        fed(path, wanted)


def test_only_the_decoder_of_the_file_sees_it(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.fromarray(noise(4, 4)).save(path)

    def never(*_):
        raise AssertionError

    monkeypatch.setattr(Image, "init", never)
    monkeypatch.setattr(Image, "open", never)
    assert issubclass(PngImagePlugin.PngImageFile, Image.Image)
    fed(path, spec())
