// node oracle.js MODEL WEIGHTS SAMPLES HEIGHT WIDTH: a restoration network's own graph on onnxruntime-web, and this
// package's kernels with the exported weights, on the same samples; how far apart they are, as JSON.

import { readFileSync } from "node:fs";

import * as ort from "onnxruntime-web/wasm";

import { Network } from "./src/network.js";
import { Wasm } from "./src/wasm.js";
import { readWeights } from "./src/weights.js";

const [model, weights, path, ...sides] = process.argv.slice(2);
const [height, width] = sides.map(Number);
const samples = new Uint8Array(readFileSync(path));
const known = [1, 0, 0, 0.25, 0.4, 0.16, 1, 1, 0];

ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create(readFileSync(`${model}/up.onnx`), {
  externalData: [{ path: "weights.safetensors", data: readFileSync(`${model}/weights.safetensors`) }],
});
const planes = samples.map((_, i) => samples[(i % (height * width)) * 3 + Math.floor(i / (height * width))]);
const { image } = await session.run({
  plain: new ort.Tensor("uint8", planes, [1, 3, height, width]),
  known: new ort.Tensor("float32", known, [1, 9]),
});

const network = new Network(readWeights(new Uint8Array(readFileSync(weights))), await Wasm.start());
const restored = samples.slice();
for await (const _ of network.restore(restored, height, width, known));

let [furthest, changed] = [0, 0];
for (let i = 0; i < samples.length; i++) {
  const oracle = image.data[(i % 3) * height * width + Math.floor(i / 3)];
  furthest = Math.max(furthest, Math.abs(restored[i] - oracle));
  changed = Math.max(changed, Math.abs(restored[i] - samples[i]));
}
console.log(JSON.stringify({ furthest, changed }));
