/** PNG pixels, exactly: by way of a canvas those under transparency change, by half of all levels and more. */

import { chunks, view } from "./containers.js";
import { BDFlowError } from "./errors.js";
import { inflated } from "./inflate.js";

const CHANNELS = [1, 0, 3, 1, 2, 0, 4]; // by colour type; 3 is a palette

/**
 * Decode a PNG of at most 8 bits a sample.
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @returns {Promise<{ rgba: Uint8ClampedArray<ArrayBuffer>, gray: boolean }>} Four bytes a pixel, not premultiplied; and
 *   whether it is stored as gray.
 */
export async function decodePng(bytes) {
  /** @type {Map<string, Uint8Array<ArrayBuffer>>} */
  const found = new Map();
  const coded = [];
  for (const [kind, content] of chunks(bytes))
    if (kind === "IDAT") coded.push(content);
    else found.set(kind, content);
  const header = /** @type {Uint8Array<ArrayBuffer>} */ (found.get("IHDR"));
  const [width, height] = [view(header).getUint32(0), view(header).getUint32(4)];
  const [depth, colours, , , interlaced] = header.subarray(8);
  const channels = CHANNELS[colours] ?? 0;
  if (!channels || depth > 8 || interlaced)
    throw new BDFlowError("bdflow writes PNGs of 8 bits a sample, without interlacing, and reads no others in a page");
  const line = Math.ceil((width * channels * depth) / 8);
  const size = height * (1 + line);
  const rows = await inflated(await joined(coded), "deflate", size).catch(() => null);
  if (rows?.length !== size) throw new BDFlowError("the PNG is damaged or cut short: get it again");
  unfilter(rows, line, Math.max(1, (channels * depth) >> 3));
  return { rgba: expanded(rows, width, height, depth, colours, found), gray: colours === 0 || colours === 4 };
}

/** @param {BlobPart[]} parts */
const joined = async (parts) => new Uint8Array(await new Blob(parts).arrayBuffer());

/**
 * Undo each row's filter, in place (PNG, 9.2).
 * @param {Uint8Array} rows Each behind a byte that names its filter.
 * @param {number} line Bytes of a row.
 * @param {number} step Bytes of a pixel, at least 1.
 */
function unfilter(rows, line, step) {
  for (let start = 1; start < rows.length; start += line + 1) {
    const filter = rows[start - 1];
    if (filter > 4) throw new BDFlowError("the PNG is damaged: get it again");
    for (let i = 0, at = start; filter && i < line; i++, at++) {
      const left = i < step ? 0 : rows[at - step];
      const above = start === 1 ? 0 : rows[at - line - 1];
      const corner = start === 1 || i < step ? 0 : rows[at - line - 1 - step];
      if (filter === 1) rows[at] += left;
      else if (filter === 2) rows[at] += above;
      else if (filter === 3) rows[at] += (left + above) >> 1;
      else rows[at] += paeth(left, above, corner);
    }
  }
}

/** @param {number} left @param {number} above @param {number} corner */
function paeth(left, above, corner) {
  const [a, b, c] = [Math.abs(above - corner), Math.abs(left - corner), Math.abs(left + above - 2 * corner)];
  return a <= b && a <= c ? left : b <= c ? above : corner;
}

/**
 * Samples to four bytes a pixel.
 * @param {Uint8Array} rows @param {number} width @param {number} height @param {number} depth @param {number} colours
 * @param {Map<string, Uint8Array>} found The other chunks.
 */
function expanded(rows, width, height, depth, colours, found) {
  const channels = CHANNELS[colours];
  const line = rows.length / height;
  const [most, unit] = [2 ** depth - 1, colours === 3 ? 1 : 255 / (2 ** depth - 1)];
  const palette = found.get("PLTE") ?? new Uint8Array();
  const alphas = found.get("tRNS"); // of the palette; or, in 16 bits each, the samples of one colour that is transparent
  const rgba = new Uint8ClampedArray(width * height * 4).fill(255);
  for (let y = 0, to = 0; y < height; y++)
    for (let x = 0; x < width; x++, to += 4) {
      let isKey = alphas && colours < 3;
      for (let c = 0; c < channels; c++) {
        const bit = (x * channels + c) * depth;
        const sample = (rows[y * line + 1 + (bit >> 3)] >> (8 - depth - (bit & 7))) & most;
        rgba[to + (channels === 2 ? 3 * c : c)] = sample * unit; // gray and alpha
        isKey &&= sample === alphas?.[2 * c + 1];
      }
      const [index] = rgba.subarray(to, to + 1);
      if (colours === 3) {
        for (let c = 0; c < 3; c++) rgba[to + c] = palette[3 * index + c];
        rgba[to + 3] = alphas?.[index] ?? 255;
      } else if (channels < 3) rgba[to + 1] = rgba[to + 2] = index;
      if (isKey) rgba[to + 3] = 0;
    }
  return rgba;
}
