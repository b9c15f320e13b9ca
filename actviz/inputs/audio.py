"""Read WAV files as 1-D audio with values -1..1; they are resampled only on request.

The `wave` module of the standard library is not used because it reads neither floats nor, before
Python 3.12, the extensible header that most programs write for 24 bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from actviz.errors import InputError, LimitError
from actviz.inputs.array_checks import check_finite, to_dtype
from actviz.inputs.image_resize import shape_text
from actviz.inputs.input_options import MAX_RATE
from actviz.inputs.samples import sample_of_arrays

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from actviz.inputs.input_options import InputOptions
    from actviz.records import Sample, TensorSpec

MAX_VALUES = 100_000_000
MAX_CHUNKS = 10_000
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_FORMATS = {2: "ADPCM", 6: "A-law", 7: "mu-law", 17: "ADPCM", 85: "MP3"}
_STEREO = 2
_TO_THE_END = 0xFFFF_FFFF
_USUAL_RATES = (8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
# Zero crossings on each side of the resampling filter, and beta of its Kaiser window, as in
# scipy.signal.resample_poly.
_CROSSINGS, _BETA = 10, 5.0
_BLOCK = 1 << 22  # filter weights in memory


@dataclass(frozen=True, slots=True)
class Sound:
    """The samples of a WAV file: float32 ``(sample, channel)``, -1..1, `rate` samples per second."""

    values: NDArray[np.float32]
    rate: int


def takes_audio(spec: TensorSpec) -> bool:
    """Return True if an input may be 1-D audio: ``(batch, sample)``, or with an axis of one or two channels."""
    if spec.dtype == "string" or spec.limit is not None or spec.words:
        return False
    rank = len(spec.shape)
    return rank == 2 or (rank == 3 and spec.shape[_channel_axis(spec)] in {1, _STEREO})  # noqa: PLR2004


def _channel_axis(spec: TensorSpec) -> int:
    """Return the channel axis of an input of rank 3: the last one, unless that is the step axis."""
    return 1 if spec.axes[-1:] == ("step",) else 2


def sample_of_wav(content: bytes, spec: TensorSpec, options: InputOptions, path: Path) -> Sample:
    """Return a WAV file as the sample of an input.

    Raises
    ------
    InputError
        When the file is damaged or in another encoding, or its length or channels do not fit.
    LimitError
        When it is too long.
    """
    label = str(path)
    if not takes_audio(spec):
        message = f"{label}: a WAV file, but the input {shape_text(spec.shape)} {spec.dtype} is not 1-D audio, (batch, sample) or (batch, sample, channel); give an array of that shape (.npy), such as a spectrogram."
        raise InputError(message)
    sound = read_wav(content, label)
    notes: list[str] = list(check_finite(sound.values, label, options))
    if options.invert:
        notes.append(f"{label}: --invert is for images; the sound is fed as it is.")
    if options.sample_rate not in {None, sound.rate}:
        notes.append(f"{label}: resampled from {sound.rate:,} to {options.sample_rate:,} Hz.")
    resampled = resample(sound, options.sample_rate or sound.rate, label)
    axis = _channel_axis(spec)
    rank = len(spec.shape)
    values, mixing = _channels(resampled.values, 1 if rank == 2 else spec.shape[axis] or 1, label)  # noqa: PLR2004
    _check_length(sound, resampled, spec.shape[1 if rank == 2 else 3 - axis], label)  # noqa: PLR2004
    fed = values[:, 0] if rank == 2 else (values.T if axis == 1 else values)  # noqa: PLR2004
    batch = {spec.name: to_dtype(np.ascontiguousarray(fed)[None], spec.dtype, f"{label}: a sound of -1..1")}
    text = f"{len(values):,} samples at {resampled.rate:,} Hz, {mixing}, -1..1"
    return replace(sample_of_arrays(batch, (spec,), path.name, tuple(notes), text), fed=text)


def _channels(values: NDArray[np.float32], wanted: int, path: str) -> tuple[NDArray[np.float32], str]:
    """Return the values with the channels of an input, and a description of the conversion.

    Stereo is converted to mono by the mean, mono to stereo by repetition; other numbers are refused.
    """
    count = values.shape[1]
    names = {1: "mono", _STEREO: "stereo"}
    if count == wanted:
        return values, names.get(count, f"{count} channels")
    if (count, wanted) == (_STEREO, 1):
        return values.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32), "mono, the mean of 2 channels"
    if (count, wanted) == (1, _STEREO):
        return values.repeat(_STEREO, axis=1), "stereo, 1 channel twice"
    message = f"{path}: the sound has {count} channels, the input takes {wanted}, and no conversion between them is known; save it with {wanted}, or give an array (.npy)."
    raise InputError(message)


def _check_length(sound: Sound, resampled: Sound, wanted: int | None, path: str) -> None:
    """Refuse a sound of the wrong length; suggest a usual sample rate at which it would fit."""
    count = len(resampled.values)
    if wanted is None or count == wanted:
        return
    fitting = [rate for rate in _USUAL_RATES if _resampled_length(len(sound.values), sound.rate, rate) == wanted]
    advice = (
        f"--sample-rate {fitting[0]} gives as many, if the model was trained at that rate; else " if fitting else ""
    )
    message = f"{path}: {count:,} samples ({count / resampled.rate:.3g} s at {resampled.rate:,} Hz), the input takes {wanted:,}; {advice}cut or pad the sound, or give an array (.npy)."
    raise InputError(message)


def read_wav(content: bytes, path: str) -> Sound:
    """Read a WAV file of PCM with 8, 16, 24 or 32 bits, or of floats with 32 or 64 bits.

    PCM is divided by its largest magnitude: 128 (8 bits, which are unsigned with zero at 128), 32,768,
    8,388,608 or 2,147,483,648. Floats are not scaled.

    Raises
    ------
    InputError
        When the file is truncated, damaged or in another encoding.
    LimitError
        When it has more than `MAX_VALUES` values.
    """
    chunks = _chunks(content, path)
    head, data = chunks.get(b"fmt "), chunks.get(b"data")
    if head is None or data is None or len(head) < 16:  # noqa: PLR2004  (the shortest format)
        raise _damaged(path)
    code, channels, rate, _, size, bits = (
        int.from_bytes(head[start:end], "little")
        for start, end in ((0, 2), (2, 4), (4, 8), (8, 12), (12, 14), (14, 16))
    )
    if code == _EXTENSIBLE:
        code = int.from_bytes(head[24:26], "little")
    if not channels or not rate or size % channels or len(data) % max(size, 1):
        raise _damaged(path)
    width = size // channels
    if (code, width) not in {(_PCM, 1), (_PCM, 2), (_PCM, 3), (_PCM, 4), (_FLOAT, 4), (_FLOAT, 8)} or bits > 8 * width:
        name = _FORMATS.get(code, "floats" if code == _FLOAT else "PCM" if code == _PCM else f"code {code}")
        message = f"{path}: the WAV file is coded as {name} of {bits} bits; save it as PCM of 8, 16, 24 or 32 bits, or as floats of 32 or 64."
        raise InputError(message)
    count = len(data) // width
    if count > MAX_VALUES:
        raise LimitError(f"{path}: {count:,} values, at most {MAX_VALUES:,} are read; give a shorter sound.")
    if not count:
        raise InputError(f"{path}: the WAV file holds no sample; at least one was expected.")
    return Sound(_samples(data, code, width).reshape(-1, channels), rate)


def _chunks(content: bytes, path: str) -> dict[bytes, memoryview]:
    """Return the chunks of a RIFF file up to the data, by name."""
    view, position, chunks = memoryview(content), 12, dict[bytes, memoryview]()
    for _ in range(MAX_CHUNKS):
        if position + 8 > len(content) or b"data" in chunks:
            return chunks
        name, size = bytes(view[position : position + 4]), int.from_bytes(view[position + 4 : position + 8], "little")
        rest = len(content) - position - 8
        if name == b"data" and size == _TO_THE_END:  # of unknown length, as it was written to a pipe
            size = rest
        if size > rest:
            raise _damaged(path)
        chunks.setdefault(name, view[position + 8 : position + 8 + size])
        position += 8 + size + size % 2
    raise LimitError(f"{path}: more than {MAX_CHUNKS:,} chunks in the WAV file; save it again without them.")


def _damaged(path: str) -> InputError:
    return InputError(f"{path}: the WAV file is truncated or damaged; copy or save it again.")


def _samples(data: memoryview, code: int, width: int) -> NDArray[np.float32]:
    if code == _FLOAT:
        with np.errstate(over="ignore"):
            return np.frombuffer(data, f"<f{width}").astype(np.float32)
    if width == 1:
        return ((np.frombuffer(data, np.uint8).astype(np.float32) - 128) / 128).astype(np.float32)
    if width == 3:  # noqa: PLR2004  (24 bits: the upper three of four bytes)
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        return (wide.view("<i4")[:, 0] / np.float64(2**31)).astype(np.float32)
    whole = np.frombuffer(data, f"<i{width}")
    return (whole / np.float64(2 ** (8 * width - 1))).astype(np.float32)


def _resampled_length(count: int, rate: int, wanted: int) -> int:
    return -(-count * wanted // rate)


def resample(sound: Sound, rate: int, path: str) -> Sound:
    """Resample a sound with a low-pass filter at half the lower of both rates.

    Method and filter are those of ``scipy.signal.resample_poly``: a windowed sinc, evaluated at the
    phase of each output value.

    Raises
    ------
    LimitError
        When the result would be too long.
    """
    if rate == sound.rate:
        return sound
    if sound.rate > MAX_RATE:
        raise LimitError(
            f"{path}: {sound.rate:,} Hz, at most {MAX_RATE:,} are resampled; save it again at the rate that it has."
        )
    count, channels = sound.values.shape
    length = _resampled_length(count, sound.rate, rate)
    if length * channels > MAX_VALUES:
        message = f"{path}: {length * channels:,} values at {rate:,} Hz, at most {MAX_VALUES:,} are made; give a shorter sound."
        raise LimitError(message)
    divisor = math.gcd(rate, sound.rate)
    up, down = rate // divisor, sound.rate // divisor
    half = _CROSSINGS * max(up, down)
    taps_at = np.arange(-half, half + 1)
    window = np.kaiser(2 * half + 1, _BETA)
    taps = np.sinc(taps_at / max(up, down)) * window
    taps *= up / taps.sum()
    reach = half // up + 1  # input values on each side of an output value
    padded = np.pad(sound.values.astype(np.float64), ((reach, reach), (0, 0)))
    values = np.empty((length, channels), np.float32)
    around = np.arange(-reach, reach + 1)
    block = max(1, _BLOCK // len(around))
    for start in range(0, length, block):
        position = np.arange(start, min(start + block, length), dtype=np.int64) * down
        centre = position // up
        tap = (position[:, None] - (centre[:, None] + around) * up) + half
        weight = np.where((tap >= 0) & (tap < len(taps)), taps[np.clip(tap, 0, len(taps) - 1)], 0)
        values[start : start + block] = np.einsum("ok,okc->oc", weight, padded[centre[:, None] + around + reach])
    return Sound(values, rate)
