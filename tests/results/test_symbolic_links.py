"""Symbolic links where results go: replaced or refused, never followed out of the folder of results."""

import json

import faults
import numpy as np
import pytest
from PIL import Image
from threats import threat

from actviz.batch import figure_writer
from actviz.results import output_files
from actviz.system import held_folder

SHOW = ("show", "m.h5", "cat.png", "dog.png", "-l", "conv", "--bare", "-q")
FOLDERS = {
    "show": (*SHOW, "-o", "out/"),
    "show, sheets": ("show", "m.h5", "cat.png", "dog.png", "-q", "-o", "out/"),
    "render": ("render", "x.npz", "-l", "conv", "--bare", "-q", "-o", "out/"),
    "diff": ("diff", "m.h5", "n.h5", "cat.png", "-q", "-o", "out/"),
}
FILES = {
    "show": ("out.png", ("show", "m.h5", "cat.png", "-l", "conv", "--bare")),
    "render": ("out.png", ("render", "x.npz", "-l", "conv", "--index", "0", "--bare")),
    "extract": ("out.npz", ("extract", "m.h5", "cat.png")),
    "check": ("out.png", ("check", "m.h5", "cat.png")),
    "report": ("out.html", ("report", "m.h5", "cat.png")),
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Two folders beside each other: a checkout, in which the command runs, and one of somebody's."""
    here = tmp_path / "checkout"
    here.mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(here)
    faults.use_small_models(monkeypatch)
    for number, name in enumerate(("cat.png", "dog.png")):
        Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) + number).save(name)
    faults.write_model(here / "m.h5")
    faults.write_model(here / "n.h5", factor=2)
    assert faults.run_here(monkeypatch, "extract", "m.h5", "cat.png", "dog.png", "-q", "-o", "x.npz") == 0
    return here


def elsewhere(place):
    return sorted(path.relative_to(place.parent) for path in (place.parent / "elsewhere").rglob("*"))


def refused(monkeypatch, capfd, arguments):
    capfd.readouterr()
    code = faults.run_here(monkeypatch, *arguments)
    said = capfd.readouterr()
    assert not said.out
    assert "a symbolic link stands" in said.err.splitlines()[-1]
    return code


@pytest.mark.parametrize("slash", ["/", ""])
@pytest.mark.parametrize("command", FOLDERS)
@threat(93, 7)
def test_a_folder_of_results_that_is_a_link_is_refused(place, monkeypatch, capfd, code, command, slash):
    (place / "out").symlink_to(place.parent / "elsewhere")
    arguments = [item.rstrip("/") + slash if item == "out/" else item for item in FOLDERS[command]]
    assert refused(monkeypatch, capfd, arguments) == code
    assert refused(monkeypatch, capfd, (*arguments, "--overwrite")) == code
    assert not elsewhere(place)


@pytest.mark.parametrize("command", FOLDERS)
def test_it_is_followed_where_that_is_asked_for(place, monkeypatch, command):
    (place / "out").symlink_to(place.parent / "elsewhere")
    assert faults.run_here(monkeypatch, *FOLDERS[command], "--through-link") in {0, 8}
    assert elsewhere(place)
    assert (place / "out").is_symlink()


def test_so_is_the_folder_that_a_model_gets_by_itself(place, monkeypatch, capfd):
    (place / "m-actviz").symlink_to(place.parent / "elsewhere")
    assert refused(monkeypatch, capfd, SHOW) == 7
    assert not elsewhere(place)


def test_a_link_above_the_folder_is_the_users_way_to_it(place, monkeypatch):
    (place / "out").symlink_to(place.parent / "elsewhere")
    assert faults.run_here(monkeypatch, *SHOW, "-o", "out/maps/") == 0
    assert len(elsewhere(place)) == 6


@pytest.mark.parametrize("dangling", [False, True])
@pytest.mark.parametrize("command", ["show", "show, sheets", "render"])
@threat(93, 7)
def test_the_folder_of_an_input_is_never_followed(place, monkeypatch, capfd, code, command, dangling):
    (place / "out").mkdir()
    (place / "out" / "cat").symlink_to(place.parent / "elsewhere" / ("cat" if dangling else "."))
    for flags in ((), ("--overwrite",), ("--through-link", "--overwrite")):
        assert refused(monkeypatch, capfd, (*FOLDERS[command], *flags)) == code
    assert not elsewhere(place)
    assert [path.name for path in (place / "out").iterdir()] == ["cat"]


