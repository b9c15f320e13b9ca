"""A worker whose model is two sums: everything of a real one but the libraries that compute."""

from actviz.records import Activation, LayerInfo, ModelFacts, TensorSpec
from actviz.worker import child

AXES = ("batch", "row", "column", "channel")
FACTS = ModelFacts(
    "m.h5", "h5", "keras", ("m",), (TensorSpec("image", (None, 8, 8, 1), "float32", AXES),),
    tuple(
        LayerInfo(name, name, place, "Conv2D", (None, 8, 8, 4), "float32", 0, AXES)
        for place, name in enumerate(("conv", "last"))
    ),
    (), (), "0" * 64,
)  # fmt: skip


class Sums:
    """A network of two layers, each of which multiplies its input."""

    facts, notes = FACTS, ()

    def complete(self, _shapes=None):
        return FACTS

    def prepare(self):
        pass

    def activations(self, batch, addresses=None):
        values = batch["image"].repeat(4, 3)
        return {
            address: Activation(address, "Conv2D", values * (1 + place), AXES, signed=False, weights_digest="1" * 64)
            for place, address in enumerate(addresses)
        }


def main():
    child._open = lambda *_: Sums()
    child.main()
