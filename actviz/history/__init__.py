"""Learning curves: read training histories without executing anything, diagnose and draw them."""

from actviz.history.history_files import NotAHistoryError, is_model_folder, read_run
from actviz.history.history_records import Curve, CurveStyle, TrainingRun

__all__ = ["Curve", "CurveStyle", "NotAHistoryError", "TrainingRun", "is_model_folder", "read_run"]
