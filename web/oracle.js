// node oracle.js MODEL WEIGHTS SAMPLES HEIGHT WIDTH: a restoration network's own graph on onnxruntime-web, and this
// package's kernels with the exported weights, on the same samples; how far apart they are, as JSON.

import { readFileSync } from "node:fs";

import { networkByOrt } from "./by-ort.js";
import { Network } from "./src/network.js";
import { Wasm } from "./src/wasm.js";
import { readWeights } from "./src/weights.js";

const [model, weights, path, ...sides] = process.argv.slice(2);
const [height, width] = sides.map(Number);
const samples = new Uint8Array(readFileSync(path));

/** @param {Pick<Network, "restore"> | null} network */
async function restored(network) {
  if (!network) throw new Error("onnxruntime-web is not installed");
  const result = samples.slice();
  for await (const _ of network.restore(result, height, width, [1, 0, 0, 0.25, 0.4, 0.16, 1, 1, 0]));
  return result;
}

const ours = await restored(new Network(readWeights(new Uint8Array(readFileSync(weights))), await Wasm.start()));
const oracle = await restored(await networkByOrt(model, 0));
const furthest = (/** @type {Uint8Array} */ a, /** @type {Uint8Array} */ b) =>
  a.reduce((most, level, i) => Math.max(most, Math.abs(level - b[i])), 0);
console.log(JSON.stringify({ furthest: furthest(ours, oracle), changed: furthest(ours, samples) }));
