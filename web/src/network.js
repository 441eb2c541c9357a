/** The restoration network (src/bdflow/networks/restoration.py) on the kernels of kernels/restoration.c. */

import kernels from "./kernels.js";

const CELL = 4; // pixels each way
const SIDES = 3 * CELL * CELL; // channels of a cell's pixels
const PLAIN = 0; // what becomes of a convolution: see kernels/restoration.c
const LEAKY = 1;
const ADDED = 2;

/**
 * @typedef {import("./weights.js").Weights} Weights
 * @typedef {object} Layer Where its numbers lie, and what a pixel sees: so many rows, each of so many floats.
 * @property {number} weights
 * @property {number} bias
 * @property {number} scale
 * @property {number} channels
 * @property {number} rows
 * @property {number} run
 * @typedef {{ first: Layer, second: Layer, bias: Float32Array, condition: Float32Array, shift: Float32Array }} Block
 * @typedef {object} Plane Cells with their border of zeros: where the first within lies, and floats of a line.
 * @property {number} start
 * @property {number} line
 * @property {number} channels
 */

/** One network in one WebAssembly memory. It computes one tile at a time. */
export class Network {
  /** @type {any} */ #code;
  /** @type {Weights} */ #weights;
  #end = 0;
  /** @type {Layer} */ #head;
  /** @type {Layer} */ #down;
  /** @type {Layer[]} */ #up;
  /** @type {Layer} */ #tail;
  /** @type {Block[][]} */ #blocks;
  /** @type {number[]} */ #sides = [];
  /** @type {Plane[]} */ #planes = [];
  #samples = 0;

  /** @param {Weights} weights */
  static async load(weights) {
    const bytes = Uint8Array.from(atob(kernels), (letter) => letter.charCodeAt(0));
    const { instance } = await WebAssembly.instantiate(bytes);
    return new Network(weights, instance.exports);
  }

  /** @param {Weights} weights @param {any} code */
  constructor(weights, code) {
    this.#code = code;
    this.#weights = weights;
    this.#end = code.__heap_base.value;
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
   * @returns {Generator<number>} The share that is done, after each layer.
   */
  *restore(samples, height, width, known) {
    this.#lay(height / CELL, width / CELL);
    this.#condition(known);
    const code = this.#code;
    const [cells, x, y, deep, inner] = this.#planes;
    const [h, w] = this.#sides;
    const bytes = () => new Uint8Array(code.memory.buffer, this.#samples, samples.length);
    bytes().set(samples);
    code.unshuffle(this.#samples, cells.start, cells.line, h, w);
    const [before, middle, after] = this.#blocks;
    const total = 4 * (1 + before.length + after.length) + middle.length;
    let done = 0;
    this.#convolve(this.#head, cells, x, h, w);
    yield ++done / total;
    const refine = (/** @type {Block} */ block, /** @type {Plane} */ plane, /** @type {Plane} */ spare, /** @type {number} */ finer) => {
      this.#convolve(block.first, plane, spare, h / finer, w / finer, LEAKY);
      this.#convolve(block.second, spare, plane, h / finer, w / finer, ADDED);
    };
    for (const block of before) {
      refine(block, x, y, 1);
      yield (done += 4) / total;
    }
    this.#convolve(this.#down, x, deep, h / 2, w / 2, PLAIN, 2);
    for (const block of middle) {
      refine(block, deep, inner, 2);
      yield ++done / total;
    }
    this.#up.forEach((layer, i) => {
      const corner = x.start + 4 * (x.channels * (i & 1) + x.line * (i >> 1));
      const finer = { start: corner, line: 2 * x.line, channels: 2 * x.channels };
      this.#convolve(layer, deep, finer, h / 2, w / 2, ADDED);
    });
    for (const block of after) {
      refine(block, x, y, 1);
      yield (done += 4) / total;
    }
    this.#convolve(this.#tail, x, cells, h, w);
    code.shuffle(this.#samples, cells.start, cells.line, h, w);
    samples.set(bytes());
    yield 1;
  }

  /**
   * @param {Layer} layer
   * @param {Plane} from
   * @param {Plane} to
   * @param {number} height Of what is computed.
   * @param {number} width
   * @param {number} mode
   * @param {number} stride
   */
  #convolve(layer, from, to, height, width, mode = PLAIN, stride = 1) {
    const border = layer.rows === 3 ? 4 * (from.line + from.channels) : 0; // a 3x3 convolution sees it
    this.#code.convolve(
      from.start - border, stride * from.line, stride * from.channels, from.line, layer.rows, layer.run,
      layer.weights, layer.scale, layer.bias, layer.channels, to.start, to.line, to.channels, height, width, mode,
    );
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
      const scales = new Float32Array(this.#code.memory.buffer, first.scale, first.channels);
      const biases = new Float32Array(this.#code.memory.buffer, first.bias, first.channels);
      bias.forEach((value, c) => {
        scales[c] = 1 + told[c];
        biases[c] = value * scales[c] + told[bias.length + c];
      });
    }
  }

  /** Planes for a picture of so many cells. @param {number} height @param {number} width */
  #lay(height, width) {
    if (this.#sides[0] === height && this.#sides[1] === width) return;
    const end = this.#end;
    const { width: wide, deep } = this.#weights.config;
    const plane = (/** @type {number} */ channels, /** @type {number} */ finer) => {
      const line = (width / finer + 2) * channels;
      const at = this.#take(4 * line * (height / finer + 2));
      return { start: at + 4 * (line + channels), line, channels };
    };
    const channels = [SIDES, padded(wide).length, padded(wide).length, padded(deep).length, padded(deep).length];
    this.#planes = channels.map((count, i) => plane(count, i < 3 ? 1 : 2));
    this.#samples = this.#take(height * width * SIDES);
    new Uint8Array(this.#code.memory.buffer, end, this.#end - end).fill(0);
    this.#end = end; // the next ones take their place
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
      weights: this.#put(ordered),
      bias: this.#put(Float32Array.from(outputs, (o) => (o < 0 ? 0 : bias[o]))),
      scale: this.#put(new Float32Array(outputs.length)),
      channels: outputs.length,
      rows: side,
      run: side * inputs.length,
    };
  }

  /** @param {Float32Array} values */
  #put(values) {
    const at = this.#take(values.byteLength);
    new Float32Array(this.#code.memory.buffer).set(values, at / 4);
    return at;
  }

  /** @param {number} bytes */
  #take(bytes) {
    const at = Math.ceil(this.#end / 64) * 64;
    this.#end = at + bytes;
    const { memory } = this.#code;
    const missing = this.#end - memory.buffer.byteLength;
    if (missing > 0) memory.grow(Math.ceil(missing / 65536));
    return at;
  }
}

/** Channels, and -1 for those that fill them up to a multiple of 8. @param {number} count */
const padded = (count) => Array.from({ length: Math.ceil(count / 8) * 8 }, (_, i) => (i < count ? i : -1));

/** @param {Float32Array} weight @param {Float32Array} bias @param {number[]} x */
const linear = (weight, bias, x) =>
  Array.from(bias, (value, o) => x.reduce((sum, each, i) => sum + each * weight[o * x.length + i], value));
