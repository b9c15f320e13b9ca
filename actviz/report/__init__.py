"""Reports: one HTML page, and Markdown, from what was computed; nothing here opens a model."""

from actviz.report.contents import Comparison, Contents, Fed, Figure, Finding, Shown

__all__ = ["Comparison", "Contents", "Fed", "Figure", "Finding", "Shown"]
