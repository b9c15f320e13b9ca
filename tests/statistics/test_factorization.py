"""Non-negative factorization."""

from __future__ import annotations

import numpy as np
import pytest

from actviz.statistics.factorization import factorize


def test_parts_of_a_sum_of_parts_hold_all_of_it() -> None:
    random = np.random.default_rng(0)
    weights, parts = random.random((300, 3)) * (random.random((300, 3)) < 0.5), random.random((3, 20))
    weights[0] = 1

    factors = factorize(weights @ parts, 3)

    assert factors.energy > 0.999
    assert (factors.weights >= 0).all()
    assert (factors.parts >= 0).all()
    np.testing.assert_allclose(np.linalg.norm(factors.parts, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(factors.weights @ factors.parts, weights @ parts, atol=0.15)


def test_the_energy_is_that_of_what_the_parts_give_and_grows_with_their_number() -> None:
    values = np.abs(np.random.default_rng(1).normal(size=(200, 12)))
    energies = []
    for count in (2, 4, 8, 12):
        factors = factorize(values, count)
        residual = values - factors.weights @ factors.parts
        assert factors.energy == pytest.approx(1 - (residual**2).sum() / (values**2).sum())
        strength = (factors.weights**2).sum(axis=0)
        assert (np.diff(strength) <= 0).all()
        energies.append(factors.energy)
    assert energies == sorted(energies)
    # No part can hold more than singular vectors do.
    squares = np.linalg.svd(values, compute_uv=False) ** 2
    assert energies[0] <= squares[:2].sum() / squares.sum() + 1e-12


@pytest.mark.parametrize("factor", [1e-300, 1e300])
def test_tiny_and_huge_values_have_the_same_parts(factor: float) -> None:
    values = np.abs(np.random.default_rng(2).normal(size=(50, 6)))
    plain, scaled = factorize(values, 3), factorize(values * factor, 3)
    np.testing.assert_allclose(scaled.parts, plain.parts, atol=1e-9)
    assert scaled.energy == pytest.approx(plain.energy)


def test_equal_values_give_equal_bytes() -> None:
    values = np.abs(np.random.default_rng(3).normal(size=(500, 30))).astype(np.float32)
    first, second = factorize(values, 6), factorize(values.copy(), 6)
    assert first.weights.tobytes() == second.weights.tobytes()
    assert first.parts.tobytes() == second.parts.tobytes()
