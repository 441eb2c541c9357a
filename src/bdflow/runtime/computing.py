"""How networks are run."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Computing:
    """How networks are run; what they restore is the same, but for a level here and there.

    Attributes:
        tile: Pixels of the photograph, each way, that are computed at once, or as many in another shape;
            larger pictures are worked through in overlapping tiles. Memory grows with its square. None takes
            1280, or more for a flow that looks so far around that most would be overlap. A draw of Z takes
            what it needs, if that is more.
        threads: Processor threads for one picture; None takes all cores.
        device: `cpu`, `cuda`, `coreml`, `directml`, or `auto` for the best of them that is there.
        backend: `onnxruntime`; `openvino`, about twice as fast on processors with bfloat16, for a few
            levels' difference; or `torch`, which needs no other runtime for CUDA.
    """

    tile: int | None = None
    threads: int | None = None
    device: str = "auto"
    backend: str = "onnxruntime"

    @property
    def differs(self) -> str | None:
        """What restores other pixels than ONNX Runtime does on a processor, such as `torch on cuda`."""
        if self.backend == "onnxruntime" and self.device in ("auto", "cpu"):
            return None
        return f"{self.backend} on {self.device}"


DEFAULT = Computing()
"""ONNX Runtime on the best device, with all cores."""
