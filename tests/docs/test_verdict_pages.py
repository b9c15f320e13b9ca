"""The code blocks of pages about limits, differences, reports and configuration do what they say."""

import guide

test_code_blocks = guide.test_of("check-and-diff", "report", "history", "configuration", "exit-codes")
test_slow_code_blocks = guide.slow_test_of("check-and-diff")
