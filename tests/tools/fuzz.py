"""Fuzz everything that reads a file, for as long as you like.

Run ``python tests/tools/fuzz.py --seconds 600 --seed 7`` (seconds for each target; name targets
to choose some). Prints a line for each target and what escaped; exit status 1 if anything did.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "helpers"), str(Path(__file__).parents[2])]

import fuzzing


def main() -> int:
    """Fuzz the targets one after another."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(fuzzing.TARGETS))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    failed = False
    for name in given.targets or fuzzing.TARGETS:
        result = fuzzing.fuzz(name, given.seed, sys.maxsize, given.seconds)
        contained = fuzzing.TARGETS[name].native
        print(f"{name}: {result.read:,} mutants, {len(result.escapes)} escapes, {len(result.died)} parsers died")
        for number, what in result.escapes.items():
            print(f"  escape: mutant({name!r}, {given.seed}, {number})\n    " + "\n    ".join(what.splitlines()[-8:]))
        for number, how in result.died.items():
            print(f"  {'contained' if contained else 'died'}: mutant({name!r}, {given.seed}, {number}): {how}")
        sys.stdout.flush()
        failed |= bool(result.escapes) or (bool(result.died) and not contained)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
