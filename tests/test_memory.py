"""What memory a whole process takes at most, on pictures far larger than a tile."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bdflow
from bdflow import zoo

if sys.platform != "linux":
    pytest.skip("only Linux tells a process's own peak", allow_module_level=True)

MIB = 1 << 20
PEAK = """
import sys
from bdflow.cli.main import main
status = main(sys.argv[1:])
print(open("/proc/self/status").read())  # getrusage tells of a child no less than of its parent
sys.exit(status)
"""


def peak(*arguments: str | Path) -> int:
    """Bytes that a command line takes at most, the libraries included."""
    command = [sys.executable, "-c", PEAK, *map(str, arguments), "--trust"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", done.stdout)[1])


def photograph(path: Path, side: int) -> Path:
    """Smooth, so that it is quickly written."""
    coarse = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(coarse).resize((side, side), Image.Resampling.BILINEAR).save(path, quality=90)
    return path


def test_memory_follows_the_tile_and_one_decoded_copy(tiny, tmp_path):
    """Sixteen times the picture costs its pixels as Pillow decodes them and as an array: 7 bytes each.
    Restoring costs the small picture, and a row of tiles."""
    model, peaks = tiny("tiny-x4"), []
    for side in (1000, 4000):
        photo = photograph(tmp_path / f"{side}.bmp", side)
        small, out = tmp_path / f"{side}.x4.png", tmp_path / f"{side}.out.png"
        options = ("-m", model, "--tile", 512, "--threads", 1)
        down = peak("downscale", photo, "-o", small, *options)
        peaks.append((down, peak("upscale", small, "-o", out, *options)))
        with Image.open(out) as restored:
            assert restored.size == (side, side)
    (down, up), (large_down, large_up) = peaks
    assert large_down - down < 7.5 * 15e6 + 20 * MIB
    assert large_up - up < 1.5 * 15e6 + 20 * MIB  # the whole picture would be 3 bytes per pixel, or more


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in bdflow.list_models() if zoo.find(name).scale <= 16])
def test_a_hundred_megapixels_in_a_gibibyte(name, tmp_path, record_property):
    photo, small = photograph(tmp_path / "photo.jpg", 10_000), tmp_path / "small.png"
    down = peak("downscale", photo, "-m", name, "-o", small)
    up = peak("upscale", small, "-m", name, "-o", tmp_path / "out.png")
    record_property("MiB down", down // MIB)
    record_property("MiB up", up // MIB)
    assert max(down, up) < 1024 * MIB
