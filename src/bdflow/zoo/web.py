"""Models for web pages: files that may be cached for good, and a small one that names and seals them.

`NAME.json` is what a page asks for: it tells each file's name, bytes and SHA-256. Files are named after
their digest. A restoration network is one file of the safetensors format, in float16 or int8, which the
JavaScript package computes with by itself (`web/src/weights.js`). A PNG's model is two, the graph `up`
and the weights that it points into, as they are: for ONNX Runtime (`web/src/ort-worker.js`).
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bdflow.errors import BDFlowError
from bdflow.system.files import make_folder, write_bytes
from bdflow.zoo import RESTORATION, WEIGHTS, Model, read_header

VERSION = 1
Precision = Literal["float16", "int8"]
STEP = ".step"  # behind the name of an int8 tensor: what one level is worth, for each output channel
_DTYPES: dict[str, np.dtype[Any]] = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4"), "I8": np.dtype("i1")}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


def export_web(model: Model, folder: Path, precision: Precision = "int8") -> Path:
    """Write a model for web pages.

    Args:
        model: Of `bdflow.zoo.find`.
        folder: Made if missing; files of an earlier export of the model are replaced or left alone.
        precision: Of a restoration network: `float16`; or `int8`, where each output channel of a layer
            is stored as whole numbers of a step of its own, in half as many bytes. A PNG's model is copied:
            its files name the weights by their digest.

    Returns:
        The path of `NAME.json`.

    Raises:
        BDFlowError: The folder cannot be written.
    """
    network = model.metadata["model"]
    facts: dict[str, Any] = {
        "name": model.name,
        "model": network,
        "halo": model.halo,
        "reach": model.reach,
        "weights": model.weights_sha256,
    }
    make_folder(folder)
    if network.get("network") == RESTORATION:
        tensors = read_tensors(model.folder / WEIGHTS)
        facts["precision"] = precision
        facts |= _write(pack(quantized(tensors) if precision == "int8" else tensors, facts), folder, model)
    else:
        facts |= _write((model.folder / WEIGHTS).read_bytes(), folder, model)
        facts["graph"] = _write((model.folder / "up.onnx").read_bytes(), folder, model, ".onnx")
    path = folder / f"{model.name}.json"
    manifest = {"version": VERSION, **facts}
    write_bytes(path, (json.dumps(manifest, indent=1) + "\n").encode(), overwrite=True)
    return path


def _write(data: bytes, folder: Path, model: Model, ending: str = ".safetensors") -> dict[str, Any]:
    """A file named after its digest, and what the manifest says of it."""
    digest = hashlib.sha256(data).hexdigest()
    name = f"{model.name}-{digest[:8]}{ending}"
    write_bytes(folder / name, data, overwrite=True)
    return {"file": name, "bytes": len(data), "sha256": digest}


def quantized(tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """All that multiplies in int8, each output channel with its step; biases as they are."""
    result: dict[str, NDArray[Any]] = {}
    for name, values in tensors.items():
        if values.ndim < 2:
            result[name] = values
            continue
        exact = values.astype(np.float32)
        step = np.abs(exact).reshape(len(exact), -1).max(axis=1) / np.float32(127)
        step[step == 0] = 1  # all is 0
        result[name] = np.rint(exact / along(step, exact)).astype(np.int8)
        result[name + STEP] = step
    return result


def restored(tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
    """The numbers that a page computes with, of what `quantized` or a float16 file holds."""
    result = {}
    for name, values in tensors.items():
        if not name.endswith(STEP):
            exact = values.astype(np.float32)
            step = tensors.get(name + STEP)
            result[name] = exact if step is None else exact * along(step, exact)
    return result


def along(step: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
    """One number for each output channel, shaped to multiply a layer's."""
    return step.reshape(-1, *[1] * (values.ndim - 1))


def pack(tensors: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> bytes:
    """A safetensors file: 8 bytes of length (little endian), a JSON header, the numbers."""
    header: dict[str, Any] = {"__metadata__": {"bdflow": json.dumps(facts)}}
    end = 0
    for name, values in tensors.items():
        start, end = end, end + values.nbytes
        header[name] = {
            "dtype": _NAMES[values.dtype],
            "shape": values.shape,
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(values.tobytes() for values in tensors.values())


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """The numbers of a safetensors file, as they are stored.

    Raises:
        BDFlowError: They are of a type that bdflow does not write.
    """
    header = read_header(path)
    header.pop("__metadata__")
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    tensors = {}
    for name, entry in header.items():
        if entry["dtype"] not in _DTYPES:
            raise BDFlowError(f"{path}: {name} is of type {entry['dtype']}: export the model again")
        begin, end = entry["data_offsets"]
        values = np.frombuffer(data[start + begin : start + end], _DTYPES[entry["dtype"]])
        tensors[name] = values.reshape(entry["shape"])
    return tensors
