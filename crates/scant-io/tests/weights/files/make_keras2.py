"""Writes the Keras 2 files of this folder, and keras2.json with what is in them.

    python make_keras2.py           # tf_keras 2.x, tensorflow

The same network as in make_keras.py, by the Keras that TensorFlow had before 2.16. In the JSON each
file has the list of [path, shape, values] of `model.weights`.
"""

import json
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tf_keras as keras
from tf_keras import layers

HERE = pathlib.Path(__file__).parent
expected = {}


def gate(skip, below):
    phi = layers.Conv2D(2, 1)(layers.Conv2D(3, 1)(below))
    theta = layers.Conv2D(2, 1)(skip)
    return layers.BatchNormalization()(layers.Add()([layers.UpSampling2D()(phi), theta]))


def functional():
    image = keras.Input((4, 4, 2))
    skip = layers.SeparableConv2D(2, 3, padding="same")(image)
    below = layers.MaxPooling2D()(layers.Dropout(0.1)(skip))
    up = layers.Conv2DTranspose(2, 2, strides=2)(below)
    joined = layers.Concatenate()([up, gate(skip, below)])
    return keras.Model(image, layers.Conv2D(1, 1, name="OUT")(joined))


model = functional()
values = []
for k, weight in enumerate(model.weights):
    n = int(np.prod(weight.shape, dtype=int))
    values.append((((np.arange(n) * 7 + k * 13) % 31 - 15) / 8).reshape(weight.shape))
model.set_weights(values)

listed = [
    [w.name.removesuffix(":0"), list(w.shape), v.reshape(-1).tolist()] for w, v in zip(model.weights, values)
]
model.compile(optimizer="adam", loss="mse")
model.save(HERE / "keras2.h5")
model.save_weights(HERE / "keras2_weights.h5")
model.save(HERE / "keras2.keras")
model.save_weights(HERE / "keras2.weights.h5")
for file in ("keras2.h5", "keras2_weights.h5", "keras2.keras", "keras2.weights.h5"):
    expected[file] = listed

(HERE / "keras2.json").write_text(json.dumps(expected, separators=(",", ":")).replace("]],", "]],\n") + "\n")
