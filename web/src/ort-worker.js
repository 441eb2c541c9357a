/** The worker of a page that restores PNG files, too: their models run on ONNX Runtime for the web, on one thread. */

import { decodeBoundary } from "./boundary.js";
import { crc32 } from "./checksum.js";
import { BDFlowError } from "./errors.js";
import { listen } from "./jobs.js";
import { decodePng } from "./png.js";
import { fetchModel } from "./store.js";
import { upscaling } from "./upscale.js";

const MODULE = "ort.wasm.bundle.min.mjs"; // of onnxruntime-web's dist
const BINARY = "ort-wasm-simd-threaded.wasm";
const WEIGHTS = "weights.safetensors"; // what the graphs call their weights

/** @typedef {{ manifest: import("./store.js").Manifest, session: any, ort: any }} Model */
/** @type {Map<string, Promise<Model>>} */
const models = new Map();

/** @type {import("./jobs.js").Upscale} */
async function upscale(bytes, header, { folder, runtime }, report) {
  const { model, weights, bits } = header.payload;
  const address = new URL(`${encodeURIComponent(model)}.json`, folder).href;
  let loading = models.get(address);
  if (!loading) {
    loading = load(address, runtime, report);
    models.set(address, loading);
    loading.catch(() => models.delete(address)); // the next one tries again
  }
  const { manifest, session, ort } = await loading;
  if (!manifest.weights.startsWith(weights))
    throw new BDFlowError(`made by other weights of ${model} than ${address} names: export those of the release that made it`);
  if (manifest.model.scale !== header.factor || manifest.model.boundary_bits !== bits)
    throw new BDFlowError("its bdflow chunk contradicts the model that it names: get the file again");
  /** @param {{ [name: string]: { data: Uint8Array, shape: number[] } }} inputs */
  const run = async (inputs) => {
    const feeds = Object.entries(inputs).map(([name, { data, shape }]) => [name, new ort.Tensor("uint8", data, shape)]);
    return (await session.run(Object.fromEntries(feeds))).image.data;
  };
  return (async function* () {
    const { image, levels } = await read(bytes, header);
    return yield* upscaling(image, levels, header, run, manifest.halo);
  })();
}

/** @param {string} address @param {string} runtime @param {(share: number) => void} report @returns {Promise<Model>} */
async function load(address, runtime, report) {
  const module = new URL(MODULE, runtime).href;
  const ort = await import(/* @vite-ignore */ module).catch(() => {
    throw new BDFlowError(`${module} cannot be loaded: say where onnxruntime-web's files are, by configure({ runtime })`);
  });
  ort.env.wasm.numThreads = 1; // more need a page that is isolated from other sites
  ort.env.wasm.wasmPaths = { wasm: new URL(BINARY, runtime).href };
  const { manifest, files: [weights, graph] } = await fetchModel(address, report);
  if (!graph) throw new BDFlowError(`${address} names no graph: export the model again`);
  const session = await ort.InferenceSession.create(graph, {
    externalData: [{ path: WEIGHTS, data: weights }],
    enableMemPattern: false, // it would set memory for a second tile beside the first's
    logSeverityLevel: 3,
  });
  return { manifest, session, ort };
}

/** Samples and boundary map. @param {Uint8Array<ArrayBuffer>} bytes @param {import("./inspect.js").Downscaled} header */
async function read(bytes, { payload, thumbnail: [width, height] }) {
  const image = await decodePng(bytes);
  const { rgba } = image;
  const rgb = rgba.filter((_, i) => i % 4 < 3);
  const alpha = rgba.filter((_, i) => i % 4 === 3);
  const opaque = alpha.every((level) => level === 255); // optimisers drop such alpha, other programs add it
  const colours = crc32(rgb);
  if (crc32(alpha, colours) !== payload.checksum && !(opaque && colours === payload.checksum))
    console.warn("bdflow: the small picture's pixels were changed since it was made: expect artefacts");
  const { boundary, bits } = payload;
  const levels = boundary.length ? await decodeBoundary(boundary.slice(), height, width, bits) : new Uint8Array(width * height);
  return { image: { rgb, alpha: opaque ? null : alpha, width, height, gray: image.gray || payload.gray }, levels };
}

listen(upscale);
