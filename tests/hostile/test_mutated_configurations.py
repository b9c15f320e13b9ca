"""Configurations of real files with values of the wrong kind in them: refused or opened, never a traceback.

A long run: ``ACTVIZ_FUZZ=20000 pytest -q tests/hostile/test_mutated_configurations.py``, with another seed in
``ACTVIZ_FUZZ_SEED``. A mutant that escapes is kept in pytest's temporary folder.
"""

import copy
import json
import os
import random
import signal
import time
import zipfile

import corpus
import h5py
import pytest

from actviz.errors import ActvizError
from actviz.formats import open_network

COUNT = int(os.environ.get("ACTVIZ_FUZZ", "150"))
SEED = int(os.environ.get("ACTVIZ_FUZZ_SEED", "7"))
SECONDS = 10
ODD = (
    None, True, False, 0, -1, 1, 1.5, "", "x", "../x", [], {}, [[]], [None], [1, 2], {"a": 1}, 10**15, 2**63, "Dense",
    "\ud800", ["in", 0, 0], [["in", 0, 0]], {"class_name": 5, "config": 7}, {"class_name": "Dense", "config": {}},
    {"class_name": "__keras_tensor__", "config": {"keras_history": ["in", 0, 0]}},
)  # fmt: skip


def places(value, path=()):
    """Yield the path of every value inside another."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


def at(value, path):
    for key in path:
        value = value[key]
    return value


def mutant(configuration, chance):
    """Change one to four values: left out, doubled, replaced by another of the file or by an odd one."""
    changed = copy.deepcopy(configuration)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        every = list(places(changed))
        *outer, key = chance.choice(every)
        holder, kind = at(changed, outer), chance.random()
        if kind < 0.2:
            del holder[key]
        elif kind < 0.3 and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(chance.choice(holder)))
        else:
            other = at(changed, chance.choice(every)) if kind < 0.45 else chance.choice(ODD)
            holder[key] = copy.deepcopy(other)
    return changed


def sources():
    """Return each real file of the project that holds a configuration, with it."""
    found = []
    for path in sorted(corpus.DATA.rglob("*")):
        if zipfile.is_zipfile(path) and path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                found.append((path, json.loads(archive.read("config.json"))))
        elif path.suffix == ".h5" and ".weights" not in path.name:
            with h5py.File(path) as file:
                if "model_config" in file.attrs:  # others hold weights only
                    found.append((path, json.loads(file.attrs["model_config"])))
    return found


def written(path, source, configuration):
    """Write a copy of a model with another configuration."""
    if source.suffix == ".keras":
        with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
            for name in ("metadata.json", "model.weights.h5"):
                new.writestr(name, old.read(name))
            new.writestr("config.json", json.dumps(configuration))
        return
    path.write_bytes(source.read_bytes())
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = json.dumps(configuration)


@pytest.fixture
def alarm():
    """A hang becomes a failure."""

    def ring(*_):
        message = "no end in sight"
        raise TimeoutError(message)

    before = signal.signal(signal.SIGALRM, ring)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def test_every_mutant_is_opened_or_refused_in_one_line(tmp_path, alarm):
    chance, files, codes = random.Random(SEED), sources(), set()
    assert len(files) > 20
    for number in range(COUNT):
        source, configuration = chance.choice(files)
        path = tmp_path / f"{number}{source.suffix}"
        written(path, source, mutant(configuration, chance))
        signal.alarm(SECONDS * 3)
        start = time.process_time()
        try:
            with open_network(path) as network:
                assert network.facts.layers is not None
            codes.add(0)
        except ActvizError as failure:
            codes.add(failure.exit_code)
            assert "\n" not in failure.message  # noqa: PT017  (the failure is one of several ends)
        signal.alarm(0)
        assert time.process_time() - start < SECONDS, path
        path.unlink()
    assert {0, 4} <= codes <= {0, 4, 5, 6}
