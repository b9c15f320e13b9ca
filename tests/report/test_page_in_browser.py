"""The page in a real browser, from a file: what a reader sees and does.

They need Chromium, chromedriver and selenium, and the rules of axe-core at ACTVIZ_AXE; they
are skipped where one is missing, unless ACTVIZ_REQUIRE_BROWSER is set, as in .ci/run.
"""

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from report_helpers import contents, gathered, maps
from test_html_page import HOSTILE, compared

from actviz.report import html_page

pytestmark = [pytest.mark.browser, pytest.mark.slow]
WIDE, NARROW = 1280, 390
UNIT, STEP = ("batch", "unit"), ("batch", "step", "unit")
REQUIRED = bool(os.environ.get("ACTVIZ_REQUIRE_BROWSER"))


def missing(what):
    if REQUIRED:
        pytest.fail(f"{what} is missing, and ACTVIZ_REQUIRE_BROWSER is set")
    pytest.skip(f"{what} is missing")


@pytest.fixture(scope="module")
def chromium():
    try:
        from selenium import webdriver
    except ImportError:
        missing("selenium")
    binary = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if not binary or not driver:
        missing("chromium with chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    browser.set_script_timeout(60)
    yield browser
    browser.quit()


class Reader:
    """A person in front of a page."""

    def __init__(self, browser, path):
        self.browser, self.path = browser, path

    def open(self, width=WIDE, *, address="", dark=False):
        size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width == NARROW}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.browser.get("about:blank")
        self.browser.get_log("browser"), self.browser.get_log("performance")
        self.browser.get(f"file://{self.path}{address}")
        self.settle()
        return self

    def run(self, script, *arguments):
        return self.browser.execute_script(script, *arguments)

    def settle(self):
        self.until("return document.documentElement.dataset.ready === 'true'")
        self.until("return document.getElementById('figure').hidden || document.querySelector('.tile') !== null")

    def until(self, script, *arguments):
        end = time.monotonic() + 20
        while not self.run(script, *arguments):
            assert time.monotonic() < end, script
            time.sleep(0.02)

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0]).textContent", selector)

    def shown(self):
        return self.run(
            "return [...document.querySelectorAll('.row')].filter(r => r.checkVisibility({contentVisibilityAuto: true})).map(r => +r.dataset.layer)"
        )

    def choose(self, name, value):
        self.run(
            "const e = document.getElementById(arguments[0]); e.value = arguments[1];"
            "e.dispatchEvent(new Event('input', {bubbles: true}))",
            name,
            value,
        )

    def press(self, *keys):
        from selenium.webdriver import ActionChains

        ActionChains(self.browser).send_keys(*keys).perform()

    def address(self):
        return self.run("return location.hash")

    def complaints(self):
        """Return what the console says, and every request but the page itself and pictures inside it."""
        import json

        said = [entry["message"] for entry in self.browser.get_log("browser")]
        asked = []
        for entry in self.browser.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                address = message["params"]["request"]["url"]
                if not address.startswith(("data:image/png", f"file://{self.path}", "about:")):
                    asked.append(address)
        return said + asked


def write(folder, one):
    path = folder / "report.html"
    path.write_bytes(html_page.render(one))
    return path.resolve()


def example():
    rng = np.random.default_rng(0)
    names = ["conv", "net/first", "net/inner/second", "net/third", "steps", "scores"]
    axes = {"steps": STEP, "scores": UNIT}
    inputs = []
    for _ in range(3):
        net = [maps(rng, channels=12 + 8 * place) - (place == 2) for place in range(4)]
        inputs.append([*net, rng.normal(size=(1, 9, 14)), rng.random((1, 10)).astype(np.float32)])
    inputs[0][1][0, 0, 0, 5] = np.nan
    kinds = {"steps": "LSTM", "scores": "Dense"}
    found = gathered(names, inputs, kinds=kinds, axes=axes)
    return contents(found, labels=tuple(f"class {number}" for number in range(10)), comparison=compared())


