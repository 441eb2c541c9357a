"""What computes the networks: ONNX Runtime, OpenVINO or torch, on the processor or an accelerator."""

import ctypes
import os
import threading
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bdflow.errors import BDFlowError
from bdflow.runtime.computing import Computing
from bdflow.system.extras import needs
from bdflow.system.files import reason
from bdflow.system.offline import hidden, onnxruntime
from bdflow.zoo import Model

# Tensors by name, to those that the network gives. May be called from several threads.
Session: TypeAlias = Callable[[dict[str, NDArray[Any]]], list[NDArray[Any]]]

DEVICES = ("auto", "cpu", "cuda", "coreml", "directml")

_CPU = "CPUExecutionProvider"
_ACCELERATORS: dict[str, tuple[str, dict[str, Any]]] = {
    # TensorFloat-32 would round to 10 bits: pictures would come back by several levels other than elsewhere.
    "cuda": ("CUDAExecutionProvider", {"use_tf32": "0"}),
    "directml": ("DmlExecutionProvider", {}),
    "coreml": ("CoreMLExecutionProvider", {}),
}
_COMES_WITH = {
    "cuda": "pip install onnxruntime-gpu instead of onnxruntime",
    "directml": "pip install onnxruntime-directml instead of onnxruntime, on Windows",
    "coreml": "it comes with onnxruntime on macOS",
}
# CoreML is in every onnxruntime for macOS, and may compute in half precision: only when asked for.
_AUTOMATIC = ("cuda", "directml")


def choose(device: str, backend: str = "onnxruntime") -> str:
    """The device that `auto` stands for here; any other is itself.

    Raises:
        BDFlowError: There is no such backend or device, or the one that is installed cannot use the other.
    """
    if backend not in BACKENDS:
        raise BDFlowError(f"no backend {backend!r}: choose one of {', '.join(BACKENDS)}")
    if device not in DEVICES:
        raise BDFlowError(f"no device {device!r}: choose one of {', '.join(DEVICES)}")
    if backend != "onnxruntime":
        needs(backend, what=f"backend {backend}")
        usable = _devices_of_torch() if backend == "torch" else ["cpu"]
        if device not in ("auto", *usable):
            raise BDFlowError(f"{backend} cannot use {device} here: choose {' or '.join(usable)}")
        return usable[-1] if device == "auto" else device
    usable_devices = available()
    if device == "auto":
        return next((name for name in _AUTOMATIC if name in usable_devices), "cpu")
    if device not in usable_devices:
        raise BDFlowError(f"the installed ONNX Runtime cannot use {device}: {_COMES_WITH[device]}")
    return device


def available() -> list[str]:
    """The processor, and whatever else the installed ONNX Runtime can use."""
    providers = onnxruntime.get_available_providers()
    return ["cpu", *(name for name, (provider, _) in _ACCELERATORS.items() if provider in providers)]


