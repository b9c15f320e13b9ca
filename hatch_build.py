"""Build hook: the URLs of the project are those of the repository that builds it."""

from __future__ import annotations

import os
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class ProjectUrls(MetadataHookInterface):
    """Adds the URLs under $ACTVIZ_HOMEPAGE; a wheel that is built without it has none."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the URLs."""
        home = os.environ.get("ACTVIZ_HOMEPAGE", "").rstrip("/")
        pages = {
            "Homepage": "",
            "Documentation": "/tree/main/actviz/docs",
            "Changelog": "/blob/main/CHANGELOG.md",
            "Issues": "/issues",
        }
        metadata["urls"] = {name: home + page for name, page in pages.items()} if home else {}
