"""Write `three.tflite`: three signatures, two of them with control flow, whose graphs are not the first (TensorFlow 2.21)."""

import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

ROW = tf.TensorSpec([1, 4], tf.float32)


class Three(tf.Module):
    def __init__(self):
        super().__init__()
        self.weights = tf.Variable(np.random.default_rng(0).normal(size=(4, 4)).astype("f4"))

    @tf.function(input_signature=[ROW])
    def plain(self, x):
        return {"y": tf.nn.relu(x @ self.weights)}

    @tf.function(input_signature=[ROW])
    def repeat(self, x):
        count = tf.constant(0)
        while count < 3:
            x = tf.tanh(x @ self.weights)
            count += 1
        return {"looped": x * 2.0}

    @tf.function(input_signature=[ROW, ROW])
    def choose(self, a, b):
        chosen = tf.exp(a) @ self.weights if tf.reduce_sum(a) > tf.reduce_sum(b) else b - a
        return {"chosen": tf.sigmoid(chosen), "sum": a + b}


module = Three()
with tempfile.TemporaryDirectory() as folder:
    signatures = {"plain": module.plain, "repeat": module.repeat, "choose": module.choose}
    tf.saved_model.save(module, folder, signatures=signatures)
    converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(signatures))
    Path(__file__).with_name("three.tflite").write_bytes(converter.convert())
