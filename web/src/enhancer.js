/** A thumbnail's pixels to the photograph's, tile by tile; the same as src/bdflow/runtime/enhancer.py. */

import { BDFlowError } from "./errors.js";
import { describe, multiples } from "./inspect.js";
import { continued, enlarged } from "./resample.js";
import { cut } from "./tiles.js";

const TILE = 1280; // pixels each way that are computed at once; memory grows with the square
const GRID = 8; // the network takes sides that are multiples of it

/**
 * Restore a thumbnail.
 * @param {Uint8ClampedArray} rgba Its pixels as decoded, not premultiplied.
 * @param {import("./inspect.js").Thumbnail} header What the file says.
 * @param {import("./network.js").Network | null} network Not needed where the domain is `plain`.
 * @param {number} [tile] Pixels of the photograph, each way, that are computed at once.
 * @returns {AsyncGenerator<number, Uint8ClampedArray<ArrayBuffer>>} The share that is done, again and again; at last the
 *   photograph, four bytes a pixel.
 */
export async function* restoring(rgba, header, network, tile = TILE) {
  const { factor, size: [width, height], thumbnail: [across, down] } = header;
  const { colours, alpha, gray } = planes(rgba, across, down, multiples(factor)[1]);
  const side = cell(factor);
  const grid = [Math.ceil(height / side), Math.ceil(width / side)];
  const halo = network ? Math.ceil(network.halo / side) : 0;
  if (Math.floor(tile / side) <= 2 * halo)
    throw new BDFlowError(`a tile of ${tile} pixels is too small: take ${(2 * halo + 1) * side} or more`);
  const [rows, columns] = cut(grid[0], grid[1], Math.floor(tile / side), halo);
  const known = describe(header);
  const result = new Uint8ClampedArray(width * height * 4);
  const times = (/** @type {[number, number]} */ [from, to]) =>
    /** @type {[number, number]} */ ([from * side, to * side]);
  let done = 0;
  for (const row of rows) {
    for (const column of columns) {
      const [seenRows, seenColumns] = [times(row.seen), times(column.seen)];
      const part = enlarged(colours, factor, seenRows, seenColumns);
      if (network)
        for await (const share of network.restore(part.data, part.height, part.width, known))
          yield (done + share) / (rows.length * columns.length);
      done++;
      const [top, bottom] = times(row.kept);
      const [left, right] = times(column.kept);
      const transparency = alpha && enlarged(alpha, factor, [top, bottom], [left, right]).data;
      for (let y = top; y < Math.min(bottom, height); y++)
        for (let x = left; x < Math.min(right, width); x++) {
          const from = ((y - seenRows[0]) * part.width + x - seenColumns[0]) * 3;
          const to = (y * width + x) * 4;
          const r = part.data[from];
          const g = part.data[from + 1];
          const b = part.data[from + 2];
          result[to] = gray ? luma(r, g, b) : r;
          result[to + 1] = gray ? luma(r, g, b) : g;
          result[to + 2] = gray ? luma(r, g, b) : b;
          result[to + 3] = transparency ? transparency[(y - top) * (right - left) + x - left] : 255;
        }
      yield done / (rows.length * columns.length);
    }
  }
  return result;
}

/** ITU-R BT.601, as Pillow rounds. @param {number} r @param {number} g @param {number} b */
export const luma = (r, g, b) => (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16;

/** Pixels, each way, of which tiles have whole numbers. @param {number} factor */
export function cell(factor) {
  const [multiple] = multiples(factor);
  let side = GRID;
  while (side % multiple) side += GRID;
  return side;
}

/**
 * Colours; transparency if there is any; and whether the photograph is gray: no colours differ by more than a level
 * in any pixel.
 * @param {Uint8ClampedArray} rgba
 * @param {number} width
 * @param {number} height
 * @param {number} multiple Pixels, of which there are whole numbers; only somebody else's thumbnail must go on to that.
 */
function planes(rgba, width, height, multiple) {
  const rgb = new Uint8Array(width * height * 3);
  const transparency = new Uint8Array(width * height);
  let [gray, opaque] = [true, true];
  for (let i = 0; i < width * height; i++) {
    const r = (rgb[3 * i] = rgba[4 * i]);
    const g = (rgb[3 * i + 1] = rgba[4 * i + 1]);
    const b = (rgb[3 * i + 2] = rgba[4 * i + 2]);
    const a = (transparency[i] = rgba[4 * i + 3]);
    gray &&= Math.max(r, g, b) - Math.min(r, g, b) <= 1;
    opaque &&= a === 255;
  }
  const whole = (/** @type {Uint8Array} */ data, /** @type {number} */ channels) => {
    const [across, down] = [width, height].map((side) => Math.ceil(side / multiple) * multiple);
    return continued({ data, width, height, channels }, across, down);
  };
  return { colours: whole(rgb, 3), alpha: opaque ? null : whole(transparency, 1), gray };
}
