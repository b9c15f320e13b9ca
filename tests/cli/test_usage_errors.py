"""Errors of usage end with one full stop or question mark, and suggest what was probably meant."""

import pytest


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["layer", "m.keras"], 'there is no command "layer"; did you mean layers? The commands are show, '),
        (["frobnicate"], 'there is no command "frobnicate"; the commands are show, '),
        (["show", "m.keras", "--topp", "4"], "No such option '--topp'. Did you mean '--top'? See: actviz show --help"),
        (["show"], "Missing argument 'MODEL'. See: actviz show --help"),
    ],
)
def test_usage_errors(actviz, words, expected):
    ran = actviz(*words)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"actviz: error: {expected}")
