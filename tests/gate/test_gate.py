import io
import json
import warnings
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from actviz.errors import LimitError, ModelError, UnsafeError
from actviz.gate import allowed_names, check_configuration, drop_compile_config, open_archive, open_hdf5, parse_json


def dense(**changes):
    config = {"name": "d", "units": 3, "activation": "relu"}
    return {"module": "keras.layers", "class_name": "Dense", "registered_name": None, "config": config} | changes


def errors_of(value):
    return [finding.error for finding in check_configuration(value, "m.keras")]


# ------------------------------------------------------------------ JSON
@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"{", ModelError),
        (b"[NaN]", ModelError),
        (b"[Infinity]", ModelError),
        (b'{"a": 1, "a": 2}', ModelError),
        (b"[" * 20_000 + b"]" * 20_000, ModelError),
        (b"[" * 300 + b"]" * 300, ModelError),
        (b"\xff\xfe", ModelError),
    ],
)
def test_json_that_is_refused(raw, error):
    with pytest.raises(error) as caught:
        parse_json(raw, "m.keras")
    assert "\n" not in caught.value.message


def test_json_that_is_read():
    assert parse_json(b'{"a": [1, {"b": null}]}', "m.keras") == {"a": [1, {"b": None}]}


# ------------------------------------------------------------------ classes
def test_plain_layers_pass():
    assert errors_of(dense()) == []


