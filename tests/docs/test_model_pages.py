"""The code blocks of pages about models, Python and the code do what they say."""

import guide

test_code_blocks = guide.test_of("python", "explain", "formats", "untrusted-models", "speed", "contributing")
test_slow_code_blocks = guide.slow_test_of("explain", "formats", "untrusted-models")


def test_every_page_is_run():
    import test_figure_pages
    import test_input_pages
    import test_readme_blocks
    import test_verdict_pages

    tests = [
        test_code_blocks,
        *(
            module.test_code_blocks
            for module in (test_figure_pages, test_input_pages, test_readme_blocks, test_verdict_pages)
        ),
    ]
    pages = [page for test in tests for page in test.pytestmark[0].args[1]]
    assert sorted(pages) == sorted(guide.FILES)
