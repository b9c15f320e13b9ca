"""The request of `top`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from actviz.batch.requests import ModelRequest

if TYPE_CHECKING:
    from actviz.statistics.strength_options import StrengthOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class TopRequest(ModelRequest):
    """The arguments of the command.

    `channels` is a selection (``None``: all), `truth` where the classes of inputs come from (``folders``, a CSV file;
    ``None``: folders, if all inputs are in one folder for each class). Without `output`, a table is the result. With
    `resume`, parts of the inputs that are done are kept in the output folder.
    """

    options: StrengthOptions
    channels: str | None = None
    truth: str | None = None
    keep_crops: bool = False
    resume: bool = False
    through_link: bool = False
    as_json: bool = False
    dark: bool = False
