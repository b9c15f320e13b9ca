"""Keras and TensorFlow for test modules: imported by the first test that uses them, not when tests are collected."""

import importlib.util
from importlib.machinery import PathFinder


class LateModule:
    """A module that is imported when one of its names is first asked for."""

    def __init__(self, name):
        self._name = name

    def __getattr__(self, name):
        if name.startswith("_"):  # asked by pytest while it collects tests, and by `copy`
            raise AttributeError(name)
        return getattr(importlib.import_module(self._name), name)


keras = LateModule("keras")
layers = LateModule("keras.layers")
ops = LateModule("keras.ops")
tf = LateModule("tensorflow")
customs = LateModule("customs_for_tests")
tf_modules = LateModule("tf_modules")


def tflite_schema():
    """Return TensorFlow's reader and writer of `.tflite` files, which needs nothing else of TensorFlow."""
    folder, *_ = PathFinder.find_spec("tensorflow").submodule_search_locations  # where it must not be imported, too
    spec = importlib.util.spec_from_file_location("tflite_schema", f"{folder}/lite/python/schema_py_generated.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
