"""WAV files feed inputs of samples: every coding by its depth, no length changed, resampling on request only."""

from __future__ import annotations

import gzip
import io
import struct
import wave

import numpy as np
import pytest

from actviz.errors import InputError, LimitError, UsageError
from actviz.inputs import PREPROCESSINGS, InputOptions, audio, read_samples
from actviz.inputs.input_files import InputArguments, list_input_files
from actviz.inputs.sources import make_pipeline
from actviz.records import ModelFacts, TensorSpec

MONO = TensorSpec("sound", (None, None), "float32", ("batch", "unit"))
CHANNEL = TensorSpec("sound", (None, None, 1), "float32", ("batch", "step", "unit"))
STEREO = TensorSpec("sound", (None, None, 2), "float32", ("batch", "step", "unit"))


def fed(path, spec=MONO, **options):
    (sample,) = read_samples(path, (spec,), PREPROCESSINGS["0..1"], InputOptions(**options))
    return sample


def values(path, spec=MONO, **options):
    return fed(path, spec, **options).values["sound"][0]


def riff(*chunks):
    body = b"".join(name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for name, data in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


def form(code, channels, rate, width, more=b""):
    return (
        struct.pack("<HHIIHH", code, channels, rate, rate * channels * width % 2**32, channels * width, 8 * width)
        + more
    )


def pcm(path, samples, width=2, rate=16_000):
    """Write whole numbers ``(sample, channel)`` by the standard library."""
    samples = np.atleast_2d(np.asarray(samples).T).T
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate)
        wide = samples.astype("<i4")
        raw = (wide + 128).astype(np.uint8) if width == 1 else wide[..., None].view(np.uint8)[..., :width]
        file.writeframes(np.ascontiguousarray(raw).tobytes())


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2])
def test_whole_numbers_are_divided_by_their_largest(tmp_path, width, channels):
    path, top = tmp_path / "a.wav", 2 ** (8 * width - 1)
    random = np.random.default_rng(1)
    samples = np.concatenate([[[-top] * channels, [top - 1] * channels, [0] * channels],
                              random.integers(-top, top, (50, channels))])  # fmt: skip
    pcm(path, samples, width)
    got = values(path, STEREO if channels == 2 else CHANNEL)
    np.testing.assert_array_equal(got, (samples / top).astype(np.float32))


@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
@pytest.mark.parametrize("extensible", [True, False])
def test_floats_are_taken_as_they_are(tmp_path, dtype, extensible):
    path = tmp_path / "a.wav"
    samples = np.random.default_rng(1).uniform(-1, 1, 33).astype(dtype)
    width = samples.itemsize
    more = struct.pack("<HHI", 22, 8 * width, 0) + struct.pack("<H", 3) + bytes(14) if extensible else b""
    head = form(0xFFFE if extensible else 3, 1, 8000, width, more)
    path.write_bytes(riff((b"LIST", b"abc"), (b"fmt ", head), (b"data", samples.tobytes())))
    np.testing.assert_array_equal(values(path), samples.astype(np.float32))


def test_the_text_tells_length_rate_channels_and_range(tmp_path):
    path = tmp_path / "a.wav"
    pcm(path, np.zeros(16_000, int))
    assert fed(path).fed == "16,000 samples at 16,000 Hz, mono, -1..1"
    pcm(path, np.zeros((100, 2), int), rate=44_100)
    assert fed(path).fed == "100 samples at 44,100 Hz, mono, the mean of 2 channels, -1..1"


def test_channels(tmp_path):
    path = tmp_path / "a.wav"
    samples = np.array([[16_384, 0], [-32_768, -32_768], [100, 300]])
    pcm(path, samples)
    np.testing.assert_array_equal(values(path), (samples.mean(axis=1) / 32_768).astype(np.float32))
    np.testing.assert_array_equal(values(path, STEREO), (samples / 32_768).astype(np.float32))
    first = TensorSpec("sound", (None, 2, None), "float32", ("batch", "unit", "step"))
    np.testing.assert_array_equal(values(path, first), (samples.T / 32_768).astype(np.float32))
    pcm(path, samples[:, 0])
    np.testing.assert_array_equal(values(path, STEREO), np.repeat(samples[:, :1] / 32_768, 2, axis=1))
    pcm(path, np.zeros((4, 3), int))
    with pytest.raises(InputError, match="the sound has 3 channels, the input takes 1"):
        fed(path)


