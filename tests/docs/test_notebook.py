"""The notebook of the guide runs, and shows what is saved in it."""

import os

import pytest
from conftest import SAMPLES

PATH = SAMPLES / "notebook.ipynb"
LARGEST = 400_000


def shown(cell):
    """Return what a cell prints and shows: text, and the kinds of its pictures and tables."""
    outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return [
        output["text"]
        if output.output_type == "stream"
        else {"image/png", "text/html"} & set(output.data) or output.data["text/plain"]
        for output in outputs
    ]


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.filterwarnings("default")  # of the libraries that run it
def test_the_notebook_shows_what_is_saved_in_it():
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    saved = nbformat.read(PATH, as_version=4)
    fresh = nbformat.read(PATH, as_version=4)
    # As a person has it: libraries print, and the kernel shows what they print, which it does not in tests.
    hidden = ("TF_CPP_MIN_LOG_LEVEL", "PYTEST_CURRENT_TEST")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    nbclient.NotebookClient(
        fresh, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(SAMPLES)}}
    ).execute(env=environment)
    code = [cell for cell in fresh.cells if cell.cell_type == "code"]
    assert [shown(cell) for cell in code] == [shown(cell) for cell in saved.cells if cell.cell_type == "code"]
    started = [output["text"] for cell in code for output in cell.outputs if output.get("name") == "stderr"]
    assert not [text for text in started if "cpu_feature_guard" in text or "cuda" in text]
    pictures = [kinds for cell in code for kinds in shown(cell) if isinstance(kinds, set)]
    assert pictures == [{"text/html"}, {"image/png"}, {"image/png"}, {"text/html"}]


def test_it_is_small_and_names_no_folder_of_its_author():
    text = PATH.read_text(encoding="utf-8")
    assert len(text) < LARGEST
    assert "/home/" not in text
    assert "site-packages" not in text
