"""Learning curves: the record of a training, read without running anything, judged and drawn."""

from actviz.history.reading import ForeignError, is_model_folder, read_run
from actviz.history.records import Curve, Run, Style

__all__ = ["Curve", "ForeignError", "Run", "Style", "is_model_folder", "read_run"]