def test_the_length_must_be_that_of_the_input(tmp_path):
    path = tmp_path / "a.wav"
    second = TensorSpec("sound", (None, 16_000), "float32", ("batch", "unit"))
    pcm(path, np.zeros(44_100, int), rate=44_100)
    with pytest.raises(
        InputError, match=r"44,100 samples \(1 s at 44,100 Hz\), the input takes 16,000; --sample-rate 16000"
    ):
        fed(path, second)
    assert values(path, second, sample_rate=16_000).shape == (16_000,)
    pcm(path, np.zeros(12_345, int))
    with pytest.raises(InputError, match=r"the input takes 16,000; cut or pad the sound") as caught:
        fed(path, second)
    assert "--sample-rate" not in caught.value.message


@pytest.mark.parametrize(("rate", "wanted"), [(44_100, 16_000), (16_000, 44_100), (8_000, 16_000), (48_000, 16_000)])
def test_resampling_is_that_of_scipy(tmp_path, rate, wanted):
    signal = pytest.importorskip("scipy.signal")
    path = tmp_path / "a.wav"
    samples = np.random.default_rng(1).integers(-20_000, 20_000, (1_500, 2))
    pcm(path, samples, rate=rate)
    got = fed(path, STEREO, sample_rate=wanted)
    divisor = np.gcd(rate, wanted)
    theirs = signal.resample_poly(samples / 32_768, wanted // divisor, rate // divisor)
    np.testing.assert_allclose(got.values["sound"][0], theirs, atol=1e-4)
    assert got.notes == (f"{path}: resampled from {rate:,} to {wanted:,} Hz.",)


def test_a_tone_keeps_its_pitch(tmp_path):
    path, rate = tmp_path / "a.wav", 44_100
    pcm(path, np.rint(16_384 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)), rate=rate)
    got = values(path, sample_rate=16_000)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    np.testing.assert_allclose(got[200:-200], expected[200:-200], atol=2e-3)


def test_a_rate_in_ratio_to_nothing(tmp_path):
    path = tmp_path / "a.wav"
    pcm(path, np.full(4_410, 8_192), rate=44_101)
    got = values(path, sample_rate=16_000)
    np.testing.assert_allclose(got[20:-20], 0.25, atol=1e-3)


def damaged():
    head, data = (b"fmt ", form(1, 1, 8000, 2)), (b"data", bytes(20))
    whole = riff(head, data)
    return {
        "cut": whole[:-3],
        "no format": riff(data),
        "no data": riff(head),
        "no channels": riff((b"fmt ", form(1, 0, 8000, 2)), data),
        "no rate": riff((b"fmt ", form(1, 1, 0, 2)), data),
        "half a sample": riff(head, (b"data", bytes(21))),
        "a short format": riff((b"fmt ", b"\1\0"), data),
    }


@pytest.mark.parametrize("name", damaged())
def test_damaged_files_are_said_to_be(tmp_path, name):
    path = tmp_path / "a.wav"
    path.write_bytes(damaged()[name])
    with pytest.raises(InputError, match="truncated or damaged"):
        fed(path)


@pytest.mark.parametrize(("code", "name"), [(7, "mu-law"), (6, "A-law"), (2, "ADPCM"), (1234, "code 1234")])
def test_other_codings_are_named(tmp_path, code, name):
    path = tmp_path / "a.wav"
    path.write_bytes(riff((b"fmt ", form(code, 1, 8000, 1)), (b"data", bytes(20))))
    with pytest.raises(InputError, match=f"coded as {name} of 8 bits; save it as PCM"):
        fed(path)


def test_a_stream_of_unknown_length_is_read_to_its_end(tmp_path):
    path = tmp_path / "a.wav"
    whole = bytearray(riff((b"fmt ", form(1, 1, 8000, 2)), (b"data", bytes(20))))
    whole[-24:-20] = b"\xff" * 4
    path.write_bytes(whole)
    assert values(path).shape == (10,)


