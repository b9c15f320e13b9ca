"""Paths of figures: one file, or a folder with a subfolder for each input; they do not depend on the content of inputs."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote

from actviz.errors import UsageError, escape

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from actviz.inputs import InputFile
    from actviz.records import LayerInfo, Sample

SHEET = "sheet"
FORMATS = (".png", ".svg", ".pdf")
OTHER_FORMATS = frozenset({".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".eps", ".npz"})
_NUMBERED = re.compile(r"(.+)_\d+")


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """The options that determine the paths of figures.

    `addresses` is empty for a sheet; `model`, `configuration` and `named` are those of `FigureSource`.
    """

    addresses: Sequence[str]
    output: str | None
    model: str
    configuration: str = ""
    named: bool = True

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the figures of each input: addresses, or `SHEET`."""
        return tuple(self.addresses) or (SHEET,)


@dataclass(frozen=True, slots=True)
class OutputPaths:
    """The file of each figure: `file` is the only one, or `folder` holds them by the names in `names`.

    `marks` are suffixes by input number that make equal names different.
    """

    file: Path | None
    folder: Path | None
    names: Mapping[str, str]
    marks: Mapping[int, str] = field(default_factory=dict)

    def inside(self, stem: str, number: int = 0) -> Path:
        """Return the folder of an input: `stem` is its name without a suffix, `number` its own."""
        from actviz.results import output_files

        if self.folder is None:
            return Path()
        return self.folder / (output_files.slug(stem) + self.marks.get(number, "")) if stem else self.folder

    def path(self, stem: str, key: str, number: int = 0, page: int = 1) -> Path:
        """Return the file of a figure of an input; `page` counts from 1."""
        return page_of(self.file or self.inside(stem, number) / self.names[key], page)


def page_of(path: Path, page: int) -> Path:
    """Return the file of a page, counted from 1: ``sheet.png``, ``sheet_page_2.png`` and so on."""
    return path if page == 1 else path.with_stem(f"{path.stem}_page_{page}")


def pages_of(path: Path, count: int) -> list[Path]:
    """Return the files of a figure with `count` pages."""
    return [page_of(path, page) for page in range(1, count + 1)]


def single_file(given: str | None, figures: int) -> Path | None:
    """Return the PNG, SVG or PDF file that ``-o`` names, or None where it names a folder or is not given.

    Raises
    ------
    UsageError
        If several figures would go into the file.
    """
    if given is None or not given.lower().endswith(FORMATS):
        return None
    if figures != 1:
        message = f"-o {escape(given)}: {figures:,} figures do not fit into one file; give a folder, such as -o {escape(given[:-4])}/"
        raise UsageError(message)
    return Path(given)


def other_format(given: str) -> UsageError:
    """Return the error for an output whose suffix is of another format."""
    return UsageError(
        f"-o {escape(given)}: figures are written as PNG, SVG or PDF; give a name that ends in .png, .svg or .pdf, or a folder."
    )


def choose(wanted: OutputOptions, layers: Sequence[LayerInfo], inputs: int, stem: str = "") -> OutputPaths:
    """Choose between one file and a folder, and name the files in it.

    Parameters
    ----------
    wanted
        Layers and output.
    layers
        All layers of the model, whose indices are part of file names.
    inputs
        Number of inputs; 2 or more if it is unknown but may be more than one.
    stem
        The name of the only input, without its suffix.

    Raises
    ------
    UsageError
        If several figures would go into one file, or the suffix is of another format.
    """
    from actviz.results import output_files

    given, keys = wanted.output, wanted.keys
    if given is not None and Path(given).suffix.lower() in OTHER_FORMATS:
        raise other_format(given)
    model = output_files.slug(Path(wanted.model).stem)
    if file := single_file(given, inputs * len(keys)):
        return OutputPaths(file, None, {})
    if given is None and inputs == 1 and len(keys) == 1:
        layer = output_files.slug(unquote(keys[0]))
        parts = [model, layer] if wanted.configuration or layer != model else [model]
        parts += [output_files.slug(stem)] if wanted.named else []
        return OutputPaths(Path(output_files.joined(parts) + ".png"), None, {})
    folder = Path(given) if given is not None else Path(f"{model}-actviz")
    return OutputPaths(None, folder, file_names(keys, layers))


def folder_of(wanted: OutputOptions) -> Path:
    """Return the folder of results, if they are not a single file."""
    from actviz.results import output_files

    return Path(wanted.output) if wanted.output else Path(f"{output_files.slug(Path(wanted.model).stem)}-actviz")


def file_names(keys: Sequence[str], layers: Sequence[LayerInfo]) -> dict[str, str]:
    """Return the file of each figure: the index that `layers` prints, if any, and the address.

    Names do not depend on which layers are drawn, so that several runs can share a folder.
    """
    from actviz.results import output_files

    numbers = {layer.address: layer.index for layer in layers if layer.index is not None and layer.address != SHEET}
    digits = max(3, len(str(len(numbers))))
    taken = output_files.UniquePaths()
    names = {}
    for key in dict.fromkeys([*(layer.address for layer in layers), *keys]):
        number = f"{numbers[key]:0{digits}d}_" if key in numbers else ""
        names[key] = str(taken.take(Path(f"{number}{output_files.slug(unquote(key))}.png"), key))
    return names


def stem_of(name: str, mark: str = "") -> str:
    """Return the name of an input without its suffix: ``a/cat.png`` -> ``a/cat``; `mark`, such as ``[3]``, is appended."""
    return (str(PurePosixPath(name).with_suffix("")) if PurePosixPath(name).name else name) + mark


def marks_of(entries: Sequence[InputFile]) -> dict[int, str]:
    """Return suffixes, by number, for entries whose folders would have equal names.

    The first keeps its name; the others get a short hash of their path, so that names depend on the list of files
    alone, not on their content or which of them are drawn. ``x_3.png`` gets one if the samples of ``x.npy`` may
    have its name.
    """
    from actviz.inputs.input_files import is_divided  # `render` of a file needs no inputs
    from actviz.results import output_files

    arrays = {
        output_files.folded(output_files.slug(stem_of(entry.name))) for entry in entries if is_divided(entry.path)
    }
    return marks({number: (stem_of(entry.name), str(entry.path)) for number, entry in enumerate(entries)}, arrays)


def marks(inputs: Mapping[int, tuple[str, str]], arrays: Collection[str] = ()) -> dict[int, str]:
    """Return suffixes, by number, for inputs whose folders would have equal names; see `marks_of`.

    Parameters
    ----------
    inputs
        Stem and full name by number.
    arrays
        Names of folders, without a number at the end, of the samples of arrays.
    """
    from actviz.results import output_files

    seen: set[str] = set()
    names: set[str] = set()
    suffixes: dict[int, str] = {}
    for number, (stem, name) in inputs.items():
        slug = output_files.folded(output_files.slug(stem))
        numbered = _NUMBERED.fullmatch(slug)
        if slug in seen or (numbered and numbered[1] in arrays):
            # For a name that is given twice, the hash includes its number.
            key = f"{name}\0{number}" if name in names else name
            suffixes[number] = "-" + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        seen.add(slug)
        names.add(name)
    return suffixes


def stem_of_sample(sample: Sample) -> str:
    """Return the stem of a sample, or its name without the suffix."""
    file, bracket, rest = sample.name.partition("[")
    return sample.stem or (stem_of(file, bracket + rest) if file else "")
