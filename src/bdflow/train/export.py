"""Training state to a model folder: weights, graphs that point into them, and the proof that they agree."""

import dataclasses
import hashlib
import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnx import TensorProto, helper
from onnxscript.optimizer import remove_unused_nodes
from safetensors.torch import save
from torch import Tensor, nn

from bdflow import zoo
from bdflow.errors import BDFlowError
from bdflow.networks.build import count_multiply_adds, count_parameters
from bdflow.networks.facts import DOWN, SAMPLE, UP
from bdflow.networks.network import Down, Network, Up
from bdflow.networks.restoration import GRID, Restoration, Restore, multiply_adds
from bdflow.networks.stored import TOP, to_levels
from bdflow.system.offline import onnxruntime
from bdflow.train.config import RestorationTrainConfig, TrainConfig, read_saved, to_dict
from bdflow.train.green import network_of
from bdflow.train.state import LAST, read_state
from bdflow.zoo import SUMS, WEIGHTS, read_header
from bdflow.zoo.loading import load_weights

OPSET = 20


def export_run(run: Path, out: Path) -> dict[str, float]:
    """Export what a run folder holds; see `export`.

    Raises:
        BDFlowError: The folder holds no state; or as `export`.
    """
    if not (run / LAST).is_file():
        raise BDFlowError(f"{run}: no {LAST} in it; give the folder that `bdflow train` wrote")
    state = read_state(run)
    config = read_saved(state["config"])
    origin = state["origin"] or {}
    training = {
        "steps": state["step"] + origin.get("steps", 0),
        "seconds": round(state["seconds"] + origin.get("seconds", 0)),
        "origin": state["origin"],
        "machine": state["machine"],
        "precision": state.get("precision"),  # None: of a run from before it was kept
        "command": config.card.command or f"bdflow train configs/{config.name}.toml --data DIR --out RUN",
        "data": config.card.data,
        "history": config.card.history,
        "limits": config.card.limits,
    }
    weights = state["ema"] if config.optim.ema else state["model"]
    if isinstance(config, RestorationTrainConfig):
        network = Restoration(config.model)
        network.load_state_dict(weights)
        return export_restoration(config.name, network, out, {**training, "config": to_dict(config)})
    return export(config, weights, out, training)


def export(
    config: TrainConfig,
    weights: Mapping[str, Tensor],
    out: Path,
    training: Mapping[str, Any],
    dtype: torch.dtype = torch.float16,
) -> dict[str, float]:
    """Write a model folder and check it against torch.

    Args:
        config: Goes into the metadata whole.
        weights: A state dict of the network.
        out: The model folder; made if missing. An older export in it is replaced once the new one is proven,
            and its card left alone. Among the package's own models, the list of those is brought up to date.
        training: What else the metadata shall record (steps, seconds, data).
        dtype: How the numbers are stored; both directions compute in float32.

    Returns:
        The parity: largest difference in levels between torch and ONNX Runtime, each way.

    Raises:
        BDFlowError: `out` holds other files, or the graphs do not compute what torch does.
    """
    with torch.device("meta"):
        empty = network_of(config)
    sizes = {"parameters": count_parameters(empty), "multiply_adds": count_multiply_adds(empty)}
    metadata = {
        "name": config.name,
        "model": to_dict(config.model),
        "facts": dataclasses.asdict(empty.facts),
        "training": {**training, **sizes, "config": to_dict(config)},
    }

    def write_graphs(folder: Path) -> dict[str, float]:
        model = load_weights(network_of(config), folder / WEIGHTS)
        for graph in model.facts.graphs:
            write_graph(model, graph, folder)
        return check_parity(model, folder)

    return publish(out, weights, metadata, write_graphs, dtype)


