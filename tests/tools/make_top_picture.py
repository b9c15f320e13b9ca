"""Make the picture of `top` in the guide again: needs scikit-learn, whose 1,797 digits are the inputs.

Run in the root of the repository: python tests/tools/make_top_picture.py
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

SAMPLES = Path(__file__).parents[2] / "sample_models"
PICTURE = SAMPLES / "pictures" / "digits_top.png"


def main():
    sys.path.append(str(SAMPLES))
    from train_digits_cnn import enlarged

    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "digits.npy"
        np.save(inputs, enlarged(load_digits().images))
        options = ["-l", "conv_intermediate", "--channels", "2,3,5,8,10", "-k", "6", "--overwrite"]
        command = [sys.executable, "-m", "actviz", "top", "-q", SAMPLES / "digits_cnn.keras", inputs, "-o", PICTURE]
        subprocess.run([*command, *options], check=True)


if __name__ == "__main__":
    main()
