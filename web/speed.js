// node speed.js FILE PIXELS WEIGHTS MODEL ROUNDS: processor seconds of each restoration, by these kernels and by
// onnxruntime-web in turn, as JSON; for scripts/web_speed.py.

import { readFileSync } from "node:fs";

import { networkByOrt } from "./by-ort.js";
import { restoring } from "./src/enhancer.js";
import { inspect } from "./src/inspect.js";
import { Network } from "./src/network.js";
import { Wasm } from "./src/wasm.js";
import { readWeights } from "./src/weights.js";

const [file, pixels, weights, model, rounds] = process.argv.slice(2);
const header = /** @type {import("./src/inspect.js").Thumbnail} */ (inspect(new Uint8Array(readFileSync(file))));
const ours = new Network(readWeights(new Uint8Array(readFileSync(weights))), await Wasm.start());
const networks = { ours, "onnxruntime-web": await networkByOrt(model, ours.halo) };
/** @type {Record<string, number[]>} */
const seconds = { ours: [], "onnxruntime-web": [] };
for (let round = 0; round < Number(rounds); round++)
  for (const [name, network] of Object.entries(networks)) {
    if (!network) continue;
    const before = process.cpuUsage();
    for await (const _ of restoring(new Uint8ClampedArray(readFileSync(pixels)), header, /** @type {any} */ (network)));
    const { user, system } = process.cpuUsage(before);
    seconds[name].push((user + system) / 1e6);
  }
console.log(JSON.stringify(seconds));