def export_restoration(
    name: str, model: Restoration, out: Path, training: Mapping[str, Any], dtype: torch.dtype = torch.float16
) -> dict[str, float]:
    """`export` for a network that restores thumbnails in ordinary codecs."""
    config = dataclasses.asdict(model.config)
    sizes = {"parameters": count_parameters(model), "multiply_adds_per_pixel": multiply_adds(model.config)}
    facts = dataclasses.asdict(model.facts)
    metadata = {"name": name, "model": config, "facts": facts, "training": {**training, **sizes}}

    def write_graphs(folder: Path) -> dict[str, float]:
        stored = Restore(load_weights(Restoration(model.config), folder / WEIGHTS))
        rng = np.random.default_rng(0)
        coarse = torch.from_numpy(rng.random((1, 3, 6, 9), dtype=np.float32))
        sides = 5 * GRID, 7 * GRID
        picture = nn.functional.interpolate(coarse, sides, mode="bicubic").clamp(0, 1)
        plain, known = to_levels(picture, TOP), torch.full((1, model.config.facts), 0.5)
        down, across = torch.export.Dim("down", min=1), torch.export.Dim("across", min=1)
        shapes = {"plain": {2: GRID * down, 3: GRID * across}, "known": {}}
        inputs = {"plain": plain, "known": known}
        _trace(stored, inputs, shapes, ["image"], folder / f"{UP}.onnx", folder)
        session = onnxruntime.InferenceSession(folder / f"{UP}.onnx")
        (pixels,) = session.run(None, {key: value.numpy() for key, value in inputs.items()})
        with torch.no_grad():
            by_torch = stored(plain, known)
        parity = float(np.abs(pixels.astype(int) - by_torch.numpy()).max())
        if parity > 1:
            raise BDFlowError(f"the exported graph differs from torch by {parity:.0f} levels: not exported")
        return {UP: parity}

    return publish(out, model.state_dict(), metadata, write_graphs, dtype)


def publish(
    out: Path,
    weights: Mapping[str, Tensor],
    metadata: Mapping[str, Any],
    write_graphs: Callable[[Path], dict[str, float]],
    dtype: torch.dtype,
) -> dict[str, float]:
    """Write a model folder, whole or not at all.

    Args:
        out: The model folder; see `export`.
        weights: What is stored.
        metadata: What is said of it.
        write_graphs: Writes the graphs into a folder that holds the weights; gives their parity with torch.
        dtype: How the numbers are stored.
    """
    if out.exists() and not (out / WEIGHTS).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise BDFlowError(f"{out}: holds other files; choose a new folder or that of an older export")
    stored = {key: value.detach().to("cpu", dtype).contiguous() for key, value in weights.items()}
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".export-") as temporary:
        folder = Path(temporary)
        (folder / WEIGHTS).write_bytes(save(stored, {"bdflow": json.dumps(metadata)}))
        parity = write_graphs(folder)
        files = [WEIGHTS, *sorted(path.name for path in folder.glob("*.onnx"))]
        sums = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files}
        (folder / SUMS).write_text("".join(f"{digest}  {name}\n" for name, digest in sums.items()))
        for name in (*files, SUMS):
            (folder / name).replace(out / name)
    if out.resolve().parent == zoo.BUILT_IN.resolve():
        zoo.list_built_in()
    return parity


def write_graph(model: Network, graph: str, out: Path) -> None:
    """Write `down`, `up` or `sample` into a folder that holds the weights."""
    scale, bits = model.config.scale, model.storage.bits
    n, h, w = 1, torch.export.Dim("h", min=1), torch.export.Dim("w", min=1)
    grid = {2: h, 3: w}
    image = torch.zeros(n, 3, 3 * scale, 5 * scale, dtype=torch.uint8)
    small, boundary = image[..., ::scale, ::scale], image[:, :1, ::scale, ::scale]
    latent = torch.zeros(n, model.latent_channels, 3, 5)
    full = {2: scale * h, 3: scale * w}
    lr_names = ["small", "boundary"] if bits else ["small"]
    lr = (small, boundary) if bits else (small,)
    path = out / f"{graph}.onnx"
    if graph == DOWN:
        _trace(Down(model), {"image": image}, {"image": full}, lr_names, path, out)
        return
    inputs = dict(zip(lr_names, lr, strict=True)) | ({"latent": latent} if graph == SAMPLE else {})
    _trace(Up(model), inputs, dict.fromkeys(inputs, grid), ["image"], path, out)


