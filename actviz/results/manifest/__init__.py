"""The file `manifest.json` of an output folder: a record of each figure and each failure.

`Manifest` collects the records of a run and of earlier runs in the same folder; `read` yields the
records of a manifest. The format is defined by `schema.json` in this package.
"""

from actviz.results.manifest.manifest_reader import NAME, SCHEMA, Section, read
from actviz.results.manifest.manifest_writer import KnownFigure, Manifest

__all__ = ["NAME", "SCHEMA", "KnownFigure", "Manifest", "Section", "read"]
