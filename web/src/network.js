/** The restoration network (src/bdflow/networks/restoration.py): its layers, in their order, on some kernels. */

export const CELL = 4; // pixels each way
export const SIDES = 3 * CELL * CELL; // channels of a cell's pixels
export const PLAIN = 0; // what becomes of a convolution: itself; scaled and leaky ReLU; added to what is there
export const LEAKY = 1;
export const ADDED = 2;

/**
 * @typedef {import("./weights.js").Weights} Weights
 * @typedef {object} Plane Cells of so many channels (a multiple of 8) with a border of zeros, one cell wide.
 * @property {any} at Where the kernels keep it.
 * @property {number} start Floats before the first cell within the border.
 * @property {number} line Floats of a line.
 * @property {number} channels Floats of a cell.
 * @typedef {object} Layer A convolution, and what a pixel sees: so many rows, each of so many floats.
 * @property {any} at Where the kernels keep its numbers: the weights (channels / 8, rows, run, 8), biases and scales.
 * @property {number} channels
 * @property {number} rows
 * @property {number} run
 * @typedef {{ height: number, width: number, mode: number, stride: number }} Extent What is computed of a plane.
 * @typedef {object} Kernels What computes: src/wasm.js or src/webgpu.js.
 * @property {(weights: Float32Array, bias: Float32Array) => any} put Keeps a layer's numbers; the scales are 1.
 * @property {(layer: Layer, scales: Float32Array<ArrayBuffer>, biases: Float32Array<ArrayBuffer>) => void} condition Changes these.
 * @property {(sides: { height: number, width: number, channels: number }[]) => Plane[]} lay Planes of zeros; earlier
 *   ones are no longer used.
 * @property {(samples: Uint8Array, cells: Plane, height: number, width: number) => void} unshuffle Puts samples into
 *   the cells of a plane: channel 12 * row + 3 * column + colour, in -0.5 to 0.5.
 * @property {(layer: Layer, from: Plane, to: Plane, extent: Extent) => void} convolve
 * @property {(samples: Uint8Array, cells: Plane, height: number, width: number) => Promise<void>} shuffle Adds what the
 *   cells hold to the samples, clipped and rounded.
 * @property {() => Promise<void>} settle Waits until what was asked for is computed.
 * @typedef {{ first: Layer, second: Layer, bias: Float32Array, condition: Float32Array, shift: Float32Array }} Block
 */

/** One network on its kernels. It computes one tile at a time. */
export class Network {
  /** @type {Kernels} */ #kernels;
  /** @type {Weights} */ #weights;
  /** @type {Layer} */ #head;
  /** @type {Layer} */ #down;
  /** @type {Layer[]} */ #up;
  /** @type {Layer} */ #tail;
  /** @type {Block[][]} */ #blocks;
  /** @type {number[]} */ #sides = [];
  /** @type {Plane[]} */ #planes = [];