def _trace(
    module: nn.Module,
    inputs: dict[str, Tensor],
    shapes: dict[str, Any],
    outputs: list[str],
    path: Path,
    folder: Path,
) -> None:
    """Export one direction and let its initialisers point into the safetensors file beside it."""
    # What the exporter says of torchvision, of names and of deprecations inside torch helps nobody here.
    for name in ("torch.onnx", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(),
            kwargs=inputs,
            dynamic_shapes=shapes,
            input_names=list(inputs),
            output_names=outputs,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
            optimize=False,
        )
        assert program is not None
        header = read_header(folder / WEIGHTS)
        # What is computed from weights alone (a scale from its logarithm) must not be folded into the graph:
        # it would be a second copy of the numbers. The optimiser leaves alone what it takes for an input.
        graph, signature = program.model.graph, len(inputs)
        graph.inputs.extend(
            w for name, w in graph.initializers.items() if name.removeprefix("model.") in header
        )
        program.optimize()
        del graph.inputs[signature:]
        remove_unused_nodes(program.model)
    proto = program.model_proto
    with (folder / WEIGHTS).open("rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
    casts = []
    for tensor in proto.graph.initializer:
        key = tensor.name.removeprefix("model.")
        if key not in header:
            continue  # a constant of the graph itself
        entry, name = header[key], tensor.name
        begin, end = entry["data_offsets"]
        tensor.ClearField("raw_data")
        tensor.ClearField("float_data")
        tensor.data_location = TensorProto.EXTERNAL
        for field, value in (("location", WEIGHTS), ("offset", start + begin), ("length", end - begin)):
            tensor.external_data.add(key=field, value=str(value))
        if entry["dtype"] == "F16":
            tensor.data_type = TensorProto.FLOAT16
            tensor.name = name + ".stored"
            # ONNX Runtime folds these casts when it loads the graph.
            casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    for node in proto.graph.node:  # the exporter's notes on source lines are larger than the graph
        del node.metadata_props[:]
    del proto.graph.value_info[:]
    del proto.metadata_props[:]
    path.write_bytes(proto.SerializeToString())


def check_parity(model: Network, folder: Path) -> dict[str, float]:
    """Largest difference in 8-bit levels between torch and ONNX Runtime on a random smooth picture."""

    scale = model.config.scale
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.random((1, 3, 6, 9), dtype=np.float32))
    picture = nn.functional.interpolate(coarse, (5 * scale, 7 * scale), mode="bicubic").clamp(0, 1)
    image = (picture * 255).round().to(torch.uint8)
    graphs = model.facts.graphs
    with torch.no_grad():
        small, *boundary = Down(model)(image) if DOWN in graphs else (image[..., ::scale, ::scale],)
        restored = Up(model)(small, *boundary)
    names = ["small", "boundary"][: 1 + len(boundary)]
    lr = dict(zip(names, (t.numpy() for t in (small, *boundary)), strict=True))
    zeros = np.zeros((1, model.latent_channels, *small.shape[-2:]), np.float32)
    inputs = {DOWN: {"image": image.numpy()}, UP: lr, SAMPLE: lr | {"latent": zeros}}
    parity = {}
    for graph in graphs:
        session = onnxruntime.InferenceSession(folder / f"{graph}.onnx")
        pixels, *levels = session.run(None, inputs[graph])
        for plane, expected in zip(levels, boundary if graph == DOWN else (), strict=True):
            if (plane != expected.numpy()).mean() > 0.05:  # one may fall on the other side of a rounding
                raise BDFlowError("the exported graph's boundary map differs from torch's: not exported")
        by_torch = small if graph == DOWN else restored
        parity[graph] = float(np.abs(pixels.astype(int) - by_torch.numpy()).max())
    if max(parity.values()) > 1:
        raise BDFlowError(
            f"the exported graphs differ from torch by {max(parity.values()):.0f} levels: not exported"
        )
    return parity
