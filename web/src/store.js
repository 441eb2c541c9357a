/** Models by the address of their manifest: fetched once, checked by SHA-256, kept by the Cache API. */

import { BDFlowError } from "./errors.js";
import { Network } from "./network.js";
import { Wasm } from "./wasm.js";
import { WebGPU } from "./webgpu.js";
import { readWeights } from "./weights.js";

const CACHE = "bdflow-weights";

/**
 * @typedef {{ file: string, bytes: number, sha256: string }} Sealed A file, and what it must be.
 * @typedef {Sealed & { version: number, name: string, weights: string, halo: number, model: any, graph?: Sealed }} Manifest
 *   What `bdflow export --web` writes; the graph is there of a PNG's model.
 */

/** @type {Map<string, Promise<Network>>} */
const networks = new Map();

/** @typedef {"auto" | "webgpu" | "wasm"} Backend What computes; auto takes a graphics processor where there is one. */

/**
 * The network of a manifest. Whoever asks while it is being fetched shares the download.
 * @param {string} address Of `MODEL.json`.
 * @param {Backend} backend
 * @param {(share: number) => void} report Of the download.
 * @returns {Promise<Network>}
 */
export function findNetwork(address, backend, report) {
  const name = `${backend} ${address}`;
  let found = networks.get(name);
  if (!found) {
    found = load(address, backend, report, () => networks.delete(name));
    networks.set(name, found);
    found.catch(() => networks.delete(name)); // the next one tries again
  }
  return found;
}

/** @param {string} address @param {Backend} backend @param {(share: number) => void} report @param {() => void} lost */
async function load(address, backend, report, lost) {
  const [bytes] = (await fetchModel(address, report)).files;
  const weights = readWeights(bytes);
  const gpu = backend === "wasm" ? null : await WebGPU.start(backend === "webgpu").catch(() => null);
  if (backend === "webgpu" && !gpu) throw new BDFlowError("this browser gives no WebGPU: leave the backend out");
  gpu?.lost.then(lost);
  return new Network(weights, gpu ?? (await Wasm.start()));
}

/**
 * A manifest, and the files that it seals: the weights, and of a PNG's model the graph.
 * @param {string} address
 * @param {(share: number) => void} report
 */
export async function fetchModel(address, report) {
  if (!globalThis.crypto?.subtle)
    throw new BDFlowError("weights are checked by SHA-256, which browsers do for https and localhost alone");
  const cache = await caches.open(CACHE).catch(() => null); // a private window may refuse
  const manifest = await fetchManifest(address, cache);
  const sealed = manifest.graph ? [manifest, manifest.graph] : [manifest];
  const all = sealed.reduce((sum, { bytes }) => sum + bytes, 0);
  const files = [];
  let before = 0;
  for (const each of sealed) {
    files.push(await fetchSealed(each, address, cache, (bytes) => report((before + bytes) / all)));
    before += each.bytes;
  }
  await forgetEarlier(cache, address, manifest.name, sealed);
  return { manifest, files };
}

/** @param {Sealed} sealed @param {string} address @param {Cache | null} cache @param {(bytes: number) => void} report */
async function fetchSealed(sealed, address, cache, report) {
  const url = new URL(sealed.file, address).href;
  const kept = await cache?.match(url);
  if (kept) {
    const bytes = new Uint8Array(await kept.arrayBuffer());
    if (await isOf(bytes, sealed)) return bytes;
  }
  const bytes = await download(url, sealed.bytes, report);
  if (!(await isOf(bytes, sealed)))
    throw new BDFlowError(`${url} is not the file that ${address} names: export the weights again, all files`);
  await keep(cache, url, new Response(bytes));
  return bytes;
}

/** Files of earlier releases of a model. @param {Cache | null} cache @param {string} address @param {string} name @param {Sealed[]} sealed */
async function forgetEarlier(cache, address, name, sealed) {
  const start = new URL(`${encodeURIComponent(name)}-`, address).href;
  const used = sealed.map(({ file }) => new URL(file, address).href);
  for (const { url } of (await cache?.keys()) ?? []) {
    const isOfModel = url.startsWith(start) && /^[0-9a-f]{8}\.\w+$/.test(url.slice(start.length));
    if (isOfModel && !used.includes(url)) await cache?.delete(url);
  }
}

/** Its last copy where there is no network. @param {string} address @param {Cache | null} cache @returns {Promise<Manifest>} */
async function fetchManifest(address, cache) {
  let response;
  try {
    response = await fetched(address);
    await keep(cache, address, response.clone());
  } catch (error) {
    response = await cache?.match(address);
    if (!response) throw error;
  }
  const manifest = await response.json().catch(() => ({}));
  if (manifest.version !== 1) throw new BDFlowError(`${address} is no manifest of weights that this bdflow knows`);
  return manifest;
}

/** @param {Cache | null} cache @param {string} url @param {Response} response */
const keep = (cache, url, response) => cache?.put(url, response).catch(() => {}); // there may be no room

/** @param {string} url */
async function fetched(url) {
  const response = await fetch(url).catch(() => null);
  if (!response?.ok) throw new BDFlowError(`${url} cannot be fetched (${response?.status ?? "no connection, or CORS"})`);
  return response;
}

/** @param {string} url @param {number} size @param {(bytes: number) => void} report */
async function download(url, size, report) {
  const response = await fetched(url);
  const bytes = new Uint8Array(size);
  let place = 0;
  const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return bytes.slice(0, place);
    if (place + value.length > size) throw new BDFlowError(`${url} is longer than its manifest says`);
    bytes.set(value, place);
    place += value.length;
    report(place);
  }
}

/** @param {Uint8Array<ArrayBuffer>} bytes @param {Sealed} sealed */
async function isOf(bytes, { sha256 }) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("") === sha256;
}
