/** Enlargement as Pillow's 8-bit LANCZOS does it, rows first; see `enlarged` in src/bdflow/enhancer.py. */

const SUPPORT = 3; // pixels of a thumbnail, each way, that a pixel of its enlargement depends on
const BITS = 22; // of Pillow's weights

/**
 * @typedef {object} Samples Bytes, row by row, so many channels to a pixel.
 * @property {Uint8Array | Uint8ClampedArray} data
 * @property {number} width
 * @property {number} height
 * @property {number} channels
 */

/**
 * Some rows and columns of a thumbnail's enlargement, the same however it is cut into parts.
 * @param {Samples} image A thumbnail.
 * @param {number} factor How many times larger.
 * @param {[number, number]} rows Of the enlargement, from a multiple of the factor's numerator on; beyond the
 *   thumbnail's end its edge is repeated.
 * @param {[number, number]} columns
 * @returns {Samples & { data: Uint8Array }}
 */
export function enlarged(image, factor, rows, columns) {
  const { channels } = image;
  const right = Math.min(columns[1], Math.floor(image.width * factor));
  const bottom = Math.min(rows[1], Math.floor(image.height * factor));
  const [left, rightEnd, upper, lower] = [columns[0], right, rows[0], bottom].map((edge) =>
    Math.floor(edge / factor),
  );
  const [width, height] = [columns[1] - columns[0], rows[1] - rows[0]];
  const result = new Uint8Array(width * height * channels);
  const first = factor === 1 ? upper : Math.max(0, upper - SUPPORT);
  const last = factor === 1 ? lower : Math.min(image.height, lower + SUPPORT);
  const across = taps(image.width, left, rightEnd, right - columns[0]);
  const wide = new Uint8Array((last - first) * width * channels);
  for (let y = first; y < last; y++)
    along(image.data, y * image.width * channels, channels, channels, across, wide, (y - first) * width * channels);
  const down = taps(last - first, upper - first, lower - first, bottom - rows[0]);
  // Down the rows all samples of a row are treated alike.
  for (let y = 0; y < down.length; y++) {
    const { start, weights } = down[y];
    const line = width * channels;
    for (let k = 0; k < (right - columns[0]) * channels; k++) {
      let sum = 1 << (BITS - 1);
      for (let i = 0; i < weights.length; i++) sum += wide[(start + i) * line + k] * weights[i];
      result[y * line + k] = clipped(sum);
    }
  }
  repeatEdges({ data: result, width, height, channels }, right - columns[0], bottom - rows[0]);
  return { data: result, width, height, channels };
}

/**
 * @param {Uint8Array | Uint8ClampedArray} from
 * @param {number} place
 * @param {number} step From a sample to that of the next pixel.
 * @param {number} channels
 * @param {Tap[]} taps
 * @param {Uint8Array} to
 * @param {number} target
 */
function along(from, place, step, channels, taps, to, target) {
  for (const { start, weights } of taps)
    for (let c = 0; c < channels; c++) {
      let sum = 1 << (BITS - 1);
      for (let i = 0, at = place + start * step + c; i < weights.length; i++, at += step)
        sum += from[at] * weights[i];
      to[target++] = clipped(sum);
    }
}

/** @param {number} sum */
function clipped(sum) {
  const level = sum >> BITS;
  return level < 0 ? 0 : level > 255 ? 255 : level;
}

/**
 * @typedef {{ start: number, weights: Int32Array }} Tap
 */

/**
 * Which pixels each pixel of the result comes from, and their weights (Pillow's `precompute_coeffs`).
 * @param {number} size Of the picture along this axis.
 * @param {number} from Where the part that is enlarged begins.
 * @param {number} to Where it ends.
 * @param {number} count Pixels that it becomes, as many or more.
 * @returns {Tap[]}
 */
function taps(size, from, to, count) {
  const scale = (to - from) / count;
  return Array.from({ length: count }, (_, x) => {
    if (scale === 1) return { start: from + x, weights: Int32Array.of(1 << BITS) };
    const center = from + (x + 0.5) * scale;
    const start = Math.max(0, Math.trunc(center - SUPPORT + 0.5));
    const end = Math.min(size, Math.trunc(center + SUPPORT + 0.5));
    const values = Array.from({ length: end - start }, (_, i) => lanczos(i + start - center + 0.5));
    const total = values.reduce((sum, value) => sum + value, 0);
    return {
      start,
      weights: Int32Array.from(values, (value) => {
        const weight = (value * (1 / total)) * (1 << BITS);
        return Math.trunc(weight < 0 ? weight - 0.5 : weight + 0.5);
      }),
    };
  });
}

/** @param {number} x */
const lanczos = (x) => (-SUPPORT <= x && x < SUPPORT ? sinc(x) * sinc(x / SUPPORT) : 0);

/** @param {number} x */
const sinc = (x) => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI));

/** Repeat the last of so many columns and rows to the end. @param {Samples} image @param {number} width @param {number} height */
function repeatEdges({ data, width: all, height: tall, channels }, width, height) {
  const line = all * channels;
  for (let y = 0; width < all && y < height; y++)
    for (let k = y * line + width * channels; k < (y + 1) * line; k++) data[k] = data[k - channels];
  for (let y = height; y < tall; y++) data.copyWithin(y * line, (height - 1) * line, height * line);
}
