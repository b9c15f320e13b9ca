"""Make the picture of a report in the README again: needs Chromium, chromedriver and selenium.

Run in the root of the repository: python tests/tools/make_report_picture.py
"""

import base64
import io
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from selenium import webdriver

SAMPLES = Path(__file__).parents[2] / "sample_models"
PICTURE = SAMPLES / "pictures" / "digits_report.png"
SIZE = {"width": 1280, "height": 1180, "deviceScaleFactor": 1, "mobile": False}
COLORS = 256


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        inputs = [SAMPLES / "seven.png", SAMPLES / "three.png"]
        command = [sys.executable, "-m", "actviz", "report", "-q", SAMPLES / "digits_cnn.h5", *inputs, "-o", path]
        subprocess.run(command, check=True)
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or shutil.which("google-chrome")
        for argument in ("--headless=new", "--no-sandbox", "--hide-scrollbars"):
            options.add_argument(argument)
        browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
        try:
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", SIZE)
            browser.get(f"file://{path}#layer=conv_intermediate&channel=17&beside=1")
            time.sleep(2)
            browser.execute_script("scrollTo(0, 0)")
            shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
        finally:
            browser.quit()
    with Image.open(io.BytesIO(base64.b64decode(shot["data"]))) as image:
        small = image.convert("RGB").resize((960, 885), Image.Resampling.LANCZOS)
        small.quantize(COLORS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
