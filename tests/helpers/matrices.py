"""Matrices of cases of which the default run takes a part that has every row and every column."""

import itertools

import pytest


def matrix(*axes, fast):
    """Return the product of `axes` as parameters; those for which `fast(*values)` is False are marked `slow`."""
    return [
        pytest.param(*values, marks=[] if fast(*values) else [pytest.mark.slow]) for values in itertools.product(*axes)
    ]
