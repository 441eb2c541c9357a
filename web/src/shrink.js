/** A photograph to a small file of at most so many bytes, by the browser's own encoder. */

import { insert } from "./containers.js";
import { decode } from "./decode.js";
import { restoring } from "./enhancer.js";
import { BDFlowError } from "./errors.js";
import { DOMAINS, FACTORS, inspect, multiples, pack } from "./inspect.js";
import { shrunk } from "./resample.js";

/**
 * @typedef {object} Target
 * @property {number} bytes That the file may have, everything counted.
 * @property {import("./inspect.js").Domain} domain
 * @property {"image/webp" | "image/jpeg"} type
 */

const SMALLEST = 8; // pixels of a thumbnail's shorter side
const PATIENCE = 2; // factors that may restore worse than the best before it, until no more are tried

/**
 * Shrink a photograph: by each factor to the best quality that fits, of which the one is taken that restores closest.
 * @param {ImageData} photograph Opaque.
 * @param {import("./network.js").Network | null} network Not needed where the domain is `plain`.
 * @param {Target} target
 * @returns {AsyncGenerator<number, Blob>} The share that is done at most; at last the file.
 */
export async function* shrinking({ data, width, height }, network, { bytes, domain, type }) {
  const rgb = new Uint8Array(width * height * 3);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) rgb[3 * i + c] = data[4 * i + c];
    if (data[4 * i + 3] < 255) throw new BDFlowError("the photograph is transparent: a page shrinks opaque ones");
  }
  const image = { data: rgb, width, height, channels: 3 };
  const factors = FACTORS.filter((factor, i) => i === 0 || Math.min(width, height) / factor >= SMALLEST);
  let best = { error: Infinity, file: /** @type {Uint8Array<ArrayBuffer> | null} */ (null), factor: 0 };
  let worse = 0;
  for (const [tried, factor] of factors.entries()) {
    const [large, small] = multiples(factor);
    const beyond = [width, height].map((side) => (Math.ceil(side / large) * large - side));
    const payload = pack(FACTORS.indexOf(factor), DOMAINS.indexOf(domain), beyond);
    const file = await fitting(shrunk(image, [large, small]), payload, bytes, type);
    yield tried / factors.length;
    if (!file) continue;
    const header = /** @type {import("./inspect.js").Thumbnail} */ (inspect(file));
    const steps = restoring(await decode(file, header), header, network);
    for (let step = await steps.next(); ; step = await steps.next()) {
      if (!step.done) {
        yield (tried + step.value) / factors.length;
        continue;
      }
      const error = distance(step.value, data);
      worse = error < best.error ? 0 : worse + 1;
      if (error < best.error) best = { error, file, factor };
      break;
    }
    if (worse === PATIENCE) break;
  }
  if (!best.file) throw new BDFlowError(`${bytes} bytes are too few for this photograph: allow more`);
  return new Blob([best.file], { type });
}

/**
 * The file of the best quality that fits; null where none does.
 * @param {import("./resample.js").Samples} thumbnail
 * @param {Uint8Array} payload
 * @param {number} most Bytes.
 * @param {string} type
 */
async function fitting({ data, width, height }, payload, most, type) {
  const canvas = new OffscreenCanvas(width, height);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
  const pixels = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) pixels.data.set([data[3 * i], data[3 * i + 1], data[3 * i + 2], 255], 4 * i);
  context.putImageData(pixels, 0, 0);
  let [fits, tooMuch] = [-1, 100]; // at 100 a browser's WebP is lossless, of which no quality is known
  let best = null;
  while (tooMuch - fits > 1) {
    const quality = (fits + tooMuch) >> 1;
    const coded = await canvas.convertToBlob({ type, quality: quality / 100 });
    if (coded.type !== type) throw new BDFlowError(`this browser cannot write ${type}: take image/jpeg`);
    const file = insert(new Uint8Array(await coded.arrayBuffer()), payload);
    if (file.length > most) tooMuch = quality;
    else [fits, best] = [quality, file];
  }
  return best;
}

/** Sum of squared differences of the colours. @param {Uint8ClampedArray} a @param {Uint8ClampedArray} b */
function distance(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) if (i % 4 < 3) sum += (a[i] - b[i]) ** 2;
  return sum;
}
