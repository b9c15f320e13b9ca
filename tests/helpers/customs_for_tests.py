"""Custom layers, models and functions as users write them; the tests give this file to actviz."""

import keras
from keras import layers, ops


class Scale(layers.Layer):
    """A layer without layers inside."""

    def __init__(self, factor=2.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def build(self, shape):
        self.offset = self.add_weight(shape=(shape[-1],), initializer="ones", name="offset")

    def call(self, inputs):
        return inputs * self.factor + self.offset

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


@keras.saving.register_keras_serializable("shop")
class Block(layers.Layer):
    """A layer with layers inside, one of them called twice and one held privately."""

    def __init__(self, filters=3, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.first = layers.Conv2D(filters, 3, padding="same", name="named_otherwise")
        self.stages = [layers.Conv2D(filters, 1, activation="relu") for _ in range(2)]
        self.by_kind = {"norm": layers.BatchNormalization()}
        self._hidden = layers.Conv2D(filters, 3, padding="same")

    def call(self, inputs, training=False):
        found = self.first(inputs)
        for stage in self.stages:
            found = stage(found)
        found = self.by_kind["norm"](found, training=training)
        return self._hidden(self._hidden(found))

    def get_config(self):
        return {**super().get_config(), "filters": self.filters}


class Whole(keras.Model):
    """A subclassed model that holds a functional one."""

    def __init__(self, units=4, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        inputs = keras.Input((8, 8, 1), name="inside_in")
        self.backbone = keras.Model(inputs, layers.Conv2D(3, 3, name="conv")(inputs), name="base")
        self.block = Block()
        self.pool = layers.GlobalAveragePooling2D()
        self.head = layers.Dense(units, activation=swish_twice)

    def call(self, inputs, training=False):
        return self.head(self.pool(self.block(self.backbone(inputs), training=training)))

    def get_config(self):
        return {"units": self.units, "name": self.name}


def swish_twice(x):
    """Return a custom activation."""
    return ops.silu(ops.silu(x))