  /** @param {Weights} weights @param {Kernels} kernels */
  constructor(weights, kernels) {
    this.#kernels = kernels;
    this.#weights = weights;
    const { width, deep, before, middle, after, embedding } = weights.config;
    const cells = Array.from({ length: SIDES }, (_, i) => (i % 3) * CELL * CELL + Math.floor(i / 3));
    const block = (/** @type {string} */ name, /** @type {number} */ channels) => ({
      first: this.#layer(`${name}.first`, padded(channels), padded(channels), channels, channels, 3),
      second: this.#layer(`${name}.second`, padded(channels), padded(channels), channels, channels, 3),
      bias: weights.tensor(`${name}.first.bias`, channels),
      condition: weights.tensor(`${name}.condition.weight`, 2 * channels, embedding),
      shift: weights.tensor(`${name}.condition.bias`, 2 * channels),
    });
    const blocks = (/** @type {string} */ name, /** @type {number} */ count, /** @type {number} */ channels) =>
      Array.from({ length: count }, (_, i) => block(`${name}.${i}`, channels));
    this.#head = this.#layer("head", padded(width), cells, width, SIDES, 3);
    this.#blocks = [blocks("before", before, width), blocks("middle", middle, deep), blocks("after", after, width)];
    this.#down = this.#layer("down", padded(deep), padded(width), deep, width, 2);
    this.#up = [0, 1, 2, 3].map((place) =>
      this.#layer("up", padded(width).map((c) => (c < 0 ? c : 4 * c + place)), padded(deep), 4 * width, deep, 1),
    );
    this.#tail = this.#layer("tail", cells, padded(width), SIDES, width, 3);
  }

  /** How far, in the photograph's pixels, a tile must see beyond what is kept of it. */
  get halo() {
    return this.#weights.halo;
  }

  /**
   * Restore a tile in place.
   * @param {Uint8Array} samples The enlargement, (height, width, 3).
   * @param {number} height In pixels, like the width a multiple of 8.
   * @param {number} width
   * @param {number[]} known What is known of the file.
   * @returns {AsyncGenerator<number>} The share that is done, after each layer.
   */
  async *restore(samples, height, width, known) {
    const [h, w] = [height / CELL, width / CELL];
    this.#lay(h, w);
    this.#condition(known);
    const kernels = this.#kernels;
    const [cells, x, y, deep, inner] = this.#planes;
    const [before, middle, after] = this.#blocks;
    const total = 4 * (1 + before.length + after.length) + middle.length;
    let done = 0;
    /** @type {(layer: Layer, from: Plane, to: Plane, finer: number, mode?: number, stride?: number) => void} */
    const convolve = (layer, from, to, finer, mode = PLAIN, stride = 1) =>
      kernels.convolve(layer, from, to, { height: h / finer, width: w / finer, mode, stride });
    /** @type {(block: Block, plane: Plane, spare: Plane, finer: number) => Promise<number>} */
    const refine = async (block, plane, spare, finer) => {
      convolve(block.first, plane, spare, finer, LEAKY);
      convolve(block.second, spare, plane, finer, ADDED);
      await kernels.settle();
      done += 4 / finer ** 2;
      return done / total;
    };
    kernels.unshuffle(samples, cells, h, w);
    convolve(this.#head, cells, x, 1);
    for (const block of before) yield await refine(block, x, y, 1);
    convolve(this.#down, x, deep, 2, PLAIN, 2);
    for (const block of middle) yield await refine(block, deep, inner, 2);
    this.#up.forEach((layer, i) => {
      const start = x.start + x.channels * (i & 1) + x.line * (i >> 1);
      convolve(layer, deep, { at: x.at, start, line: 2 * x.line, channels: 2 * x.channels }, 2, ADDED);
    });
    for (const block of after) yield await refine(block, x, y, 1);
    convolve(this.#tail, x, cells, 1);
    await kernels.shuffle(samples, cells, h, w);
    yield 1;
  }

  /** Scales and shifts of each block, of what is known of the file. @param {number[]} known */
  #condition(known) {
    const { tensor, config: { facts, embedding } } = this.#weights;
    const silu = (/** @type {number} */ x) => x / (1 + Math.exp(-x));
    const first = linear(tensor("embed.0.weight", embedding, facts), tensor("embed.0.bias", embedding), known);
    const weight = tensor("embed.2.weight", embedding, embedding);
    const embedded = linear(weight, tensor("embed.2.bias", embedding), first.map(silu)).map(silu);
    for (const { first, bias, condition, shift } of this.#blocks.flat()) {
      const told = linear(condition, shift, embedded);
      const scales = new Float32Array(first.channels).map((_, c) => (c < bias.length ? 1 + told[c] : 0));
      const biases = scales.map((scale, c) => (c < bias.length ? bias[c] * scale + told[bias.length + c] : 0));
      this.#kernels.condition(first, scales, biases);
    }
  }

  /** Planes for a picture of so many cells. @param {number} height @param {number} width */
  #lay(height, width) {
    if (this.#sides[0] === height && this.#sides[1] === width) return;
    const { width: wide, deep } = this.#weights.config;
    const fine = { height, width, channels: padded(wide).length };
    const coarse = { height: height / 2, width: width / 2, channels: padded(deep).length };
    this.#planes = this.#kernels.lay([{ ...fine, channels: SIDES }, fine, fine, coarse, coarse]);
    this.#sides = [height, width];
  }

  /**
   * A convolution's numbers, in the order in which the kernel reads them.
   * @param {string} name
   * @param {number[]} outputs Which of the stored channels each computed one is; -1 for none.
   * @param {number[]} inputs
   * @param {number} out Channels as stored.
   * @param {number} into
   * @param {number} side Of the kernel.
   * @returns {Layer}
   */
  #layer(name, outputs, inputs, out, into, side) {
    const stored = this.#weights.tensor(`${name}.weight`, out, into, side, side);
    const bias = this.#weights.tensor(`${name}.bias`, out);
    const ordered = new Float32Array(outputs.length * inputs.length * side * side);
    let place = 0;
    for (let eight = 0; eight < outputs.length; eight += 8)
      for (let tap = 0; tap < side * side; tap++)
        for (const i of inputs)
          for (const o of outputs.slice(eight, eight + 8))
            ordered[place++] = o < 0 || i < 0 ? 0 : stored[(o * into + i) * side * side + tap];
    return {
      at: this.#kernels.put(ordered, Float32Array.from(outputs, (o) => (o < 0 ? 0 : bias[o]))),
      channels: outputs.length,
      rows: side,
      run: side * inputs.length,
    };
  }
}

/** Channels, and -1 for those that fill them up to a multiple of 8. @param {number} count */
const padded = (count) => Array.from({ length: Math.ceil(count / 8) * 8 }, (_, i) => (i < count ? i : -1));

/** @param {Float32Array} weight @param {Float32Array} bias @param {number[]} x */
const linear = (weight, bias, x) =>
  Array.from(bias, (value, o) => x.reduce((sum, each, i) => sum + each * weight[o * x.length + i], value));