@pytest.fixture(scope="module")
def reader(chromium, tmp_path_factory):
    return Reader(chromium, write(tmp_path_factory.mktemp("report"), example()))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_nothing_overflows_overlaps_complains_or_leaves_the_page(reader, width, dark):
    for layer in ("conv", "net%2Finner%2Fsecond", "steps", "scores"):
        reader.open(width, dark=dark, address=f"#layer={layer}&beside=1")
        assert reader.run("return document.documentElement.scrollWidth") <= width
        wide = reader.run(
            "return [...document.querySelectorAll('body *')].filter(e => e.getClientRects().length && !e.closest('.skip')"
            " && !e.closest('.view') && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"
        )
        assert wide == []
        overlaps = """
            const inside = (list) => [...document.querySelectorAll(list)].filter(e => e.getClientRects().length);
            const found = [];
            for (const list of ['.row', '.tile', '#tools > *', '#controls > *', '.findings li > *', '#detail > *', '.facts > *']) {
              const boxes = inside(list).map(e => [e, e.getBoundingClientRect()]);
              for (const [one, a] of boxes) for (const [other, b] of boxes)
                if (one !== other && !one.contains(other) && !other.contains(one)
                    && a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1)
                  found.push([list, one.textContent.slice(0, 30), other.textContent.slice(0, 30)]);
            }
            return found.slice(0, 3)"""
        assert reader.run(overlaps) == []
        assert reader.complaints() == []


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_axe_finds_no_violation(reader, width):
    rules = os.environ.get("ACTVIZ_AXE")
    if not rules or not Path(rules).is_file():
        missing("axe.min.js of axe-core at ACTVIZ_AXE")
    source = Path(rules).read_text(encoding="utf-8")
    for dark in (False, True):
        for layer in ("conv", "steps", "scores"):
            reader.open(width, dark=dark, address=f"#layer={layer}&beside=1")
            # The page's own policy lets no other script in, so the rules come from outside of it.
            reader.browser.execute_cdp_cmd("Runtime.evaluate", {"expression": source})
            found = reader.browser.execute_async_script(
                "const done = arguments[0]; axe.run({resultTypes: ['violations']}).then(r => done(r.violations.map("
                "v => [v.id, v.help, v.nodes.slice(0, 3).map(n => n.html.slice(0, 120) + ' ' + (n.any[0]?.message ?? ''))])))"
            )
            assert found == []


def test_filters_sorting_and_folding(reader):
    reader.open()
    assert reader.shown() == [0, 1, 2, 3, 4, 5]
    reader.choose("filter", "second")
    assert (reader.shown(), reader.text("#matches")) == ([2], "1 of 6 layers")
    reader.choose("filter", "")
    reader.choose("class", "Dense")
    assert reader.shown() == [5]
    reader.choose("class", "")
    reader.choose("show", "NaN")
    assert reader.shown() == [1]
    reader.choose("show", "changed")
    assert reader.shown() == []
    reader.choose("show", "dead")
    assert reader.shown() == [0, 1, 3]
    reader.run("document.getElementById('reset').click()")
    reader.until("return document.getElementById('matches').textContent === '6 layers'")
    reader.choose("sort", "dead")
    shares = reader.run("return [...document.querySelectorAll('.row')].map(r => +r.dataset.layer)")
    assert shares == [0, 1, 3, 2, 4, 5]
    reader.choose("sort", "")
    assert reader.shown() == [0, 1, 2, 3, 4, 5]
    reader.run("document.getElementById('fold').click()")
    assert reader.shown() == [0, 4, 5]
    reader.run("document.getElementById('fold').click()")
    assert reader.shown() == [0, 1, 2, 3, 4, 5]
    assert reader.complaints() == []


def test_a_deep_link_survives_a_reload_and_opens_what_is_folded(reader):
    link = "#layer=net%2Finner%2Fsecond&channel=17&input=1&beside=2"
    reader.open(address=link)
    for _ in range(2):
        assert reader.text("#detail-title") == "net/inner/second"
        assert reader.text("#channel-title") == "Channel 17"
        assert reader.run("return document.getElementById('input').value") == "1"
        assert reader.run("return document.querySelectorAll('.view').length") == 2
        assert reader.address() == link
        assert reader.run("return document.querySelector('[aria-selected=true] .number').textContent") == "17"
        reader.browser.refresh()
        reader.settle()
    reader.run("location.hash = '#layer=conv&channel=999'")
    reader.until("return document.getElementById('detail-title').textContent === 'conv'")
    reader.until("return document.getElementById('tiles-note').textContent.startsWith('Channel 999 is not drawn')")
    reader.run("location.hash = '#layer=gone&channel=%E0%A4%A'")
    assert reader.text("#detail-title") == "conv"
    assert reader.complaints() == []


