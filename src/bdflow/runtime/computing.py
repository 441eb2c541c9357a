"""How networks are run."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Computing:
    """How networks are run. Restored samples differ by at most one level of 255, but for OpenVINO.

    Attributes:
        tile: The side of a tile in pixels of the photograph; a tile may have another shape of as many pixels.
            Larger pictures are computed in overlapping tiles. Memory grows with the square. None takes 1280,
            or more for a model with a long reach. A random Z may need larger tiles, and then takes them.
        threads: Processor threads for one picture; None takes all cores.
        device: `cpu`, `cuda`, `coreml`, `directml`, or `auto` for the best one that is available.
        backend: `onnxruntime`; `openvino`, about twice as fast on processors with bfloat16, whose results
            differ by a few levels; or `torch`, which needs no other runtime for CUDA.
    """

    tile: int | None = None
    threads: int | None = None
    device: str = "auto"
    backend: str = "onnxruntime"

    @property
    def differs(self) -> str | None:
        """What may give other pixels than ONNX Runtime on a CPU does, such as `torch on cuda`; else None."""
        if self.backend == "onnxruntime" and self.device in ("auto", "cpu"):
            return None
        return f"{self.backend} on {self.device}"


DEFAULT = Computing()
"""ONNX Runtime on the best device, with all cores."""