@pytest.mark.parametrize("command", ["show", "show, sheets", "render"])
@threat(93, 0)
def test_results_would_escape_where_nothing_is_checked(place, monkeypatch, command):
    (place / "out").mkdir()
    (place / "out" / "cat").symlink_to(place.parent / "elsewhere")
    monkeypatch.setattr(output_files, "check_inside", lambda *_: None)
    monkeypatch.setattr(held_folder, "held_above", lambda _: None)
    assert faults.run_here(monkeypatch, *FOLDERS[command]) == 0
    assert [path.suffix for path in elsewhere(place)] == [".png"]


def test_figures_behind_a_link_do_not_count_as_made(place, monkeypatch, capfd):
    assert faults.run_here(monkeypatch, *FOLDERS["show"]) == 0
    (place / "out" / "cat").rename(place.parent / "elsewhere" / "cat")
    (place / "out" / "cat").symlink_to(place.parent / "elsewhere" / "cat")
    before = elsewhere(place)
    assert refused(monkeypatch, capfd, FOLDERS["show"]) == 7
    assert elsewhere(place) == before


def test_a_link_that_is_planted_while_figures_are_made_is_not_followed(place, monkeypatch, capfd):
    write = figure_writer.FigureWriter._write

    def plant(painter, page, path):
        if path.parent.name == "cat":
            (place / "out" / "cat").symlink_to(place.parent / "elsewhere")
        return write(painter, page, path)

    monkeypatch.setattr(figure_writer.FigureWriter, "_write", plant)
    capfd.readouterr()
    assert faults.run_here(monkeypatch, *FOLDERS["show"]) == 7
    assert "a symbolic link stands" in capfd.readouterr().err
    assert not elsewhere(place)


@pytest.mark.parametrize("command", FILES)
@threat(93, 7)
def test_a_link_where_a_file_goes_is_refused_then_replaced(place, monkeypatch, capfd, code, command):
    name, arguments = FILES[command]
    victim = place.parent / "elsewhere" / "victim"
    victim.write_text("precious")
    (place / name).symlink_to(victim)
    assert refused(monkeypatch, capfd, (*arguments, "-q", "-o", name)) == code
    assert faults.run_here(monkeypatch, *arguments, "-q", "-o", name, "--overwrite") == 0
    assert victim.read_text() == "precious"
    assert not (place / name).is_symlink()
    control = place / "control"
    control.symlink_to(victim)
    control.write_text("gone")  # what opening the path for writing would do
    assert victim.read_text() == "gone"


@pytest.mark.parametrize("option", ["--junit", "--markdown"])
@threat(93, 7)
def test_links_where_reports_go(place, monkeypatch, capfd, code, option):
    victim = place.parent / "elsewhere" / "victim"
    victim.write_text("precious")
    (place / "r.xml").symlink_to(victim)
    command = ("check", "m.h5", "cat.png") if option == "--junit" else ("report", "m.h5", "cat.png", "-o", "r.html")
    assert refused(monkeypatch, capfd, (*command, "-q", option, "r.xml")) == code
    assert faults.run_here(monkeypatch, *command, "-q", option, "r.xml", "--overwrite") == 0
    assert victim.read_text() == "precious"


def test_a_link_in_place_of_a_manifest_is_replaced(place, monkeypatch):
    victim = place.parent / "elsewhere" / "victim"
    victim.write_text("{}")
    (place / "out").mkdir()
    (place / "out" / "manifest.json").symlink_to(victim)
    faults.run_here(monkeypatch, *FOLDERS["show"], "--overwrite")
    assert victim.read_text() == "{}"
    assert not (place / "out" / "manifest.json").is_symlink()
    assert len(json.loads((place / "out" / "manifest.json").read_text())["figures"]) == 2


# ------------------------------------------------------------------ files of options
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("output", "link/x.png"),
        ("output", "link/"),
        ("labels", "link/secret"),
        ("labels", "leaf"),
        ("scale", "from:leaf"),
    ],
)
@threat(93, 2)
def test_a_file_of_options_names_no_place_behind_a_link(place, monkeypatch, capfd, code, option, value):
    secret = place.parent / "elsewhere" / "secret"
    secret.write_text("hush\n" * 4)
    (place / "link").symlink_to(place.parent / "elsewhere")
    (place / "leaf").symlink_to(secret)
    (place / "actviz.toml").write_text(f'[show]\n{option} = "{value}"\n')
    assert faults.run_here(monkeypatch, *SHOW[:3], *SHOW[4:]) == code
    assert "a path in the folder of this file was expected" in capfd.readouterr().err
    assert [path.name for path in elsewhere(place)] == ["secret"]
