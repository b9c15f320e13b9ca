"""The file `manifest.json` of a folder of figures: what was made, from what, with which numbers.

`Manifest` keeps the records of one run and of what stood in the folder before it; `read`
gives those of any manifest one by one. The format is in `schema.json` beside this file.
"""

from actviz.manifest.ledger import Known, Manifest
from actviz.manifest.reading import NAME, SCHEMA, Section, read

__all__ = ["NAME", "SCHEMA", "Known", "Manifest", "Section", "read"]
