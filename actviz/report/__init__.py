"""Reports: one HTML page, and Markdown, from what was computed; nothing here opens a model."""

from actviz.report.contents import Comparison, Finding, ReportContents, ReportFigure, ReportInput, ReportLayer

__all__ = ["Comparison", "Finding", "ReportContents", "ReportFigure", "ReportInput", "ReportLayer"]
