"""Runs exported networks in ONNX Runtime and says how far they are from what was expected.

    run_onnx.py FOLDER

FOLDER holds NAME.onnx files, and for each a NAME.json: a list of {"input": TENSOR, "outputs": {name:
TENSOR}}, where TENSOR is {"shape": [..], "values": [..]}. Prints one line of JSON:
{NAME: {"far": greatest distance relative to the largest expected value, or "error": text}}.
"""

import json
import pathlib
import sys

import numpy
import onnx
import onnxruntime


def array(tensor):
    values = [float("nan") if v is None else v for v in tensor["values"]]
    return numpy.array(values, dtype=numpy.float32).reshape(tensor["shape"])


def far(got, expected):
    if got.shape != expected.shape:
        raise ValueError(f"shape {got.shape}, expected {expected.shape}")
    if not numpy.array_equal(numpy.isfinite(got), numpy.isfinite(expected)):
        raise ValueError("numbers where none are expected, or none where they are")
    finite = numpy.isfinite(expected)
    if not finite.any():
        return 0.0
    scale = max(1e-3, float(numpy.abs(expected[finite]).max()))
    return float(numpy.abs(got[finite] - expected[finite]).max()) / scale


def check(path):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for run in json.loads(path.with_suffix(".json").read_text()):
        names = list(run["outputs"])
        outputs = session.run(names, {session.get_inputs()[0].name: array(run["input"])})
        for name, got in zip(names, outputs):
            worst = max(worst, far(got.astype(numpy.float32), array(run["outputs"][name])))
    return worst


def main():
    onnxruntime.set_default_logger_severity(3)
    results = {}
    for path in sorted(pathlib.Path(sys.argv[1]).glob("*.onnx")):
        try:
            results[path.stem] = {"far": check(path)}
        except Exception as error:  # what a runtime says is what the test shows
            results[path.stem] = {"error": str(error)[:600]}
    print(json.dumps(results))


if __name__ == "__main__":
    main()
