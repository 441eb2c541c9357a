"""What computes the network: the processor, or an accelerator that ONNX Runtime was built for."""

from typing import Any, TypeAlias

import onnxruntime

from bdflow.errors import BDFlowError

Provider: TypeAlias = tuple[str, dict[str, Any]]

_CPU = "CPUExecutionProvider"
_ACCELERATORS: dict[str, Provider] = {
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


def choose(device: str) -> str:
    """The device that ``auto`` stands for here; any other is itself.

    Raises:
        BDFlowError: There is no such device, or the installed ONNX Runtime cannot use it.
    """
    names = ("auto", "cpu", *_ACCELERATORS)
    if device not in names:
        raise BDFlowError(f"no device {device!r}: choose one of {', '.join(names)}")
    there = available()
    if device == "auto":
        return next((name for name in _AUTOMATIC if name in there), "cpu")
    if device not in there:
        raise BDFlowError(f"the installed ONNX Runtime cannot use {device}: {_COMES_WITH[device]}")
    return device


def available() -> list[str]:
    """The processor, and whatever else the installed ONNX Runtime can use."""
    there = onnxruntime.get_available_providers()
    return ["cpu", *(name for name, (provider, _) in _ACCELERATORS.items() if provider in there)]


def providers(device: str) -> list[Any]:
    """ONNX Runtime's execution providers for a device that :func:`choose` gave, best first."""
    return [_CPU] if device == "cpu" else [_ACCELERATORS[device], _CPU]


def check_used(session: Any, device: str) -> None:
    """Refuse a session that fell back on the processor, as ONNX Runtime does where a driver is missing.

    Raises:
        BDFlowError: It did.
    """
    if device != "cpu" and session.get_providers()[0] != _ACCELERATORS[device][0]:
        raise BDFlowError(f"{device} does not work here (no such device, or no driver): take --device cpu")
