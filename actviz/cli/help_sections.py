"""The help of a command: its options under headings, those used most often first, and examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click

COMMON = "Common options"
# By command, at most ten, in the order of the help. The other options follow under the headings below.
COMMON_OPTIONS = {
    "show": "layer output scale top channels overlay dark labels preprocess json",
    "layers": "layer json operations weights custom-objects signature quiet",
    "extract": "layer output input preprocess resize compress files-from overwrite quiet",
    "render": "layer output index axes scale top channels sort dark overwrite",
    "check": "layer no-nan no-inf max-dead max-constant max-saturated max-zeros preprocess junit json",
    "top": "layer count by extreme channels truth output preprocess dark json",
    "merge": "output inputs channels dark junit json overwrite quiet",
    "diff": "layer fail-on atol rtol output figures preprocess weights junit json",
    "report": "layer output against markdown pictures max-size labels preprocess custom-objects overwrite",
    "explain": "layer output of method check box labels dark preprocess json",
    "filters": "layer output channels top zoom dark json overwrite",
    "history": "output metric best log smooth dark size columns json overwrite",
}
HEADINGS = {
    "Inputs": "input files-from null labels tokens stateful resize preprocess invert layout allow-nonfinite max-pixels"
    " frame sample-rate background seed",
    "Limits": "min-std range exit-zero",
    "Heat maps": "of method explain check box",
    "Figures": "sheet contact scale cmap columns channels sort top zoom project overlay reduce histogram font-scale dpi dark bare"
    " max-megapixels validation-freq",
    "Many inputs": "dry-run fail-fast batch-size shard keep-crops resume force changed",
    "Output": "output overwrite through-link json operations",
    "Model": "weights custom-objects signature tag allow-code strict timeout open-timeout max-memory",
    "Messages": "quiet verbose color help",
}
# By command: what it does, and the command.
EXAMPLES = {
    "actviz": (
        ("What the layers of a model are:", "actviz layers model.keras"),
        ("What they compute, on one page:", "actviz show model.keras photo.jpg"),
        ("The guide, page by page:", "actviz help"),
    ),
    "show": (
        ("Every layer on one page:", "actviz show model.keras photo.jpg"),
        ("The 8 strongest channels of a layer:", "actviz show model.keras photo.jpg -l conv2d --top 8 -o conv2d.png"),
        ("All convolutions for a folder of images:", "actviz show model.keras images/ -l '@Conv2D' -o maps/"),
        ("A model with two inputs:", "actviz show model.keras --input left=a.png --input right=b.png"),
    ),
    "layers": (
        ("Addresses, classes and shapes:", "actviz layers model.keras"),
        ("Some of them:", "actviz layers model.keras -l '@Conv2D'"),
        ("The same for a script:", "actviz layers model.keras --json"),
    ),
    "extract": (
        ("One layer for a folder of images:", "actviz extract model.keras images/ -l dense -o dense.npz"),
        ("Draw it later, without the model:", "actviz render dense.npz"),
    ),
    "render": (
        ("All layers of a file:", "actviz render activations.npz"),
        ("An array of your own:", "actviz render maps.npy --axes row,column,channel -o maps.png"),
    ),
    "check": (
        ("NaN and infinities:", "actviz check model.keras images/"),
        ("In CI:", "actviz check model.keras images/ --no-nan --max-dead 10% --junit check.xml"),
    ),
    "top": (
        ("What the channels of a layer respond to:", "actviz top model.keras images/ -l conv2d -o conv2d.png"),
        ("Two layers, with a file of the result:", "actviz top model.keras images/ -l conv2d,dense -o top/"),
    ),
    "merge": (
        ("Two parts of a run:", "actviz merge part-1/ part-2/ -o all/"),
    ),
    "diff": (
        ("Two versions of a model:", "actviz diff old.keras new.keras images/"),
        ("A converted model, with its own limit:", "actviz diff model.keras model.tflite images/ --fail-on 'cosine<0.98'"),
    ),
    "report": (
        ("A page about a model:", "actviz report model.keras images/ -o report.html"),
        ("With the differences from another version:", "actviz report new.keras images/ --against old.keras"),
    ),
    "explain": (
        ("Why the predicted class:", "actviz explain model.keras photo.jpg -o why.png"),
        ("Two classes, by two methods, side by side:", "actviz explain model.keras photo.jpg --of top2 --method gradcam,occlusion"),
        ("A channel, for a folder of images:", "actviz explain model.keras images/ --of conv2d:3 -o maps/"),
    ),
    "filters": (
        ("The filters of a layer:", "actviz filters model.keras -l conv2d"),
        ("The 16 strongest, as numbers too:", "actviz filters model.keras -l conv2d --top 16 --json"),
    ),
    "history": (
        ("Learning curves of a training:", "actviz history history.json -o curves.png"),
        ("Several trainings in one figure:", "actviz history runs/ -m '*accuracy' --smooth 5"),
    ),
}  # fmt: skip


def sections_of(command: click.Command, ctx: click.Context) -> dict[str, list[click.Parameter]]:
    """Return the options of a command by heading; those without one are under "Options"."""
    options = {name: param for param in command.get_params(ctx) if (name := long_name(param))}
    sections: dict[str, list[click.Parameter]] = {}
    for heading, names in ((COMMON, COMMON_OPTIONS.get(command.name or "", "")), *HEADINGS.items()):
        listed = [options.pop(name) for name in names.split() if name in options]
        if listed:
            sections[heading] = listed
    return {**({"Options": list(options.values())} if options else {}), **sections}


def long_name(param: click.Parameter) -> str:
    """Return the first long name of an option without its dashes; empty for an argument."""
    return next((name.removeprefix("--") for name in param.opts if name.startswith("--")), "")


def write_options(command: click.Command, ctx: click.Context, formatter: click.HelpFormatter) -> None:
    """Write the options of a command under their headings."""
    for heading, params in sections_of(command, ctx).items():
        records = [record for param in params if (record := param.get_help_record(ctx)) is not None]
        if records:
            with formatter.section(heading):
                formatter.write_dl(records)


def write_examples(name: str, formatter: click.HelpFormatter) -> None:
    """Write the examples of a command, each on one line that can be copied."""
    if name in EXAMPLES:
        with formatter.section("Examples"):
            for what, line in EXAMPLES[name]:
                formatter.write(f"{'':{formatter.current_indent}}{what}\n{'':{formatter.current_indent + 2}}{line}\n")
