"""Layers of a file that are not computed, because they need code that may not run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from actviz.errors import escape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actviz.errors import ActvizError
    from actviz.records import ModelFacts

MOST_NAMED = 6


def without_refused(facts: ModelFacts, refused: Mapping[str, ActvizError]) -> ModelFacts:
    """Return the facts with `layers` reduced to those that can be computed; `refused` has the errors by address."""
    if not refused:
        return facts
    layers = tuple(layer for layer in facts.layers if layer.address not in refused)
    refusals = {address: (error.exit_code, error.message) for address, error in refused.items()}
    return replace(facts, layers=layers, listed=facts.layers, refusals=refusals)


def left_out_note(facts: ModelFacts, causes: Sequence[str], remedy: str) -> str:
    """Return the note about the layers that are not computed, ``""`` if there are none; `causes` are what they need."""
    if not facts.refusals:
        return ""
    named = ", ".join(causes[:MOST_NAMED]) + (" ..." if len(causes) > MOST_NAMED else "")
    return f"{escape(facts.file, 200)}: {len(facts.refusals):,} of {len(facts.listed):,} layers are left out, because they are or depend on {named}, which need code that may not run; {remedy}."
