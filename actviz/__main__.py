"""``python -m actviz`` is the same as the command ``actviz``."""

from actviz.cli import main

main()
