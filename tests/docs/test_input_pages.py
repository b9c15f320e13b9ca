"""The code blocks of pages about inputs and batches do what they say."""

import guide

test_code_blocks = guide.test_of("inputs", "batches")
test_slow_code_blocks = guide.slow_test_of("inputs", "batches")