def test_limits(tmp_path, monkeypatch):
    path = tmp_path / "a.wav"
    pcm(path, np.zeros(100, int), rate=8_000)
    monkeypatch.setattr(audio, "MAX_VALUES", 150)
    fed(path)
    with pytest.raises(LimitError, match="at most 150 are made"):
        fed(path, sample_rate=48_000)
    monkeypatch.setattr(audio, "MAX_VALUES", 99)
    with pytest.raises(LimitError, match="100 values, at most 99 are read"):
        fed(path)
    monkeypatch.undo()
    path.write_bytes(riff((b"fmt ", form(1, 1, 4_000_000_000 // 2, 2)), (b"data", bytes(20))))
    with pytest.raises(LimitError, match="Hz, at most 1,000,000 are resampled"):
        fed(path, sample_rate=8_000)
    path.write_bytes(riff(*[(b"junk", b"")] * 20_000))
    with pytest.raises(LimitError, match="chunks in the WAV file"):
        fed(path)


@pytest.mark.parametrize(
    "spec",
    [TensorSpec("x", (None, 8, 8, 1), "float32", ("batch", "row", "column", "channel")),
     TensorSpec("x", (None, 98, 40), "float32", ("batch", "step", "unit")),
     TensorSpec("x", (None, 12), "int32", ("batch", "step"), limit=50)],
)  # fmt: skip
def test_inputs_that_are_no_audio(tmp_path, spec):
    path = tmp_path / "a.wav"
    pcm(path, np.zeros(10, int))
    with pytest.raises(InputError, match="is not 1-D audio"):
        fed(path, spec)


def test_folders_of_sounds_count_for_audio_only(tmp_path):
    pcm(tmp_path / "a.wav", np.zeros(10, int))
    assert [entry.name for entry in list_input_files(InputArguments((tmp_path,)), sound=True)] == ["a.wav"]
    with pytest.raises(InputError, match="no input found"):
        list_input_files(InputArguments((tmp_path,)))


def nifti(magic=b"n+1\0"):
    return (struct.pack("<i", 348) + bytes(340) + magic).ljust(800, b"\0")


@pytest.mark.parametrize(
    ("name", "content", "kind", "call"),
    [("a.dcm", bytes(128) + b"DICM" + bytes(50), "DICOM", 'pydicom.dcmread("{path}").pixel_array'),
     ("a", bytes(128) + b"DICM" + bytes(50), "DICOM", 'pydicom.dcmread("{path}").pixel_array'),
     ("a.nii", nifti(), "NIfTI", 'nibabel.load("{path}").get_fdata()'),
     ("a.hdr", nifti(b"ni1\0"), "NIfTI", 'nibabel.load("{path}").get_fdata()'),
     ("a.nii", struct.pack("<i", 540) + b"n+2\0\r\n\x1a\n" + bytes(600), "NIfTI", 'nibabel.load("{path}").get_fdata()'),
     ("a.nii.gz", gzip.compress(nifti(), mtime=0), "NIfTI", 'nibabel.load("{path}").get_fdata()')],
)  # fmt: skip
def test_medical_files_say_how_to_save_an_array(tmp_path, name, content, kind, call):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        fed(path)
    message = caught.value.message
    assert f"this is a {kind} file" in message
    assert call.format(path=path) in message
    assert 'numpy.save("input.npy"' in message
    code = message.partition("python -c '")[2].removesuffix("'")
    compile(code, "message", "exec")


def test_other_gzip_files_are_archives(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"x" * 1000))
    with pytest.raises(InputError, match="this is a gzip archive"):
        fed(path)
    buffer = io.BytesIO(gzip.compress(bytes(1000)))
    path.write_bytes(buffer.getvalue()[:14])
    with pytest.raises(InputError, match="this is a gzip archive"):
        fed(path)


def test_a_rate_is_refused_where_no_input_takes_audio():
    picture = TensorSpec("image", (None, 28, 28, 1), "float32", ("batch", "row", "column", "channel"))
    facts = ModelFacts("m.h5", "h5", "keras", ("m",), (picture,), (), (), (), "")
    with pytest.raises(UsageError, match=r"--sample-rate 8000: no input that these layers need takes audio"):
        make_pipeline(facts, (), InputOptions(sample_rate=8_000))
