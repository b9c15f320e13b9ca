"""Figures that other processes draw: the same bytes, whatever becomes of the process."""

import json
import threading
import time
from pathlib import Path

import faults
import numpy as np
import pytest
from picture_helpers import SPATIAL

from actviz.batch import figure_task, figure_writer
from actviz.batch.draw_pool import DrawPool
from actviz.batch.labels import LabelNames
from actviz.batch.output_paths import SHEET
from actviz.records import Activation, Context, Geometry, Sample, Style
from actviz.system import processes, resource_limits
from actviz.system.channel import Channel, ClosedError

RANDOM = np.random.default_rng(0)
MAPS = Activation(
    "conv", "Conv2D", RANDOM.normal(size=(3, 6, 7, 5)).astype(np.float32), SPATIAL, signed=True, weights_digest="1",
    geometry=Geometry("image", (12, 14), (0.5, 0.5), (2.0, 2.0), (3.0, 3.0)),
)  # fmt: skip
HOLED = np.where(RANDOM.random((3, 6, 7, 5)) < 0.2, np.nan, 1.0)
FOUND = {
    "maps": MAPS,
    "NaN": Activation("conv", "Conv2D", HOLED, SPATIAL),
    "scores": Activation("dense", "Dense", RANDOM.random((3, 4)).astype(np.float16), ("batch", "unit"), signed=False),
    "masked steps": Activation(
        "lstm", "LSTM", RANDOM.normal(size=(3, 3, 8)), ("batch", "step", "unit"), mask=np.array([[1, 1, 0]] * 3, bool)
    ),
    "a name": Activation("\u202e'\"×\n</style>", "Conv2D", HOLED > 0, SPATIAL),
    "a name like ours": Activation("mask of lstm", "Conv2D", HOLED * 2, SPATIAL),
    "another": Activation("thumbnail", "Conv2D", HOLED * 3, SPATIAL),
    "truths": Activation("conv", "Conv2D", HOLED > 0, SPATIAL),
}
PICTURE = RANDOM.integers(0, 256, (12, 14, 3)).astype(np.uint8)
CONTEXT = Context("m.h5", "ä.png", "12 × 14 × 3", PICTURE, ("a", "b", "ü", "d"), ("x", "y", "z"), {"image": PICTURE})
STYLE = Style(histogram=True, ranges={"conv": (-1.0, 2.0)})


@pytest.fixture(scope="module")
def helpers():
    made = DrawPool(2, STYLE)
    yield made
    made.close()


def task_of(key, found, index=1):
    return figure_task.FigureTask(key, found, index, CONTEXT, {"input": "ä.png", "address": key, "work": "w"})


def drawn_here(task, style=STYLE):
    """Return the pages, their records as JSON brings them back."""
    pages = [page() for page in figure_task.plan(task, style)]
    return [figure_task.FigureFile(page.content, json.loads(json.dumps(page.record))) for page in pages]


@pytest.mark.parametrize("kind", FOUND)
def test_the_same_bytes_from_another_process(helpers, kind):
    task = task_of(FOUND[kind].address, {FOUND[kind].address: FOUND[kind], "other": MAPS})
    assert helpers.draw(task) == drawn_here(task)


def test_the_same_sheet_from_another_process(helpers):
    task = task_of(SHEET, {item.address: item for item in FOUND.values()})
    assert helpers.draw(task) == drawn_here(task)


def test_an_overlay_and_ranges_of_a_run():
    style = Style(overlay=True, scale="run", ranges={"conv": (-1.0, 2.0)})
    one = DrawPool(1, style)
    try:
        task = task_of("conv", {"conv": MAPS})
        assert one.draw(task) == drawn_here(task, style)
    finally:
        one.close()


def test_what_cannot_be_drawn_is_left_to_the_caller(helpers):
    words = Activation("words", "StringLookup", np.array([["a"]], object), ("batch", "unit"))
    assert helpers.draw(task_of("words", {"words": words}, 0)) is None
    task = task_of("conv", {"conv": MAPS})
    assert helpers.draw(task) is not None  # and it goes on


def wishes(count, folder):
    for number in range(count):
        sample = Sample(f"{number}.png", {}, None, "fed", str(number))
        yield figure_writer.FigureJob(sample, number % 3, {"conv": MAPS}, {"conv": folder / f"{number}.png"})


def painter_of(folder, monkeypatch, beginning=0):
    monkeypatch.setattr(figure_writer, "MIN_FIGURES_FOR_POOL", beginning)
    monkeypatch.setattr(resource_limits, "core_count", lambda: 2)
    return figure_writer.FigureWriter(
        figure_writer.FigureSource("m.h5", "", (), named=True), Style(), LabelNames(), folder
    )


