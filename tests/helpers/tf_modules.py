"""Modules of TensorFlow that keep a state or draw random numbers."""

import numpy as np
import tensorflow as tf


class Sum(tf.Module):
    """A running sum, as streaming keyword models keep one; it does not begin at zero."""

    def __init__(self):
        super().__init__()
        self.total = tf.Variable(np.full((1, 4), 0.5, np.float32))
        self.kernel = tf.constant(np.linspace(-1, 1, 12).reshape(3, 4).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec((1, 3), tf.float32, name="frame")])
    def step(self, frame):
        new = self.total.assign_add(tf.linalg.matmul(frame, self.kernel, name="project"))
        return {"out": tf.nn.leaky_relu(new, name="relu")}

    @tf.function(input_signature=[tf.TensorSpec((1, 3), tf.float32, name="frame")])
    def loop(self, frame):
        for _ in tf.range(3):
            self.total.assign(0.5 * self.total + tf.linalg.matmul(frame, self.kernel))
        return {"out": tf.nn.leaky_relu(self.total.read_value(), name="relu")}


class Noisy(tf.Module):
    """Dropout and noise that were left on, without a seed or with one."""

    def __init__(self, seed=None):
        super().__init__()
        self.kernel = tf.Variable(np.linspace(-1, 1, 24).reshape(8, 3).astype(np.float32))
        self.seed = seed

    @tf.function(input_signature=[tf.TensorSpec((None, 8), tf.float32, name="x")])
    def call(self, x):
        h = tf.linalg.matmul(x, self.kernel, name="dense")
        h = tf.nn.dropout(h, 0.4, seed=self.seed, name="drop")
        return {"out": h + tf.random.normal(tf.shape(h), seed=self.seed, name="noise")}
