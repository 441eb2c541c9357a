"""How often a part of a photograph names the model of its domain that restores the whole better.

BDFLOW_DATA=DIR python scripts/domain_choice.py SCALE    (five minutes): results/domain-choice.json

On training pictures that were held out, at half the size or so. What is lost is the mean PSNR of luma
and RGB that the better model restores, less that of the one that was chosen.
"""

import json
import os
import sys
import time
from pathlib import Path

from bdflow import zoo
from bdflow.fitting import rescalers
from bdflow.fitting.estimate import measured
from bdflow.fitting.rescalers import Rescalers
from bdflow.pictures import reader
from bdflow.pictures.reader import Picture
from bdflow.runtime.computing import Computing
from bdflow.runtime.rescaler import Rescaler
from bdflow.system.environment import environment
from bdflow.system.files import write_bytes
from bdflow.train.data import list_pictures, shrink

RESULTS = Path(__file__).parent.parent / "results"
EACH = 8  # pictures of each domain, those that `bdflow.train.trainer` holds out
SIDES = (320, 512)
LEAST = (64 * 64, 128 * 128, 256 * 256)  # pixels that are tried, or a sixteenth if that is more


def pictures(folder: Path) -> list[tuple[str, Picture]]:
    paths = list_pictures([folder], ())
    found = []
    for number in range(EACH):
        path = paths[number * len(paths) // EACH]
        found.append((path.name, Picture(shrink(reader.read(path).rgb, SIDES))))
    return found


def restored(rescaler: Rescaler, picture: Picture) -> float:
    return measured(picture.rgb, [rescaler.rgb(rescaler.downscale(picture))]).mean


def main(scale: str) -> None:
    models = zoo.defaults(int(scale))
    choice, rows = Rescalers(models, Computing(threads=1)), []
    single = [Rescaler(model, Computing(threads=1)) for model in models]
    for domain in ("photos", "portraits"):
        for name, picture in pictures(Path(os.environ["BDFLOW_DATA"]) / domain / "train"):
            start = time.process_time()
            whole = {each.model.name: restored(each, picture) for each in single}
            seconds, best = time.process_time() - start, max(whole.values())
            row = {"domain": domain, "picture": name, "size": [picture.width, picture.height], "whole": whole}
            row |= {"seconds": seconds, "chosen": {}}
            for least in LEAST:
                rescalers._LEAST = least
                start = time.process_time()
                chosen = choice.of([picture]).model.name
                row["chosen"][least] = {
                    "model": chosen,
                    "lost": best - whole[chosen],
                    "seconds": time.process_time() - start,
                }
            rows.append(row)
            print(row, flush=True)
    document = {"scale": int(scale), "share": rescalers._SHARE, "rows": rows, "environment": environment()}
    text = json.dumps(document, indent=1) + "\n"
    write_bytes(str(RESULTS / "domain-choice.json"), text.encode(), overwrite=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
