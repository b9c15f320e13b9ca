"""Write `tests/COMPATIBILITY.md`: what becomes of every model file of the corpus.

Run ``python tests/tools/make_compatibility.py`` with the corpus beside the checkout.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import corpus

HEAD = """# Which files open

Made by `python tests/tools/make_compatibility.py` from real files of many Keras versions. "All layers right" means that
every activation that the writing version itself computed is found under its address and equal to 1e-4 (1e-2 for
float16). Custom classes were given with `custom_objects` and Lambda layers allowed to run; without that, the files that
need it are refused, with the flag named. SavedModels and frozen graphs got neither: where layers are not known to Keras
without code, they are recovered from the graph. InputLayers inside a graph, which leave nothing in it, are not counted.

| writer | format | files | all layers right | a layer not found | refused | wrong values |
|---|---|---|---|---|---|---|
"""


def main() -> None:
    """Check every file and write the table."""
    rows = defaultdict(list)
    for path in corpus.files():
        rows[path.parent.name, path.suffix[1:]].append(corpus.check(path))
    for path in corpus.files(formats=corpus.SAVED):
        kind = corpus.manifest(corpus.CORPUS)[path]["format"]
        rows[path.parent.name, kind].append(corpus.without_inputs(corpus.check(path, given=False)))
    lines = [HEAD.rstrip("\n")]
    every = [outcome for outcomes in rows.values() for outcome in outcomes]
    for (writer, suffix), outcomes in [*sorted(rows.items()), (("all", ""), every)]:
        counts = (
            len(outcomes),
            sum(outcome.right for outcome in outcomes),
            sum(bool(outcome.missing) and not outcome.wrong for outcome in outcomes),
            sum(bool(outcome.refused) for outcome in outcomes),
            sum(bool(outcome.wrong) for outcome in outcomes),
        )
        lines.append(f"| {writer} | {suffix} | {' | '.join(map(str, counts))} |")
    lines += ["", "## Refused, and why", "", "| file | exit code | reason |", "|---|---|---|"]
    lines += [
        f"| {outcome.path.parent.name}/{outcome.path.name} | {outcome.code} | {outcome.refused.split(': ', 1)[-1].replace('|', '/')} |"
        for outcome in every
        if outcome.refused
    ]
    lines += ["", "## Layers not found", "", "| file | layers |", "|---|---|"]
    lines += [
        f"| {outcome.path.parent.name}/{outcome.path.name} | {', '.join(outcome.missing)} |"
        for outcome in every
        if outcome.missing
    ]
    target = Path(__file__).parents[1] / "COMPATIBILITY.md"
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
