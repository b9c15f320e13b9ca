"""The Python interface: networks, inputs, activations and figures in the process of the caller."""

from actviz.api.activation_files import load, save
from actviz.api.drawing import draw
from actviz.api.explaining import explain
from actviz.api.layer_activation import LayerActivation as Activation
from actviz.api.network import OpenNetwork as Network
from actviz.api.network import open  # noqa: A004  (`actviz.open` is the public name)
from actviz.api.prepared_inputs import preprocess
from actviz.api.strongest import top
from actviz.records import Context, Style

__all__ = ["Activation", "Context", "Network", "Style", "draw", "explain", "load", "open", "preprocess", "save", "top"]
