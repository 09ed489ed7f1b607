"""Writes the Keras 3 files of this folder, and keras3.json with what is in them.

    KERAS_BACKEND=tensorflow python make_keras.py       # keras 3.x, tensorflow, h5py

The networks are NucleiSegNet in miniature: the parts that come up there, with two convolutions that
stand in the list of layers in another order than they were created in. Values are eighths between
-2 and 2. In the JSON each file has the list of [path, shape, values] of `model.weights`.
"""

import json
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import h5py
import keras
import numpy as np
from keras import layers

HERE = pathlib.Path(__file__).parent
expected = {}


@keras.saving.register_keras_serializable("scant")
class ResidualBlock(layers.Layer):
    """Layers in attributes whose alphabetical order is not that of their creation."""

    def __init__(self, filters, **options):
        super().__init__(**options)
        self.filters = filters
        self.second = layers.Conv2D(filters, 1, padding="same")
        self.norm = layers.BatchNormalization()
        self.first = layers.SeparableConv2D(filters, 3, padding="same")
        self.more = [layers.Conv2D(filters, 1), layers.BatchNormalization()]

    def build(self, shape):
        self.second.build(shape)
        shape = (*shape[:-1], self.filters)
        self.norm.build(shape)
        self.first.build(shape)
        for layer in self.more:
            layer.build(shape)
        super().build(shape)

    def call(self, x):
        x = self.first(self.norm(self.second(x)))
        for layer in self.more:
            x = layer(x)
        return x

    def get_config(self):
        return {**super().get_config(), "filters": self.filters}


def gate(skip, below):
    """Of the two convolutions the one created first stands second in `model.layers`."""
    phi = layers.Conv2D(2, 1)(layers.Conv2D(3, 1)(below))
    theta = layers.Conv2D(2, 1)(skip)
    return layers.BatchNormalization()(layers.Add()([layers.UpSampling2D()(phi), theta]))


def fill(model):
    for k, weight in enumerate(model.weights):
        n = int(np.prod(weight.shape, dtype=int))
        values = ((np.arange(n) * 7 + k * 13) % 31 - 15) / 8
        weight.assign(values.reshape(weight.shape))
    return model


def note(file, model):
    expected[file] = [
        [w.path, list(w.shape), np.asarray(w, dtype="float64").reshape(-1).tolist()] for w in model.weights
    ]


def save(model, *files):
    for file in files:
        (model.save_weights if file.endswith(".weights.h5") else model.save)(HERE / file)
        note(file, model)


def functional():
    image = keras.Input((4, 4, 2))
    skip = layers.SeparableConv2D(2, 3, padding="same")(image)
    below = layers.MaxPooling2D()(layers.Dropout(0.1)(skip))
    up = layers.Conv2DTranspose(2, 2, strides=2)(below)
    joined = layers.Concatenate()([up, gate(skip, below)])
    return fill(keras.Model(image, layers.Conv2D(1, 1, name="OUT")(joined)))


keras.utils.clear_session()
save(functional(), "functional.h5", "functional.keras", "functional.weights.h5")

# Numbers of names go on counting in a session; those of groups in the file do not.
save(functional(), "second.weights.h5")

keras.utils.clear_session()
image = keras.Input((4, 4, 2))
blocks = keras.Model(image, ResidualBlock(2)(ResidualBlock(3)(image)))
save(fill(blocks), "blocks.h5", "blocks.keras", "blocks.weights.h5")

# A network within a network, in a sequence, with an optimiser that has a state.
keras.utils.clear_session()
inner = keras.Sequential([keras.Input((3,)), layers.Dense(2), layers.LayerNormalization()], name="encoder")
nested = keras.Sequential([keras.Input((3,)), layers.Normalization(), inner, layers.Dense(1)])
nested.compile(optimizer="adam", loss="mse", metrics=["mae"])
nested.fit(np.ones((2, 3)), np.ones((2, 1)), verbose=0)
save(fill(nested), "nested.keras")

# Reduced precision: h5 knows no bfloat16, so Keras notes it in an attribute.
keras.utils.clear_session()
for dtype in ("bfloat16", "float16"):
    low = keras.Sequential([keras.Input((3,)), layers.Dense(2, dtype=dtype)])
    save(fill(low), f"{dtype}.weights.h5")

# A file that was packed again: chunked, shuffled, compressed, in the format of HDF5 1.10.
with h5py.File(HERE / "functional.h5") as source, h5py.File(HERE / "packed.h5", "w", libver="latest") as target:
    target.attrs.update(source.attrs)

    def copy(name, item):
        if isinstance(item, h5py.Dataset):
            target.create_dataset(name, data=item, chunks=True, compression="gzip", shuffle=True, fletcher32=True)
        else:
            target.require_group(name)
        target[name].attrs.update(item.attrs)

    source.visititems(copy)
expected["packed.h5"] = expected["functional.h5"]

with h5py.File(HERE / "foreign.h5", "w") as foreign:
    foreign.create_group("measurements").create_dataset("x", data=[1.0, 2.0])

(HERE / "keras3.json").write_text(json.dumps(expected, separators=(",", ":")).replace("]],", "]],\n") + "\n")
