"""The file `manifest.json` of a folder of figures: what was made, from what, with which numbers.

`Manifest` keeps the records of one run and of what stood in the folder before it; `read`
gives those of any manifest one by one. The format is in `schema.json` beside this file.
"""

from actviz.results.manifest.manifest_reader import NAME, SCHEMA, Section, read
from actviz.results.manifest.manifest_writer import KnownFigure, Manifest

__all__ = ["NAME", "SCHEMA", "KnownFigure", "Manifest", "Section", "read"]
