/** A PNG's pixels to the photograph's, tile by tile; the same as src/bdflow/runtime/rescaler.py. */

import { luma } from "./enhancer.js";
import { BICUBIC, enlarged } from "./resample.js";
import { cut } from "./tiles.js";

const TILE = 640; // pixels of the photograph, each way, that are computed at once; they take some 230 bytes each

/**
 * @typedef {object} Image
 * @property {Uint8ClampedArray} rgb
 * @property {Uint8ClampedArray | null} alpha
 * @property {number} width
 * @property {number} height
 * @property {boolean} gray Whether the photograph is.
 */

/**
 * Restore a photograph.
 * @param {Image} image The LR image.
 * @param {Uint8Array} levels The boundary map, as large.
 * @param {import("./inspect.js").Downscaled} header
 * @param {(inputs: { [name: string]: { data: Uint8Array, shape: number[] } }) => Promise<Uint8Array>} run The graph `up`.
 * @param {number} halo How far, in the photograph's pixels, a tile must see beyond what is kept of it.
 * @param {number} [tile] Pixels of the photograph, each way, that are computed at once; at least three halos.
 * @returns {AsyncGenerator<number, Uint8ClampedArray<ArrayBuffer>>} The share that is done, again and again; at last the
 *   photograph, four bytes a pixel.
 */
export async function* upscaling(image, levels, { factor, size, payload }, run, halo, tile = TILE) {
  const { rgb, alpha, width, height, gray } = image;
  const limit = Math.floor(Math.max(tile, 3 * halo) / factor);
  const [rows, columns] = cut(height, width, limit, Math.ceil(halo / factor));
  const result = new Uint8ClampedArray(size[0] * size[1] * 4);
  const colours = { data: rgb, width, height, channels: 3 };
  const transparency = alpha && { data: alpha, width, height, channels: 1 };
  const times = (/** @type {[number, number]} */ [from, to]) =>
    /** @type {[number, number]} */ ([from * factor, to * factor]);
  let done = 0;
  for (const row of rows)
    for (const column of columns) {
      const [down, across] = [times(row.kept), times(column.kept)];
      const [seenDown, seenAcross] = [times(row.seen), times(column.seen)];
      const made = payload.bicubic
        ? planar(enlarged(colours, factor, seenDown, seenAcross, BICUBIC).data, 3)
        : await run(inputs(image, levels, payload.bits, row.seen, column.seen));
      const line = seenAcross[1] - seenAcross[0];
      const plane = line * (seenDown[1] - seenDown[0]);
      const veil = transparency && enlarged(transparency, factor, down, across, BICUBIC).data;
      for (let y = down[0]; y < Math.min(down[1], size[1]); y++)
        for (let x = across[0]; x < Math.min(across[1], size[0]); x++) {
          const from = (y - seenDown[0]) * line + x - seenAcross[0];
          const to = (y * size[0] + x) * 4;
          const [r, g, b] = [made[from], made[from + plane], made[from + 2 * plane]];
          result[to] = gray ? luma(r, g, b) : r;
          result[to + 1] = gray ? luma(r, g, b) : g;
          result[to + 2] = gray ? luma(r, g, b) : b;
          result[to + 3] = veil ? veil[(y - down[0]) * (across[1] - across[0]) + x - across[0]] : 255;
        }
      yield ++done / (rows.length * columns.length);
    }
  return result;
}

/**
 * What the graph is given of some rows and columns.
 * @param {Image} image @param {Uint8Array} levels @param {number} bits @param {number[]} rows @param {number[]} columns
 */
function inputs({ rgb, width }, levels, bits, [top, bottom], [left, right]) {
  const [h, w] = [bottom - top, right - left];
  const small = new Uint8Array(3 * h * w);
  const boundary = new Uint8Array(h * w);
  for (let y = 0, to = 0; y < h; y++)
    for (let x = 0; x < w; x++, to++) {
      const from = (top + y) * width + left + x;
      boundary[to] = levels[from];
      for (let c = 0; c < 3; c++) small[c * h * w + to] = rgb[3 * from + c];
    }
  const picture = { small: { data: small, shape: [1, 3, h, w] } };
  return bits ? { ...picture, boundary: { data: boundary, shape: [1, 1, h, w] } } : picture;
}

/** Samples of one channel after the other. @param {Uint8Array} data @param {number} channels */
const planar = (data, channels) =>
  data.map((_, i) => data[((i * channels) % data.length) + Math.floor((i * channels) / data.length)]);
