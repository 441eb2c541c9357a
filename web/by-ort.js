// A restoration network as Network is, but its own graph on onnxruntime-web: the oracle of the kernels, and their rival.

import { readFileSync } from "node:fs";

/** @typedef {import("./src/network.js").Network} Network */

/**
 * On one thread, or null where onnxruntime-web is not installed.
 * @param {string} model A model folder.
 * @param {number} halo
 * @returns {Promise<Pick<Network, "halo" | "restore"> | null>}
 */
export async function networkByOrt(model, halo) {
  const ort = await import("onnxruntime-web/wasm").catch(() => null);
  if (!ort) return null;
  ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create(readFileSync(`${model}/up.onnx`), {
    externalData: [{ path: "weights.safetensors", data: readFileSync(`${model}/weights.safetensors`) }],
  });
  return {
    halo,
    async *restore(samples, height, width, known) {
      const plane = height * width;
      const planes = new Uint8Array(samples.length);
      for (let i = 0; i < plane; i++) for (let c = 0; c < 3; c++) planes[c * plane + i] = samples[3 * i + c];
      const { image } = await session.run({
        plain: new ort.Tensor("uint8", planes, [1, 3, height, width]),
        known: new ort.Tensor("float32", known, [1, known.length]),
      });
      for (let i = 0; i < plane; i++) for (let c = 0; c < 3; c++) samples[3 * i + c] = image.data[c * plane + i];
      yield 1;
    },
  };
}