def test_the_whole_path_with_the_keyboard_alone(reader):
    from selenium.webdriver.common.keys import Keys

    reader.open()
    reader.press(Keys.TAB)
    assert reader.run("return document.activeElement.className") == "skip"
    for _ in range(120):
        reader.press(Keys.TAB)
        if reader.run("return document.activeElement.closest('.row') !== null"):
            break
    reader.press(Keys.ENTER)
    reader.until(
        "return document.getElementById('detail-title').textContent === 'conv' && document.querySelectorAll('.tile').length === 12"
    )
    for _ in range(60):
        reader.press(Keys.TAB)
        if reader.run("return document.activeElement.id") == "tiles":
            break
    outline = reader.run("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    reader.press(Keys.END)
    assert reader.text("#channel-title") == "Channel 11"
    reader.press(Keys.ARROW_LEFT)
    assert reader.address().endswith("channel=10")
    reader.press(Keys.HOME, Keys.ARROW_RIGHT)
    assert reader.text("#channel-title") == "Channel 1"
    assert "dead" in reader.run("return document.querySelector('[aria-selected=true]').textContent")
    active = reader.run("return document.getElementById('tiles').getAttribute('aria-activedescendant')")
    assert reader.run("return document.getElementById(arguments[0]).getAttribute('aria-selected')", active) == "true"
    assert reader.complaints() == []


def test_the_channel_under_the_pointer_is_shown_with_its_numbers(reader):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.by import By

    reader.open(address="#layer=conv")
    tile = reader.browser.find_elements(By.CSS_SELECTOR, ".tile")[4]
    for _ in range(20):  # the page may still be laid out when the pointer arrives
        ActionChains(reader.browser).move_to_element(tile).move_by_offset(1, 1).perform()
        if reader.text("#channel-title") == "Channel 4":
            break
        time.sleep(0.1)
    assert reader.text("#channel-title") == "Channel 4"
    values = maps(np.random.default_rng(0), channels=12)[0, :, :, 4]
    numbers = reader.text("#channel-numbers")
    assert f"0 to {values.max():.3g}" in numbers
    assert f"{100 * (values == 0).mean():.2g}%" in numbers
    ActionChains(reader.browser).move_to_element(
        reader.browser.find_element(By.CSS_SELECTOR, "#detail-title")
    ).perform()
    assert reader.text("#channel-title") == "Channel 0"


def large_view(reader):
    """Return the colours of the large view, uint8 (row, column, RGB)."""
    return np.array(
        reader.run(
            "return [...document.querySelectorAll('.view canvas')].map(c => "
            "[c.height, c.width, [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]])"
        ),
        dtype=object,
    )


def test_the_large_view_is_sharp_and_true_and_two_inputs_share_one_scale(reader):
    from actviz.figures import colors

    rng = np.random.default_rng(0)
    values = []
    for _ in range(3):
        values.append(maps(rng, channels=12)[0])
        [maps(rng, channels=12 + 8 * place) for place in range(1, 4)]
        rng.normal(size=(1, 9, 14)), rng.random((1, 10))
    reader.open(address="#layer=conv&channel=4&beside=1")
    high = max(values[0][..., 4].max(), values[1][..., 4].max())
    table = colors.table("inferno").colors.astype(int)
    for number, (rows, columns, flat) in enumerate(large_view(reader)):
        pixels = np.array(flat).reshape(rows, columns, 4)[..., :3]
        assert (rows, columns) == (8, 8)
        found = ((pixels[:, :, None] - table) ** 2).sum(-1).argmin(-1) / 255 * high
        assert np.abs(found - values[number][..., 4]).max() <= 1.01 * high / 255
    rendering = reader.run("return getComputedStyle(document.querySelector('.view canvas')).imageRendering")
    assert rendering == "pixelated"


def test_the_map_lies_over_the_input_where_its_values_look(reader):
    reader.open(address="#layer=conv&channel=4")
    reader.run("document.getElementById('overlay').click()")
    under, over = reader.run(
        "return ['.view img', '.view canvas'].map(s => document.querySelector(s).getBoundingClientRect()).map(r => [r.left, r.top, r.width, r.height])"
    )
    assert over == pytest.approx(under, abs=2.5)
    assert reader.run("return document.querySelector('.view img').naturalWidth") == 24
    reader.open(address="#layer=scores")
    assert reader.run("return document.getElementById('over').hidden")


def test_bars_have_the_names_and_values_of_classes(reader):
    reader.open(address="#layer=scores")
    assert reader.run("return document.querySelectorAll('.bars .tile').length") == 10
    assert "class 3" in reader.run("return document.querySelectorAll('.bars .tile')[3].textContent")


def test_every_control_redraws_without_a_complaint(reader):
    for layer in ("conv", "net%2Finner%2Fsecond", "steps", "scores"):
        reader.open(address=f"#layer={layer}")
        for name, value in (("scale", "layer"), ("order", "mean"), ("beside", "2"), ("order", "zeros"), ("input", "1")):
            reader.choose(name, value)
            reader.settle()
        reader.until("return document.querySelectorAll('#histograms svg').length === 2")
        assert reader.run("return document.querySelectorAll('#histograms rect').length") > 4
    assert reader.complaints() == []


def test_dark_and_light_follow_the_system_until_the_reader_chooses(reader):
    color = "return getComputedStyle(document.body).backgroundColor"
    reader.open()
    light = reader.run(color)
    reader.run("document.getElementById('theme').click()")
    dark = reader.run(color)
    assert light != dark
    reader.open()
    assert reader.run(color) == dark
    reader.run("document.getElementById('theme').click(); localStorage.clear()")
    reader.open(dark=True)
    assert reader.run(color) == dark


def test_it_prints_without_controls_on_white(reader):
    reader.open()
    reader.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    hidden = reader.run(
        "return ['#tools', '#controls', '#theme'].every(s => getComputedStyle(document.querySelector(s)).display === 'none')"
    )
    pdf = reader.browser.print_page()
    reader.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert hidden
    assert len(pdf) > 20_000


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_hostile_names_are_text_and_change_nothing(chromium, tmp_path, width):
    rng = np.random.default_rng(0)
    names = [f"{number}{name}" for number, name in enumerate(HOSTILE)]
    found = gathered(names, [[maps(rng) for _ in names]], kinds={names[1]: "</option></select><b>"})
    one = contents(found, model=HOSTILE[0], facts=tuple((name, name) for name in HOSTILE), left_out=HOSTILE)
    reader = Reader(chromium, write(tmp_path, one)).open(width)
    assert reader.run("return document.querySelectorAll('b, img[src=x], script:not([type])').length") == 1
    assert reader.run("return document.querySelectorAll('style').length") == 1
    assert reader.run("return document.querySelectorAll('.row').length") == len(names)
    for number in range(len(names)):
        reader.run("document.querySelectorAll('.row a')[arguments[0]].click()", number)
        reader.until(
            "return document.querySelector('[aria-current]')?.parentElement.dataset.layer === String(arguments[0])",
            number,
        )
        reader.settle()
        assert reader.run("return document.documentElement.scrollWidth") <= width
    assert reader.run("return document.title").startswith("</script><script>alert(1)")
    assert reader.complaints() == []


@pytest.mark.slow
def test_a_page_of_twenty_megabytes_opens_in_two_seconds(chromium, tmp_path):
    rng = np.random.default_rng(0)
    names = [f"layer{number}" for number in range(150)]
    one = contents(gathered(names, [[rng.normal(size=(1, 28, 28, 24)).astype(np.float32)] * 150] * 5, room=60_000_000))
    path = write(tmp_path, one)
    assert path.stat().st_size > 15_000_000
    reader = Reader(chromium, path).open()
    times = []
    for _ in range(3):
        begin = time.monotonic()
        reader.open()
        times.append(time.monotonic() - begin)
    assert min(times) < 2
