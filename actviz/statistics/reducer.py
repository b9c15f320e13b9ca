"""Statistics over any number of inputs: a small state that takes batches, and that merges with others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from actviz.records import Activation


class Reducer(Protocol):
    """What a statistic is made of. Merging is exact, associative and commutative over the numbers of single inputs."""

    def update(self, address: str, activations: Sequence[Activation], samples: Sequence[int]) -> None:
        """Add a layer's activations for a batch.

        `activations` has one entry, or those of model A and B where two are compared; `samples` are the numbers of
        the inputs. Entries of the batch beyond those are copies that fill it up, and are not counted.
        """
        ...

    def merge(self, other: Self) -> None:
        """Add what another reducer was given."""
        ...

    def state(self, *, canonical: bool = True) -> dict[str, NDArray[Any]]:
        """Return the state as plain arrays, for `from_state`; `canonical`: the same for equal states, else faster."""
        ...

    @classmethod
    def from_state(cls, state: Mapping[str, NDArray[Any]]) -> Self:
        """Return the reducer that had this state."""
        ...


class LayerNumbers(Protocol):
    """Numbers of one layer over some inputs."""

    def merge(self, other: Self) -> Self:
        """Return the numbers over the inputs of both."""
        ...

    def arrays(self, *, canonical: bool = True) -> dict[str, NDArray[Any]]:
        """Return everything as plain arrays, by names without spaces; `canonical` as in `Reducer.state`."""
        ...

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Return the numbers that `arrays` returned."""
        ...


Numbers = TypeVar("Numbers", bound=LayerNumbers)


class LayerReducer(Generic[Numbers]):
    """A reducer whose state is numbers for each layer; a subclass gives `numbers` and `update`."""

    numbers: ClassVar[type[Any]]

    def __init__(self) -> None:
        self.layers: dict[str, Numbers] = {}

    def add(self, address: str, numbers: Numbers) -> None:
        """Merge the numbers of one layer for more inputs."""
        known = self.layers.get(address)
        self.layers[address] = numbers if known is None else known.merge(numbers)

    def merge(self, other: Self) -> None:
        """Add what another reducer was given."""
        for address, numbers in other.layers.items():
            self.add(address, numbers)

    def state(self, *, canonical: bool = True) -> dict[str, NDArray[Any]]:
        """Return the state as plain arrays, by ``"name address"``; `canonical` as in `Reducer`."""
        return {
            f"{name} {address}": values
            for address, numbers in self.layers.items()
            for name, values in numbers.arrays(canonical=canonical).items()
        }

    @classmethod
    def from_state(cls, state: Mapping[str, NDArray[Any]]) -> Self:
        """Return the reducer that had this state."""
        by_address: dict[str, dict[str, NDArray[Any]]] = {}
        for key, values in state.items():
            name, _, address = key.partition(" ")
            by_address.setdefault(address, {})[name] = values
        reducer = cls()
        reducer.layers = {address: cls.numbers.from_arrays(arrays) for address, arrays in by_address.items()}
        return reducer