def painted(painter, folder, count, after=None):
    for number, wish in enumerate(wishes(count, folder)):
        painter.submit(wish)
        if after is not None:
            after(number)
    made = list(painter.finished())
    painter.end()
    return {item.path.name: (item.path.read_bytes(), item.record) for item in made}


def test_a_run_with_helpers_makes_the_same_files_in_the_same_order(tmp_path, monkeypatch):
    for name in ("with", "without"):
        (tmp_path / name).mkdir()
    ours = painted(painter_of(tmp_path / "with", monkeypatch), tmp_path / "with", 12)
    theirs = painted(painter_of(tmp_path / "without", monkeypatch, 10**9), tmp_path / "without", 12)
    assert list(ours) == list(theirs) == [f"{number}.png" for number in range(12)]
    assert ours == theirs


def test_what_a_dead_helper_owes_is_drawn_all_the_same(tmp_path, monkeypatch):
    painter = painter_of(tmp_path, monkeypatch)

    def kill(number):
        if number == 3:
            painter._processes._all[0].process.kill()
        if number == 8:
            painter._processes.stop()

    assert len(painted(painter, tmp_path, 16, kill)) == 16


def test_an_answer_that_was_not_taken_is_never_taken_for_the_next(monkeypatch):
    one = DrawPool(1, STYLE)
    first, second = (task_of("conv", {"conv": MAPS}, index) for index in (0, 1))
    receive = type(one._all[0].channel).receive

    def fail(channel, *given):
        monkeypatch.setattr(type(channel), "receive", receive)
        raise MemoryError

    monkeypatch.setattr(type(one._all[0].channel), "receive", fail)
    try:
        with pytest.raises(MemoryError):
            one.draw(first)
        assert one.draw(second) is None
    finally:
        one.close()


def test_a_process_that_did_not_get_the_style_draws_nothing(monkeypatch):
    """It took the first task for the style, and both ends waited for each other for good."""
    send = Channel.send

    def fail(channel, content, *given):
        monkeypatch.setattr(Channel, "send", send)
        raise ClosedError

    monkeypatch.setattr(Channel, "send", fail)
    pool = DrawPool(1, STYLE)
    drawn = []
    thread = threading.Thread(target=lambda: drawn.append(pool.draw(task_of("conv", {"conv": MAPS}))), daemon=True)
    thread.start()
    thread.join(30)
    in_time = list(drawn)
    pool.close()  # ends both
    assert in_time == [None]


def test_the_end_waits_for_no_helper(tmp_path, monkeypatch):
    painter = painter_of(tmp_path, monkeypatch)
    for wish in wishes(4, tmp_path):
        painter.submit(wish)
    running = [helper.process for helper in painter._processes._all]
    started = time.monotonic()
    made = painter.end()
    assert time.monotonic() - started < 2
    assert all(process.poll() is not None for process in running)
    assert {path.name for path in tmp_path.iterdir()} == {item.path.name for item in made}


def test_where_no_process_can_be_started_the_command_draws(tmp_path, monkeypatch):
    def start(*_, **__):
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(processes.subprocess, "Popen", start)
    assert len(painted(painter_of(tmp_path, monkeypatch), tmp_path, 6)) == 6


def test_threads_share_helpers(helpers):
    tasks = [task_of("conv", {"conv": MAPS}, index % 3) for index in range(12)]
    expected = list(map(drawn_here, tasks))
    found = [None] * len(tasks)

    def draw(place):
        found[place] = helpers.draw(tasks[place])

    threads = [threading.Thread(target=draw, args=(place,)) for place in range(len(tasks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected


def test_a_command_with_helpers_leaves_none_behind(tmp_path, monkeypatch):
    faults.write_model(tmp_path / "m.h5")
    faults.use_small_models(monkeypatch)
    monkeypatch.setattr(figure_writer, "MIN_FIGURES_FOR_POOL", 0)
    monkeypatch.setattr(resource_limits, "core_count", lambda: 2)
    monkeypatch.chdir(tmp_path)
    np.save("in.npy", RANDOM.random((6, 8, 8, 1), np.float32))
    injected = faults.Faults()
    with injected.injected(monkeypatch):
        assert faults.run_here(monkeypatch, "show", "m.h5", "in.npy", "-l", "conv", "-o", "out/", "-q") == 0
    assert len(injected.children) == 3
    assert all(child.poll() is not None for child in injected.children)
    assert len(list(Path("out").rglob("*.png"))) == 6
