"""The README's code blocks do what it says."""

import guide

test_code_blocks = guide.test_of("README")
