/** What a worker does: fetches and decodes as asked, and restores or shrinks one picture after the other. */

import { decode, decodePhotograph, encode } from "./decode.js";
import { restoring } from "./enhancer.js";
import { BDFlowError } from "./errors.js";
import { inspect } from "./inspect.js";
import { shrinking } from "./shrink.js";
import { findNetwork } from "./store.js";

/**
 * @typedef {object} Common
 * @property {number} id
 * @property {Blob | string} source
 * @property {string} folder Address of the models.
 * @property {string} purpose Which restoration network: what its name ends in.
 * @property {import("./store.js").Backend} backend
 * @property {string} runtime Address of ONNX Runtime's files.
 * @typedef {Common & { task: "restore", stripped: { scale?: number, domain?: import("./inspect.js").Domain },
 *   coding: import("./decode.js").Coding }} Restoring
 * @typedef {Common & { task: "shrink", target: import("./shrink.js").Target }} Shrinking
 * @typedef {object} Answer One or more follow on a job: progress, and a result or an error.
 * @property {number} id
 * @property {Stage} [stage]
 * @property {number} [share]
 * @property {Blob | ImageBitmap | ImageData} [result]
 * @property {string} [error] What a user can mend.
 * @typedef {"weights" | "picture"} Stage
 * @typedef {(bytes: Uint8Array<ArrayBuffer>, header: import("./inspect.js").Downscaled, job: Restoring,
 *   report: (share: number) => void) => Promise<AsyncGenerator<number, Uint8ClampedArray<ArrayBuffer>>>} Upscale What
 *   restores a PNG: the steps to the photograph, ready to be taken.
 * @typedef {(stage: Stage) => (share: number) => void} Report
 */

const PAUSE = 40; // milliseconds of work after which messages are read
const worker = /** @type {any} */ (globalThis);
/** @type {Map<number, AbortController>} */
const running = new Map();
/** @type {Promise<unknown>} */
let last = Promise.resolve();

/** Do what the page asks for from now on. @param {Upscale} upscale */
export function listen(upscale) {
  worker.onmessage = (/** @type {MessageEvent<Restoring | Shrinking | { cancel: number }>} */ { data }) => {
    if ("cancel" in data) running.get(data.cancel)?.abort();
    else answer(data, upscale);
  };
}

/** @param {Restoring | Shrinking} job @param {Upscale} upscale */
async function answer(job, upscale) {
  const { id } = job;
  const controller = new AbortController();
  running.set(id, controller);
  /** @type {Report} */
  const report = (stage) => (share) => worker.postMessage({ id, stage, share });
  try {
    const { signal } = controller;
    const result = await (job.task === "restore" ? restored(job, signal, report, upscale) : shrunk(job, signal, report));
    const moved = result instanceof ImageData ? [result.data.buffer] : result instanceof ImageBitmap ? [result] : [];
    worker.postMessage({ id, result }, moved);
  } catch (error) {
    // One that is no BDFlowError is a fault of ours or of the browser's; the page hears of it all the same.
    const message = String(error instanceof BDFlowError ? error.message : error);
    if (!controller.signal.aborted) worker.postMessage({ id, error: message });
  } finally {
    running.delete(id);
  }
}

/** @param {Restoring} job @param {AbortSignal} signal @param {Report} report @param {Upscale} upscale */
async function restored(job, signal, report, upscale) {
  const bytes = await bytesOf(job.source, signal);
  const header = inspect(bytes, job.stripped);
  const steps = "payload" in header ? upscale(bytes, header, job, report("weights")) : enhance(bytes, header, job, report("weights"));
  const ready = await steps;
  return inTurn(async () => {
    const pixels = await finish(ready, signal, report("picture"));
    return encode(new ImageData(pixels, ...header.size), job.coding);
  });
}

/** @param {Uint8Array<ArrayBuffer>} bytes @param {import("./inspect.js").Thumbnail} header @param {Restoring} job @param {(share: number) => void} report */
async function enhance(bytes, header, job, report) {
  const network = await networkOf(job, header.domain, report);
  return (async function* () {
    return yield* restoring(await decode(bytes, header), header, network);
  })();
}

/** @param {Common} job @param {import("./inspect.js").Domain} domain @param {(share: number) => void} report */
const networkOf = async ({ folder, purpose, backend }, domain, report) =>
  domain === "plain" ? null : findNetwork(new URL(`restoration-${purpose}.json`, folder).href, backend, report);

/** @param {Shrinking} job @param {AbortSignal} signal @param {Report} report */
async function shrunk(job, signal, report) {
  const bytes = await bytesOf(job.source, signal);
  const network = await networkOf(job, job.target.domain, report("weights"));
  return inTurn(async () =>
    finish(shrinking(await decodePhotograph(bytes), network, job.target), signal, report("picture")),
  );
}

/**
 * Do some work when all earlier is done.
 * @template T
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
function inTurn(work) {
  const mine = last.then(work);
  last = mine.catch(() => {});
  return mine;
}

/**
 * The result of some steps, between which messages are read and progress is told.
 * @template T
 * @param {AsyncGenerator<number, T>} steps
 * @param {AbortSignal} signal
 * @param {(share: number) => void} report
 * @returns {Promise<T>}
 */
async function finish(steps, signal, report) {
  for (let read = performance.now(); ; ) {
    signal.throwIfAborted();
    const { done, value } = await steps.next();
    if (done) return value;
    if (performance.now() - read < PAUSE) continue;
    report(value);
    await messages();
    read = performance.now();
  }
}

/** @param {Blob | string} source @param {AbortSignal} signal @returns {Promise<Uint8Array<ArrayBuffer>>} */
async function bytesOf(source, signal) {
  if (typeof source !== "string") return new Uint8Array(await source.arrayBuffer());
  const response = await fetch(source, { signal }).catch(() => null);
  const why = response?.status ?? "no connection, or its server allows no CORS";
  if (!response?.ok) throw new BDFlowError(`${source} cannot be fetched (${why})`);
  return new Uint8Array(await response.arrayBuffer());
}

/** Let messages that have come be read. */
const messages = () =>
  new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve(null);
    };
    port2.postMessage(null);
  });
