// node speed.js FILE PIXELS WEIGHTS ROUNDS: processor seconds of each restoration, as JSON; for scripts/web_speed.py.

import { readFileSync } from "node:fs";

import { restoring } from "./src/enhancer.js";
import { inspect } from "./src/inspect.js";
import { Network } from "./src/network.js";
import { Wasm } from "./src/wasm.js";
import { readWeights } from "./src/weights.js";

const [file, pixels, weights, rounds] = process.argv.slice(2);
const header = inspect(new Uint8Array(readFileSync(file)));
const network = new Network(readWeights(new Uint8Array(readFileSync(weights))), await Wasm.start());
const seconds = [];
for (let round = 0; round < Number(rounds); round++) {
  const before = process.cpuUsage();
  for await (const _ of restoring(new Uint8ClampedArray(readFileSync(pixels)), header, network));
  const { user, system } = process.cpuUsage(before);
  seconds.push((user + system) / 1e6);
}
console.log(JSON.stringify(seconds));
