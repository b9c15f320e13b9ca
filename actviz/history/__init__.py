"""Learning curves: the record of a training, read without running anything, judged and drawn."""

from actviz.history.history_files import NotAHistoryError, is_model_folder, read_run
from actviz.history.history_records import Curve, CurveStyle, TrainingRun

__all__ = ["Curve", "CurveStyle", "NotAHistoryError", "TrainingRun", "is_model_folder", "read_run"]
