/** What runs beside the page: fetches and decodes as asked, and restores one picture after the other. */

import { decode, encode } from "./decode.js";
import { restoring } from "./enhancer.js";
import { BDFlowError } from "./errors.js";
import { inspect } from "./inspect.js";
import { findNetwork } from "./store.js";

/**
 * @typedef {object} Job
 * @property {number} id
 * @property {Blob | string} source
 * @property {string} manifest Address of the weights' manifest.
 * @property {import("./store.js").Backend} backend
 * @property {{ scale?: number, domain?: import("./inspect.js").Domain }} stripped
 * @property {import("./decode.js").Coding} coding
 * @typedef {object} Answer One or more follow on a job: progress, and a result or an error.
 * @property {number} id
 * @property {"weights" | "picture"} [stage]
 * @property {number} [share]
 * @property {Blob | ImageBitmap | ImageData} [result]
 * @property {string} [error] What a user can mend.
 */

const PAUSE = 40; // milliseconds of work after which messages are read
const worker = /** @type {any} */ (globalThis);
/** @type {Map<number, AbortController>} */
const running = new Map();
/** @type {Promise<unknown>} */
let last = Promise.resolve();

worker.onmessage = (/** @type {MessageEvent<Job | { cancel: number }>} */ { data }) => {
  if ("cancel" in data) running.get(data.cancel)?.abort();
  else answer(data);
};

/** @param {Job} job */
async function answer(job) {
  const { id } = job;
  const controller = new AbortController();
  running.set(id, controller);
  try {
    const result = await restored(job, controller.signal);
    worker.postMessage({ id, result }, result instanceof ImageData ? [result.data.buffer] : result instanceof ImageBitmap ? [result] : []);
  } catch (error) {
    // One that is no BDFlowError is a fault of ours or of the browser's; the page hears of it all the same.
    if (!controller.signal.aborted) worker.postMessage({ id, error: String(error instanceof BDFlowError ? error.message : error) });
  } finally {
    running.delete(id);
  }
}

/** @param {Job} job @param {AbortSignal} signal */
async function restored({ id, source, manifest, backend, stripped, coding }, signal) {
  const report = (/** @type {"weights" | "picture"} */ stage) => (/** @type {number} */ share) =>
    worker.postMessage({ id, stage, share });
  const bytes = await bytesOf(source, signal);
  const header = inspect(bytes, stripped);
  const network = header.domain === "plain" ? null : await findNetwork(manifest, backend, report("weights"));
  const turn = last;
  let done = () => {};
  last = new Promise((resolve) => (done = () => resolve(null)));
  try {
    await turn;
    signal.throwIfAborted();
    const steps = restoring(await decode(bytes, header), header, network);
    for (let read = performance.now(); ; ) {
      const { done, value } = await steps.next();
      if (done) return await encode(new ImageData(value, ...header.size), coding);
      if (performance.now() - read < PAUSE) continue;
      report("picture")(value);
      await messages();
      signal.throwIfAborted();
      read = performance.now();
    }
  } finally {
    done();
  }
}

/** @param {Blob | string} source @param {AbortSignal} signal @returns {Promise<Uint8Array<ArrayBuffer>>} */
async function bytesOf(source, signal) {
  if (typeof source !== "string") return new Uint8Array(await source.arrayBuffer());
  const response = await fetch(source, { signal }).catch(() => null);
  if (!response?.ok)
    throw new BDFlowError(`${source} cannot be fetched (${response?.status ?? "no connection, or its server allows no CORS"})`);
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
