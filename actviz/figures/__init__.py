"""From an activation to a picture: colors, tiles, text, page, and one renderer for each kind of axes."""
