/** Boundary maps: what src/bdflow/smallfile/boundary.py codes, decoded. */

import { BDFlowError } from "./errors.js";
import { inflated } from "./inflate.js";

const [EMPTY, RAW, DEFLATED, CONTEXT] = [0, 1, 2, 3]; // the code's first byte
const MOST_CODED = 1 << 22; // bits that the arithmetic coder is given
const TOP = 2 ** 32; // the coder's interval is at most so wide, and is widened below BOTTOM
const BOTTOM = 2 ** 24;
const CONTEXTS = 1 << 9;
const COUNT_LIMIT = 1 << 10;

const damaged = (/** @type {string} */ why) => new BDFlowError(`the boundary map is damaged: ${why}`);

/**
 * Decode a map.
 * @param {Uint8Array<ArrayBuffer>} code With at least one byte.
 * @param {number} height
 * @param {number} width
 * @param {number} bits 1 to 3.
 * @returns {Promise<Uint8Array>} Levels, row by row.
 */
export async function decodeBoundary(code, height, width, bits) {
  const [method, body] = [code[0], code.subarray(1)];
  const count = height * width;
  if (method === EMPTY) {
    if (body.length) throw damaged("bytes follow");
    return new Uint8Array(count);
  }
  if (method === RAW || method === DEFLATED) {
    const size = Math.ceil((count * bits) / 8);
    const packed = method === RAW ? body : await inflated(body, "deflate-raw", size).catch(() => null);
    if (packed?.length !== size) throw damaged("its length is wrong");
    const levels = new Uint8Array(count);
    for (let i = 0; i < 8 * size; i++) {
      const bit = (packed[i >> 3] >> (7 - (i & 7))) & 1;
      if (i < count * bits) levels[i % count] = (levels[i % count] << 1) | bit;
      else if (bit) throw damaged("its last byte is overfull");
    }
    return levels;
  }
  if (method !== CONTEXT)
    throw new BDFlowError(`the boundary map has the unknown coding method ${method}: upgrade bdflow`);
  if (count * bits > MOST_CODED) throw damaged(`${width}x${height} is too large for its method`);
  return decodePlanes(body, height, width, bits);
}

/**
 * Bit planes, coarse to fine, by an adaptive binary arithmetic decoder.
 * @param {Uint8Array} code @param {number} height @param {number} width @param {number} bits
 */
function decodePlanes(code, height, width, bits) {
  const ones = new Uint16Array(CONTEXTS); // twice the count, plus 1
  const total = new Uint16Array(CONTEXTS); // twice the count, plus 2
  let [range, value, place] = [TOP, 0, 0];
  const next = () => (place < code.length ? code[place++] : (place++, 0));
  for (let i = 0; i < 4; i++) value = value * 256 + next();
  const decode = (/** @type {number} */ context) => {
    const split = Math.floor(range / total[context]) * ones[context];
    const bit = Number(value < split);
    if (bit) range = split;
    else [value, range] = [value - split, range - split];
    for (; range < BOTTOM; range *= 256) value = value * 256 + next();
    ones[context] += 2 * bit;
    total[context] += 2;
    if (total[context] === COUNT_LIMIT) {
      ones[context] = (ones[context] >> 1) | 1;
      total[context] >>= 1;
    }
    return bit;
  };
  // With a border of zeros: two rows above, one below, a column on either side.
  const line = width + 2;
  let coarse = new Uint8Array(line * (height + 3));
  for (let plane = 0; plane < bits; plane++) {
    const decoded = new Uint8Array(coarse.length); // the plane's bits
    ones.fill(1);
    total.fill(2);
    for (let y = 0; y < height; y++)
      for (let x = 0, at = (y + 2) * line + 1; x < width; x++, at++) {
        const beside = coarse[at - line] + coarse[at + line] + coarse[at - 1] + coarse[at + 1];
        const above = (decoded[at - line - 1] << 2) | (decoded[at - line] << 1) | decoded[at - line + 1];
        const near = (above << 2) | (decoded[at - 2 * line] << 1) | decoded[at - 1];
        decoded[at] = decode((((coarse[at] << 2) | Math.min(beside, 3)) << 5) | near);
      }
    coarse = coarse.map((level, i) => (level << 1) | decoded[i]);
  }
  let last = 0; // the four bytes that were read last: the encoder's interval begins at last - value
  for (let i = place - 4; i < place; i++) last = last * 256 + (code[i] ?? 0);
  const low = last - value;
  if (code.length !== place - 3 || value !== (((-low % BOTTOM) + BOTTOM) % BOTTOM))
    throw damaged("its code does not end where it should");
  return Uint8Array.from({ length: height * width }, (_, i) => coarse[(Math.floor(i / width) + 2) * line + 1 + (i % width)]);
}
