"""Random networks in every format: what stands under the name of a layer is that layer's output."""

import pytest
import random_networks


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")  # Keras warns of masks that a random network loses
@pytest.mark.parametrize("seed", range(1, 31))
def test_every_layer_of_a_random_network(seed):
    """Thirty networks as `.keras`, `.h5`, exported and converted; `random_networks.py` runs more."""
    results = random_networks.compared(seed)
    assert {"keras", "exported"} <= {result.kind for result in results}
    assert [f"{result.kind}: {line}" for result in results for line in result.wrong] == []


@pytest.mark.slow
def test_networks_are_the_same_for_one_seed():
    (one, values), (other, same) = random_networks.network(7), random_networks.network(7)
    assert [layer.name for layer in one.layers] == [layer.name for layer in other.layers]
    assert all((values[name] == same[name]).all() for name in values)
