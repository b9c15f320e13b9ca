"""Layers with random arguments, for `random_networks`."""

from __future__ import annotations

import random

import numpy as np

ACTIVATIONS = (
    "relu", "relu6", "tanh", "sigmoid", "elu", "selu", "gelu", "softplus", "softsign", "swish", "hard_sigmoid", "softmax",
    "leaky_relu", "exponential", "mish", "hard_silu", "log_softmax", "linear",
)  # fmt: skip


class Maker:
    """Makes layers with random arguments; `choice` draws from the seed."""

    def __init__(self, seed: int) -> None:
        """Begin at a seed."""
        self.random = random.Random(seed)
        self.choice = self.random.choice
        self._number = 0

    def chance(self, share: float) -> bool:
        """Return True in this share of the calls."""
        return self.random.random() < share

    def name(self) -> str | None:
        """Return a name of the user's in a third of the calls, else None: Keras numbers the layers."""
        self._number += 1
        word = self.choice(("block", "stem", "head", "proj", "conv", "feat", "add", "relu", "mul"))
        return f"{word}{self.choice(('', '_', '_a', '.'))}{self._number}" if self.chance(0.3) else None

    def activation(self, share: float = 0.5) -> str | None:
        """Return a random activation function, or None."""
        return self.choice(ACTIVATIONS) if self.chance(share) else None

    def window(self, rank: int, *, strides: bool = True) -> dict[str, object]:
        """Return random arguments of a convolution over `rank` dimensions."""
        found: dict[str, object] = {
            "kernel_size": self.choice((1, 2, 3)),
            "padding": self.choice(("same", "valid")),
            "use_bias": self.chance(0.7),
            "activation": self.activation(),
        }
        if strides and self.chance(0.3):
            found["strides"] = 2
        elif self.chance(0.2) and rank < 3:
            found["dilation_rate"] = 2
        return found

    def anywhere(self, shape: tuple[int, ...]):
        """Return a layer that takes inputs of any rank."""
        from keras import layers

        axis = self.choice([-1, len(shape)])
        return self.choice(
            [
                lambda: layers.Activation(self.choice(ACTIVATIONS[:-1])),
                lambda: layers.ReLU(
                    **self.choice([{}, {"max_value": 6.0}, {"negative_slope": 0.2}, {"threshold": 0.3}])
                ),
                lambda: layers.LeakyReLU(0.2),
                lambda: layers.ELU(0.7),
                lambda: layers.PReLU(shared_axes=list(range(1, len(shape))) or None),
                lambda: layers.Softmax(axis=axis),
                lambda: layers.Dropout(0.3),
                lambda: layers.GaussianNoise(0.3),
                lambda: layers.BatchNormalization(axis=axis, scale=self.chance(0.7), center=self.chance(0.7)),
                layers.BatchNormalization,
                lambda: layers.LayerNormalization(axis=axis),
                layers.UnitNormalization,
                layers.RMSNormalization,
                lambda: layers.Rescaling(self.choice((0.5, 2.0)), offset=self.choice((0.0, -1.0))),
                lambda: layers.Normalization(mean=0.3, variance=2.0),
                lambda: layers.Dense(
                    self.choice((2, 3, 4, 6)), activation=self.activation(), use_bias=self.chance(0.7)
                ),
                layers.Identity,
                layers.Flatten,
                lambda: layers.ActivityRegularization(0.1),
                lambda: layers.Permute(self.random.sample(range(1, len(shape) + 1), len(shape))),
                lambda: layers.Reshape(self.refolded(shape)),
                lambda: layers.GroupNormalization(1 if shape[-1] % 2 else 2),
            ]
        )()

    def refolded(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return another shape for as many values."""
        size = int(np.prod(shape))
        first = self.choice([number for number in range(1, size + 1) if size % number == 0])
        return self.choice([(size,), (first, size // first), (*shape, 1), (first, 1, size // first)])

    def layer(self, shape: tuple[int, ...]):
        """Return a layer that takes inputs of this shape, without the batch."""
        if self.chance(0.4) or len(shape) not in {1, 2, 3, 4}:
            return self.anywhere(shape)
        return [self.of_vector, self.of_sequence, self.of_image, self.of_volume][len(shape) - 1](shape)

    def of_vector(self, shape: tuple[int, ...]):
        """Return a layer of vectors."""
        from keras import layers

        return self.choice(
            [
                lambda: layers.Dense(
                    self.choice((2, 3, 4, 6)), activation=self.activation(), use_bias=self.chance(0.7)
                ),
                lambda: layers.RepeatVector(3),
                lambda: layers.Reshape((1, *shape)),
                lambda: layers.Reshape((*shape, 1)),
            ]
        )()

    def recurrent(self):
        """Return a recurrent layer."""
        from keras import layers

        arguments = {
            "units": self.choice((2, 3)), "return_sequences": self.chance(0.6), "activation": self.choice(("tanh", "relu")),
            "go_backwards": self.chance(0.2), "unroll": self.chance(0.15), "use_bias": self.chance(0.8),
        }  # fmt: skip
        kind = self.choice((layers.LSTM, layers.LSTM, layers.GRU, layers.SimpleRNN))
        if kind is layers.GRU:
            arguments["reset_after"] = self.chance(0.7)
        return kind(**arguments)

    def of_sequence(self, shape: tuple[int, ...]):
        """Return a layer of sequences."""
        from keras import layers

        def both():
            inner = self.recurrent()
            inner.go_backwards = False
            return layers.Bidirectional(inner, merge_mode=self.choice(("concat", "sum", "mul", "ave")))

        return self.choice(
            [
                lambda: layers.Conv1D(self.choice((2, 4)), **self.window(1)),
                lambda: layers.Conv1D(3, 2, padding="causal", dilation_rate=self.choice((1, 2))),
                lambda: layers.Conv1DTranspose(3, self.choice((2, 3)), strides=self.choice((1, 2)), padding=self.choice(("same", "valid"))),
                lambda: layers.SeparableConv1D(3, 3, padding="same", activation=self.activation()),
                lambda: layers.DepthwiseConv1D(3, padding="same", activation=self.activation()),
                self.recurrent, self.recurrent, both,
                lambda: layers.TimeDistributed(self.anywhere(shape[1:])),
                lambda: layers.TimeDistributed(layers.Dense(3, activation=self.activation())),
                lambda: layers.MaxPooling1D(2), lambda: layers.AveragePooling1D(2, padding=self.choice(("same", "valid"))),
                lambda: layers.GlobalAveragePooling1D(keepdims=self.chance(0.3)), layers.GlobalMaxPooling1D,
                lambda: layers.ZeroPadding1D(1), lambda: layers.Cropping1D((0, 1)), lambda: layers.UpSampling1D(2),
                lambda: layers.EinsumDense("abc,cd->abd", output_shape=(None, 3), bias_axes=self.choice(("d", None))),
                lambda: layers.SpatialDropout1D(0.3),
            ]
        )()  # fmt: skip

    def of_image(self, shape: tuple[int, ...]):
        """Return a layer of images, or of sequences of sequences."""
        from keras import layers

        transposed = {
            "strides": self.choice((1, 2)),
            "padding": self.choice(("same", "valid")),
            "activation": self.activation(),
        }
        return self.choice(
            [
                lambda: layers.Conv2D(self.choice((2, 4)), **self.window(2)),
                lambda: layers.Conv2D(self.choice((2, 4)), **self.window(2)),
                lambda: layers.Conv2D(shape[-1] * 2, 3, groups=shape[-1], padding="same"),
                lambda: layers.Conv2DTranspose(3, self.choice((2, 3)), **transposed),
                lambda: layers.SeparableConv2D(3, **self.window(2, strides=False)),
                lambda: layers.DepthwiseConv2D(depth_multiplier=self.choice((1, 2)), **self.window(2, strides=False)),
                lambda: layers.MaxPooling2D(2, padding=self.choice(("same", "valid"))),
                lambda: layers.AveragePooling2D(2, padding=self.choice(("same", "valid"))),
                lambda: layers.GlobalAveragePooling2D(keepdims=self.chance(0.3)), layers.GlobalMaxPooling2D,
                lambda: layers.ZeroPadding2D(self.choice((1, ((1, 0), (0, 2))))), lambda: layers.Cropping2D(1),
                lambda: layers.UpSampling2D(2, interpolation=self.choice(("nearest", "bilinear"))),
                lambda: layers.TimeDistributed(self.choice((self.of_sequence, self.anywhere))(shape[1:])),
                lambda: layers.ConvLSTM1D(2, 2, padding="same", return_sequences=self.chance(0.5)),
                lambda: layers.SpatialDropout2D(0.3), lambda: layers.Resizing(5, 4), lambda: layers.CenterCrop(3, 3),
                lambda: layers.SpectralNormalization(layers.Conv2D(3, 2)),
                lambda: layers.EinsumDense("abcd,de->abce", output_shape=(None, None, 3), bias_axes="e"),
            ]
        )()  # fmt: skip

    def of_volume(self, shape: tuple[int, ...]):
        """Return a layer of volumes or of videos."""
        from keras import layers

        return self.choice(
            [
                lambda: layers.Conv3D(2, **self.window(3)),
                lambda: layers.Conv3DTranspose(2, 2, strides=self.choice((1, 2))),
                lambda: layers.MaxPooling3D(2), lambda: layers.AveragePooling3D(2),
                layers.GlobalAveragePooling3D, layers.GlobalMaxPooling3D,
                lambda: layers.ZeroPadding3D(1), lambda: layers.Cropping3D((0, 1, 1)), lambda: layers.UpSampling3D((1, 2, 2)),
                lambda: layers.TimeDistributed(self.of_image(shape[1:])),
                lambda: layers.ConvLSTM2D(2, 2, padding="same", return_sequences=self.chance(0.5)),
            ]
        )()  # fmt: skip
