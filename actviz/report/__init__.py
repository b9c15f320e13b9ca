"""Reports as one HTML page and as Markdown, from computed results; nothing here opens a model."""

from actviz.report.contents import Comparison, Finding, ReportContents, ReportFigure, ReportInput, ReportLayer

__all__ = ["Comparison", "Finding", "ReportContents", "ReportFigure", "ReportInput", "ReportLayer"]