def load(model: Model, graph: str, computing: Computing) -> Session:
    """One of a model's networks, ready to run.

    Args:
        model: A verified model folder.
        graph: `down`, `up` or `sample`.
        computing: How it is run. `auto` falls back on the processor where a driver is missing; torch has
            one number of threads for the whole process.

    Raises:
        BDFlowError: It cannot be loaded, or the device does not work; of the network itself: it failed.
    """
    if graph not in model.graphs:
        raise BDFlowError(f"model {model.name} has no {graph}.onnx: {model.title} does not do that")
    backend = computing.backend
    try:
        run, accelerated = BACKENDS[backend](model, graph, computing.device, computing.threads)
    except BDFlowError:
        raise
    except Exception as error:  # the backends' own classes, which share no base
        path = model.folder / f"{graph}.onnx"
        raise BDFlowError(f"{path}: {_NAMES[backend]} cannot load it: {reason(error)}") from error
    # Accelerators have less memory, and DirectML bears one run at a time.
    turn = threading.Lock() if accelerated else nullcontext()

    def guarded(tensors: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        try:
            with turn:
                return run(tensors)
        except Exception as error:  # most often memory ran out
            raise BDFlowError(f"{_NAMES[backend]} failed: {reason(error)}") from error

    return guarded


class Sessions:
    """The networks of one model, each loaded when first used. Safe to share between threads.

    A forked child has the parent's networks without their threads: it would wait for these for ever, at the
    latest when it ends. It leaves them as they are, and loads its own.

    Args:
        model: A verified model folder.
        computing: How it is run.

    Raises:
        BDFlowError: The device or the backend cannot be used here.
    """

    def __init__(self, model: Model, computing: Computing) -> None:
        choose(computing.device, computing.backend)
        self._model, self._computing = model, computing
        self._lock = threading.Lock()
        self._loaded: dict[str, Session] = {}
        self._refused = False  # what this backend began in the parent hinders it here
        _every_sessions.add(self)

    def __call__(self, graph: str) -> Session:
        """What computes one graph (`down`, `up` or `sample`).

        Raises:
            BDFlowError: As `load`; or a process was forked after torch or OpenVINO had computed.
        """
        if self._refused:
            raise forked(_NAMES[self._computing.backend])
        with self._lock:
            if graph not in self._loaded:
                self._loaded[graph] = load(self._model, graph, self._computing)
            return self._loaded[graph]

    def _abandon(self) -> None:
        """What a forked child does."""
        if self._loaded:
            # One reference more than there are: not even the interpreter's end frees them.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._loaded))
            self._refused = self._computing.backend != "onnxruntime"
        self._loaded, self._lock = {}, threading.Lock()


def forked(name: str) -> BDFlowError:
    """What a backend says that had computed before its process was forked."""
    return BDFlowError(
        f"{name} has computed before this process was forked, and cannot go on here: start processes by"
        ' "spawn" or "forkserver", or compute in children alone'
    )


_every_sessions: weakref.WeakSet[Sessions] = weakref.WeakSet()


def _abandon_all() -> None:
    for sessions in list(_every_sessions):
        sessions._abandon()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_abandon_all)


# Each loads a network, and says whether an accelerator runs it.


def _onnxruntime(model: Model, graph: str, device: str, threads: int | None) -> tuple[Session, bool]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.enable_mem_pattern = False  # it would set memory for a second tile beside the first's
    options.log_severity_level = 3
    chosen = choose(device)
    providers = [_CPU] if chosen == "cpu" else [_ACCELERATORS[chosen], _CPU]
    session = onnxruntime.InferenceSession(model.folder / f"{graph}.onnx", options, providers)
    provider = session.get_providers()[0]
    if device not in ("auto", "cpu") and provider != _ACCELERATORS[chosen][0]:
        raise BDFlowError(f"{device} does not work here (no such device, or no driver): take --device cpu")
    return (lambda tensors: session.run(None, tensors)), provider != _CPU


def _openvino(model: Model, graph: str, device: str, threads: int | None) -> tuple[Session, bool]:
    with hidden("openvino_telemetry"):  # else its mere import would report to its maker
        import openvino

    core = openvino.Core()
    # bfloat16 halves the time and moves pictures by some levels; what it costs is in docs/performance.md.
    half = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    settings = {"INFERENCE_PRECISION_HINT": "bf16" if half else "f32", "PERFORMANCE_HINT": "LATENCY"}
    if threads:
        settings["INFERENCE_NUM_THREADS"] = str(threads)
    compiled = core.compile_model(model.folder / f"{graph}.onnx", "CPU", settings)

    def run(tensors: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        # A request of its own: those of several threads must not share one, nor what it gives.
        outputs = compiled.create_infer_request().infer(tensors)
        return [np.asarray(outputs[output]) for output in compiled.outputs]

    return run, False


def _torch(model: Model, graph: str, device: str, threads: int | None) -> tuple[Session, bool]:
    import torch

    from bdflow.zoo.loading import load_graph

    if threads:
        torch.set_num_threads(threads)
    where = torch.device(choose(device, "torch"))
    network = load_graph(model.folder, graph)
    network = network.to(where, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def run(tensors: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        moved = {name: torch.from_numpy(tensor).to(where) for name, tensor in tensors.items()}
        # As above, no TensorFloat-32.
        with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
            outputs = network(**moved)
        return [output.cpu().numpy() for output in (outputs if isinstance(outputs, tuple) else (outputs,))]

    return run, where.type != "cpu"


def _devices_of_torch() -> list[str]:
    import torch

    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


BACKENDS = {"onnxruntime": _onnxruntime, "openvino": _openvino, "torch": _torch}
_NAMES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "torch": "torch"}
