"""Writes the NumPy files of this folder, and numpy.json with what is in them.

    python make_numpy.py            # NumPy 1.x or 2.x

The names are those of Google's ImageNet-21k weights of a vision transformer.
"""

import json
import pathlib

import numpy as np

HERE = pathlib.Path(__file__).parent
counter = 0


def filled(*shape, dtype="<f4"):
    global counter
    counter += 1
    values = ((np.arange(np.prod(shape, dtype=int)) * 7 + counter * 13) % 31 - 15) / 8
    if np.dtype(dtype).kind in "iu":
        values = values * 8 % 16
    return values.reshape(shape).astype(dtype)


arrays = {
    "embedding/kernel": filled(1, 1, 4, 6),
    "embedding/bias": filled(6),
    "Transformer/encoderblock_0/MlpBlock_3/Dense_0/kernel": np.asfortranarray(filled(3, 4)),
    "Transformer/encoder_norm/scale": filled(5, dtype="<f8"),
    "Transformer/posembed_input/pos_embedding": filled(1, 3, 2, dtype="<f2"),
    "big/f4": filled(2, 3, dtype=">f4"),
    "big/f8": np.asfortranarray(filled(2, 2, 2, dtype=">f8")),
    "big/f2": filled(3, dtype=">f2"),
    "big/i4": filled(3, dtype=">i4"),
    "ints/i8": filled(3, dtype="<i8"),
    "ints/u2": filled(3, dtype="<u2"),
    "ints/u1": filled(3, dtype="u1"),
    "bool": np.array([True, False]),
    "scalar": np.float32(1.5),
    "empty": np.zeros((0, 3), "f4"),
}
others = {
    "text": np.array(["a", "bc"]),
    "structure": np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f4")]),
    "complex": np.array([1j]),
}
np.savez(HERE / "stored.npz", **arrays, **others)
np.savez_compressed(HERE / "deflated.npz", **arrays)
np.save(HERE / "lone.npy", arrays["embedding/kernel"])
np.savez(HERE / "objects.npz", w=arrays["embedding/bias"], o=np.array([{"a": 1}], dtype=object))

listed = [[name, list(a.shape), a.astype(float).reshape(-1).tolist()] for name, a in arrays.items()]
expected = {
    "stored.npz": listed,
    "deflated.npz": listed,
    "lone.npy": [["array", *listed[0][1:]]],
    "objects.npz": [["w", *listed[1][1:]]],
}
(HERE / "numpy.json").write_text(json.dumps(expected, separators=(",", ":")).replace("]],", "]],\n") + "\n")
