/** Resampling as Pillow's 8-bit LANCZOS and BICUBIC do it, rows first; see `enlarged` in src/bdflow/runtime/enhancer.py. */

/**
 * @typedef {object} Filter
 * @property {number} support Pixels, each way, that a pixel of an enlargement depends on.
 * @property {(x: number) => number} weight
 */

const BITS = 22; // of Pillow's weights

/** @type {Filter} */
const LANCZOS = {
  support: 3,
  weight: (x) => (-3 <= x && x < 3 ? sinc(x) * sinc(x / 3) : 0),
};

/** Keys's, with a = -0.5. @type {Filter} */
export const BICUBIC = {
  support: 2,
  weight: (x) => {
    const d = Math.abs(x);
    return d < 1 ? (1.5 * d - 2.5) * d * d + 1 : d < 2 ? ((-0.5 * d + 2.5) * d - 4) * d + 2 : 0;
  },
};

/** @param {number} x */
const sinc = (x) => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI));

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
 * @param {Filter} [filter]
 * @returns {Samples & { data: Uint8Array }}
 */
export function enlarged(image, factor, rows, columns, filter = LANCZOS) {
  const right = Math.min(columns[1], Math.floor(image.width * factor));
  const bottom = Math.min(rows[1], Math.floor(image.height * factor));
  const [left, rightEnd, upper, lower] = [columns[0], right, rows[0], bottom].map((edge) =>
    Math.floor(edge / factor),
  );
  const first = factor === 1 ? upper : Math.max(0, upper - filter.support);
  const last = factor === 1 ? lower : Math.min(image.height, lower + filter.support);
  const across = taps(image.width, left, rightEnd, right - columns[0], filter);
  const down = taps(last - first, upper - first, lower - first, bottom - rows[0], filter);
  return continued(resampled(image, [first, last], across, down), columns[1] - columns[0], rows[1] - rows[0]);
}

/**
 * A photograph's thumbnail, antialiased. Sides that are no multiples of the factor's numerator go on with the last
 * row or column first.
 * @param {Samples} image
 * @param {number[]} multiples Whole numbers of pixels, of the photograph and of the thumbnail, that correspond.
 * @returns {Samples & { data: Uint8Array }}
 */
export function shrunk(image, [large, small]) {
  const [width, height] = [image.width, image.height].map((side) => Math.ceil(side / large) * large);
  const across = taps(width, 0, width, (width / large) * small, LANCZOS);
  const down = taps(height, 0, height, (height / large) * small, LANCZOS);
  return resampled(continued(image, width, height), [0, height], across, down);
}

/**
 * Each row of some, then each column of the result; rounded to 8 bits between.
 * @param {Samples} image
 * @param {[number, number]} rows
 * @param {Tap[]} across
 * @param {Tap[]} down Counted from the first of the rows.
 */
function resampled({ data, width, channels }, [first, last], across, down) {
  const line = across.length * channels;
  const wide = new Uint8Array((last - first) * line);
  let target = 0;
  for (let y = first; y < last; y++)
    for (const { start, weights } of across)
      for (let c = 0; c < channels; c++) {
        let sum = 1 << (BITS - 1);
        for (let i = 0, at = (y * width + start) * channels + c; i < weights.length; i++, at += channels)
          sum += data[at] * weights[i];
        wide[target++] = clipped(sum);
      }
  const result = new Uint8Array(down.length * line);
  target = 0;
  for (const { start, weights } of down)
    for (let k = start * line; k < (start + 1) * line; k++) {
      let sum = 1 << (BITS - 1);
      for (let i = 0, at = k; i < weights.length; i++, at += line) sum += wide[at] * weights[i];
      result[target++] = clipped(sum);
    }
  return { data: result, width: across.length, height: down.length, channels };
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
 * @param {number} count Pixels that it becomes.
 * @param {Filter} filter
 * @returns {Tap[]}
 */
function taps(size, from, to, count, filter) {
  const scale = (to - from) / count;
  const stretch = Math.max(1, scale); // of the window, where it antialiases
  const support = filter.support * stretch;
  return Array.from({ length: count }, (_, x) => {
    if (scale === 1) return { start: from + x, weights: Int32Array.of(1 << BITS) };
    const center = from + (x + 0.5) * scale;
    const start = Math.max(0, Math.trunc(center - support + 0.5));
    const end = Math.min(size, Math.trunc(center + support + 0.5));
    const values = Array.from({ length: end - start }, (_, i) => filter.weight((i + start - center + 0.5) / stretch));
    const total = values.reduce((sum, value) => sum + value, 0);
    return {
      start,
      weights: Int32Array.from(values, (value) => {
        const weight = value * (1 / total) * (1 << BITS);
        return Math.trunc(weight < 0 ? weight - 0.5 : weight + 0.5);
      }),
    };
  });
}

/**
 * A picture that goes on with its last column and row.
 * @param {Samples} image
 * @param {number} width
 * @param {number} height
 */
export function continued(image, width, height) {
  const { channels } = image;
  const data = new Uint8Array(width * height * channels);
  const line = image.width * channels;
  for (let y = 0; y < height; y++) {
    const row = Math.min(y, image.height - 1) * line;
    const start = y * width * channels;
    data.set(image.data.subarray(row, row + line), start);
    for (let k = start + line; k < start + width * channels; k++) data[k] = data[k - channels];
  }
  return { data, width, height, channels };
}
