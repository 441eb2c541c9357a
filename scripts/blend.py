"""Weights part-way from a model to a run that began with it: `python scripts/blend.py RUN SHARE -o NEWRUN`.

Between the two lies what neither is: a run that learned LPIPS gains most of it at a share of 0.75, and keeps
more of the PSNR that it began with (Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022).
`bdflow export NEWRUN -o MODEL` makes a model of it.
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file

from bdflow import BDFlowError
from bdflow.train.state import LAST
from bdflow.zoo import WEIGHTS, find


def blend(run: Path, share: float, out: Path, trust: bool = False) -> None:
    """Write a run folder whose weights (EMA, and the others) are `share` of the way to those of `run`.

    Raises:
        BDFlowError: The share is not from 0 to 1, the run did not begin with a model, or that model has other
            weights by now or another network.
    """
    if not 0 <= share <= 1:
        raise BDFlowError(f"a share is from 0 to 1, not {share:g}")
    state = torch.load(run / LAST, map_location="cpu", weights_only=True)
    if state["origin"] is None:
        raise BDFlowError(f"{run}: it began from nothing; give one that was trained with --from")
    model = find(state["origin"]["model"], trust=trust)
    if model.weights_sha256 != state["origin"]["weights_sha256"]:
        raise BDFlowError(f"{run}: it began with other weights than those that {model.name} has now")
    before = load_file(model.folder / WEIGHTS)
    if {k: v.shape for k, v in before.items()} != {k: v.shape for k, v in state["model"].items()}:
        raise BDFlowError(f"{run}: its network has more levels than that of {model.name}")
    for kind in ("model", "ema"):
        for key, value in state[kind].items():
            state[kind][key] = torch.lerp(before[key].to(value.dtype), value, share)
    out.mkdir(parents=True)  # an error if it is there: a run is never written over
    torch.save(state, out / LAST)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("share", type=float)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--trust", action="store_true", help="take a model that did not come with bdflow")
    given = parser.parse_args()
    try:
        blend(given.run, given.share, given.out, given.trust)
    except (BDFlowError, OSError) as error:
        raise SystemExit(f"blend: {error}") from None