@pytest.mark.parametrize("kind", ["Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "__lambda__"])
@pytest.mark.parametrize("depth", range(5))
def test_classes_that_run_code_are_unsafe_at_any_depth(kind, depth):
    value = dense(class_name=kind)
    for _ in range(depth):
        value = dense(class_name="TimeDistributed", config={"name": "w", "layer": value})
    assert errors_of(value) == [UnsafeError]


@pytest.mark.parametrize(
    ("module", "function"),
    [
        ("os", "getcwd"),
        ("builtins", "print"),
        ("keras.config", "set_epsilon"),
        ("keras.utils", "get_file"),
        ("keras.ops", "map"),
    ],
)
def test_functions_other_than_activations_are_unsafe(module, function):
    named = {"module": module, "class_name": "function", "config": function, "registered_name": function}
    assert errors_of(dense(config={"name": "d", "activation": named})) == [UnsafeError]


def test_activation_functions_pass():
    for module in ("keras.activations", "builtins", None):
        named = {"module": module, "class_name": "function", "config": "relu", "registered_name": "relu"}
        assert errors_of(dense(config={"name": "d", "activation": named})) == []


def test_the_standard_library_is_unsafe_and_custom_classes_are_unknown():
    assert errors_of(dense(module="os", class_name="system")) == [UnsafeError]
    assert errors_of(dense(module="builtins", class_name="Scale", registered_name="pkg>Scale")) == [ModelError]
    assert errors_of(dense(module=None, class_name="pkg>Scale", registered_name="pkg>Scale")) == [ModelError]


def test_a_built_in_class_under_a_foreign_registration_is_unsafe():
    assert errors_of(dense(registered_name="pkg>Evil")) == [UnsafeError]


def test_a_class_that_keras_does_not_have_yet_is_unknown_not_unsafe():
    findings = check_configuration(dense(class_name="HyperDense"), "m.keras")
    assert [finding.error for finding in findings] == [ModelError]
    assert "update actviz" in findings[0].message


def test_vocabulary_paths_are_unsafe():
    config = {"name": "words", "vocabulary": "/etc/passwd"}
    assert errors_of(dense(class_name="StringLookup", config=config)) == [UnsafeError]
    assert errors_of(dense(class_name="StringLookup", config={"name": "words", "vocabulary": ["a"]})) == []


def test_compile_config_is_dropped_at_every_depth_and_never_refuses():
    evil = {"loss": {"class_name": "function", "module": "os", "config": "system"}}
    value = dense(config={"name": "d", "layers": [dense(compile_config=evil)]}, compile_config=evil)
    assert errors_of(drop_compile_config(value)) == []
    assert "compile_config" not in json.dumps(drop_compile_config(value))


@pytest.mark.tensorflow
def test_the_table_is_that_of_the_installed_keras():
    import keras
    from tools.make_class_tables import exported_classes, exported_functions, operation_classes, render

    from actviz.gate import keras_names

    table = keras_names()
    for kind, names in exported_classes().items():
        missing = names - getattr(table, kind)
        assert not missing, f"run python tests/tools/make_class_tables.py: {kind} lacks {missing}"
    assert exported_functions() <= table.activations
    for module, names in operation_classes().items():
        assert names <= table.operations[module]
    if keras.__version__ == table.keras_version:
        path = Path(allowed_names.__file__).with_suffix(".json")
        assert path.read_text(encoding="utf-8") == render()


# ------------------------------------------------------------------ archives
def archive(*members, **options):
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w", **options) as file:
        warnings.simplefilter("ignore")
        for name, content in members:
            file.writestr(name, content)
    stream.seek(0)
    return stream


@pytest.mark.parametrize("name", ["../x", "/x", "C:\\x", "a/../../x", "..\\x"])
def test_members_that_point_outside_are_unsafe(name):
    with pytest.raises(UnsafeError, match="outside"):
        open_archive(archive((name, b"")), "m.keras")


def test_links_duplicates_and_encryption_are_unsafe():
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    with pytest.raises(UnsafeError, match="link"):
        open_archive(archive((link, b"/etc/passwd")), "m.keras")
    with pytest.raises(UnsafeError, match="two members"):
        open_archive(archive(("config.json", b"{}"), ("config.json", b"[]")), "m.keras")


def test_bombs_are_refused_from_the_directory_alone():
    bomb = archive(("config.json", b" " * (64 << 20)), compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(LimitError, match="zip bomb"):
        open_archive(bomb, "m.keras")
    many = archive(*((f"m{number}", b"") for number in range(10_001)))
    with pytest.raises(LimitError, match="members"):
        open_archive(many, "m.keras")


def test_a_truncated_archive_is_damaged():
    content = archive(("config.json", b"{}" * 500)).getvalue()
    for cut in range(10, len(content), 37):
        with pytest.raises(ModelError):
            open_archive(io.BytesIO(content[:cut]), "m.keras").read("config.json", 1 << 20)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_read_in_place_or_unpacked(compression):
    content = np.random.default_rng(0).bytes(100_000)
    opened = open_archive(archive(("a", b"x"), ("weights", content), compression=compression), "m.keras")
    stream = opened.open("weights")
    assert stream.read() == content
    stream.seek(70_000)
    assert stream.read(10) == content[70_000:70_010]
    stream.seek(-5, io.SEEK_END)
    assert stream.read() == content[-5:]


# ------------------------------------------------------------------ HDF5
def hdf5(tmp_path, fill):
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        fill(file)
    return path


def opened(path):
    with path.open("rb") as file:
        open_hdf5(file, path.name, path.stat().st_size).close()


def test_plain_arrays_pass(tmp_path):
    def fill(file):
        file["a/b"] = np.arange(9.0)
        file.create_dataset("packed", data=np.zeros(50), compression="gzip", shuffle=True)
        file["same"] = file["a/b"]  # a hard link

    opened(hdf5(tmp_path, fill))


@pytest.mark.parametrize("target", ["a", "/", "b"])
def test_groups_that_two_paths_reach_are_refused(tmp_path, target):
    def fill(file):
        file.create_group("b")
        group = file.create_group("a")
        group["again"] = file[target]

    with pytest.raises(LimitError, match="two paths"):
        opened(hdf5(tmp_path, fill))


def test_groups_that_lie_too_deep_are_refused(tmp_path):
    opened(hdf5(tmp_path, lambda file: file.create_group("a/" * 190)))
    with pytest.raises(LimitError, match="nested too deeply"):
        opened(hdf5(tmp_path, lambda file: file.create_group("a/" * 5000)))


@pytest.mark.parametrize("kind", ["soft", "external link", "external storage", "virtual"])
def test_whatever_reads_elsewhere_is_unsafe(tmp_path, kind):
    secret = tmp_path / "secret.bin"
    secret.write_bytes(np.arange(16, dtype="<f4").tobytes())

    def fill(file):
        group = file.create_group("g")
        if kind == "soft":
            group["x"] = h5py.SoftLink("/elsewhere")
        elif kind == "external link":
            group["x"] = h5py.ExternalLink("other.h5", "/x")
        elif kind == "external storage":
            group.create_dataset("x", (4, 4), "<f4", external=[(str(secret), 0, 64)])
        else:
            layout = h5py.VirtualLayout((4, 4), "<f4")
            layout[:] = h5py.VirtualSource("other.h5", "x", (4, 4))
            group.create_virtual_dataset("x", layout)

    with pytest.raises(UnsafeError, match="refused"):
        opened(hdf5(tmp_path, fill))


def test_external_storage_would_leak_without_the_gate(tmp_path):
    """The control: the same file does read the secret when nobody looks."""
    secret = tmp_path / "secret.bin"
    secret.write_bytes(np.arange(16, dtype="<f4").tobytes())
    path = hdf5(tmp_path, lambda file: file.create_dataset("x", (4, 4), "<f4", external=[(str(secret), 0, 64)]))
    with h5py.File(path) as file:
        assert file["x"][3, 3] == 15


def test_a_declared_size_without_content_is_a_bomb(tmp_path):
    path = hdf5(tmp_path, lambda file: file.create_dataset("x", (10**9,), "f4", chunks=(10**6,)))
    assert path.stat().st_size < 10_000
    with pytest.raises(LimitError, match="bomb"):
        opened(path)


def test_objects_are_no_numbers(tmp_path):
    path = hdf5(tmp_path, lambda file: file.create_dataset("x", (3,), np.dtype([("a", "f4"), ("b", "i4")])))
    with pytest.raises(ModelError, match="not plain numbers"):
        opened(path)


def test_a_truncated_file_is_damaged(tmp_path):
    path = hdf5(tmp_path, lambda file: file.create_dataset("x", data=np.arange(5000.0)))
    content = path.read_bytes()
    for cut in (9, 100, 1000, len(content) - 1):
        path.write_bytes(content[:cut])
        with pytest.raises(ModelError):
            opened(path)


# ------------------------------------------------------------------ saved TensorFlow calls
@pytest.mark.parametrize("function", ["nn.relu", "math.multiply", "__operators__.getitem", "concat", "image.resize"])
def test_pure_functions_pass(function):
    assert errors_of({"class_name": "TFOpLambda", "config": {"name": "f", "function": function}}) == []


@pytest.mark.parametrize(
    "function",
    ["io.write_file", "io.read_file", "py_function", "numpy_function", "raw_ops.WriteFile", "print", None, 3],
)
def test_functions_that_touch_anything_else_are_unsafe(function):
    assert errors_of({"class_name": "TFOpLambda", "config": {"name": "f", "function": function}}) == [UnsafeError]


@pytest.mark.parametrize(
    ("operation", "fine"), [("Relu", True), ("WriteFile", False), ("PyFunc", False), ("PrintV2", False)]
)
def test_operations_are_allowed_by_name(operation, fine):
    config = {"name": "f", "node_def": {"name": "f", "op": operation}, "constants": {}}
    assert errors_of({"class_name": "TensorFlowOpLayer", "config": config}) == ([] if fine else [UnsafeError])


def test_a_custom_activation_is_unknown():
    assert errors_of(dense(config={"name": "d", "activation": "swish"})) == []
    assert errors_of(dense(config={"name": "d", "activation": "custom_act"})) == [ModelError]
