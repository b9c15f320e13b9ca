"""The code blocks of pages about figures do what they say."""

import guide

test_code_blocks = guide.test_of("figures", "filters", "top", "addresses", "activations")
test_slow_code_blocks = guide.slow_test_of("figures", "top")
