/** Restore and shrink photographs in a worker. */

import { BDFlowError } from "./errors.js";

/**
 * @typedef {import("./inspect.js").Domain} Domain
 * @typedef {"light" | "fidelity" | "look"} Purpose
 * @typedef {object} Computing
 * @property {Purpose} [for] Which network restores: `light` (unless told or configured), small and quick; `fidelity`,
 *   closest in its samples; or `look`, closest to the eye. A PNG names its own model.
 * @property {string | URL} [weights] Folder that `bdflow export MODEL --web DIR` wrote, instead of the configured one.
 * @property {import("./store.js").Backend} [backend] What computes: `webgpu`, `wasm`, or `auto` (unless told), which
 *   takes WebGPU where there is a graphics processor.
 * @property {(share: number, stage: "weights" | "picture") => void} [onProgress] Told shares from 0 to 1.
 * @property {AbortSignal} [signal] Cancels.
 * @typedef {object} Result
 * @property {number} [scale] Of a file that lost its metadata: how many times smaller it is. Without it such a file is
 *   taken as it is.
 * @property {Domain} [domain] Of such a file; `photos` unless told.
 * @property {string} [type] Of a blob; `image/png` unless told.
 * @property {number} [quality] Of a blob in a lossy type, 0 to 1.
 * @typedef {Computing & Result} Options
 */

const settings = {
  weights: new URL("./weights/", import.meta.url).href,
  runtime: new URL("./ort/", import.meta.url).href,
  for: /** @type {Purpose} */ ("light"),
};

/**
 * Settings for all that follows.
 * @param {object} wanted
 * @param {string | URL} [wanted.weights] Address of the folder that `bdflow export MODEL --web DIR` wrote; unless told it
 *   is `weights/` beside this module.
 * @param {Purpose} [wanted.for] Which network restores where nothing else is said.
 * @param {string | URL} [wanted.runtime] With `bdflow/ort`: address of onnxruntime-web's files; unless told it is `ort/`
 *   beside this module.
 */
export function configure({ weights, for: purpose, runtime }) {
  if (weights) settings.weights = absolute(weights, true);
  if (runtime) settings.runtime = absolute(runtime, true);
  if (purpose) settings.for = purpose;
}

let start = () => new Worker(new URL("./worker.js", import.meta.url), { type: "module" });

/** Another worker for all that follows: see ort.js. @param {() => Worker} another */
export function runIn(another) {
  start = another;
  worker = undefined; // what it is still doing it does to the end
}

/** @type {Worker | undefined} */
let worker;
let count = 0;
/** @type {Map<number, (answer: import("./jobs.js").Answer) => void>} */
const waiting = new Map();

function started() {
  if (!worker) {
    worker = start();
    worker.onmessage = ({ data }) => waiting.get(data.id)?.(data);
    worker.onerror = (event) => {
      // Nothing more will come from it: the next picture starts another.
      for (const [id, hear] of waiting)
        hear({ id, error: `the worker cannot run: ${event.message || "the page's policy, or its address, forbids it"}` });
      worker = undefined;
    };
  }
  return worker;
}

/**
 * Restore the photograph that a small file stands for, at exactly its size.
 * @overload
 * @param {Blob | string | URL} source The file, or its address (another site's must allow CORS).
 * @param {Options & { as?: "blob" }} [options]
 * @returns {Promise<Blob>}
 */
/**
 * @overload
 * @param {Blob | string | URL} source
 * @param {Options & { as: "bitmap" }} options
 * @returns {Promise<ImageBitmap>}
 */
/**
 * @overload
 * @param {Blob | string | URL} source
 * @param {Options & { as: "pixels" }} options
 * @returns {Promise<ImageData>}
 */
/**
 * @param {Blob | string | URL} source
 * @param {Options & { as?: import("./decode.js").Kind }} [options]
 * @returns {Promise<any>}
 * @throws {BDFlowError} What one can mend, in a line; the signal's reason where it was cancelled.
 */
export function restore(source, options = {}) {
  const { as = "blob", type = "image/png", quality, scale, domain } = options;
  return ask(source, options, { task: "restore", stripped: { scale, domain }, coding: { as, type, quality } });
}

/**
 * Shrink a photograph into a small file of at most so many bytes, as for an upload. Factor and quality are those that
 * restore closest; a megapixel takes as long as some four restorations.
 * @param {Blob | string | URL} source A picture that the browser can decode, opaque.
 * @param {Computing & { bytes: number, domain?: Domain, type?: "image/webp" | "image/jpeg" }} options
 *   `domain`: what it shall be restored as; `photos` unless told, `plain` for no network. `type`: `image/webp` unless told, which Safari cannot
 *   write.
 * @returns {Promise<Blob>}
 * @throws {BDFlowError} As `restore`; and where so few bytes do not do.
 */
export function shrink(source, options) {
  const { bytes, domain = "photos", type = "image/webp" } = options;
  return ask(source, options, { task: "shrink", target: { bytes, domain, type } });
}

/**
 * @param {Blob | string | URL} source
 * @param {Computing} options
 * @param {object} task What the worker shall do.
 * @returns {Promise<any>}
 */
function ask(source, { for: purpose = settings.for, weights, backend = "auto", onProgress, signal }, task) {
  const folder = weights ? absolute(weights, true) : settings.weights;
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const id = count++;
    const worker = started();
    const cancelled = () => {
      worker.postMessage({ cancel: id });
      finish();
      reject(signal?.reason);
    };
    const finish = () => {
      waiting.delete(id);
      signal?.removeEventListener("abort", cancelled);
    };
    signal?.addEventListener("abort", cancelled);
    waiting.set(id, ({ stage, share, result, error }) => {
      if (stage) return onProgress?.(/** @type {number} */ (share), stage);
      finish();
      if (result) resolve(result);
      else reject(new BDFlowError(error));
    });
    worker.postMessage({
      id,
      source: source instanceof Blob ? source : absolute(source),
      folder,
      purpose,
      backend,
      runtime: settings.runtime,
      ...task,
    });
  });
}

/** As the page means it; a worker would count from its own address. @param {string | URL} address @param {boolean} [isFolder] */
function absolute(address, isFolder = false) {
  const { href } = new URL(address, document.baseURI);
  return isFolder && !href.endsWith("/") ? `${href}/` : href;
}
