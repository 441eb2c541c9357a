/** The kernels of kernels/restoration.c, in one WebAssembly memory. */

import code from "./kernels.js";
import { SIDES } from "./network.js";

/**
 * @typedef {import("./network.js").Kernels} Kernels
 * @typedef {import("./network.js").Layer} Layer
 * @typedef {import("./network.js").Plane} Plane
 */

/** @implements {Kernels} */
export class Wasm {
  /** @type {any} */ #code;
  #end = 0;
  #kept = 0; // where what is laid out for a size begins
  #samples = 0;

  static async start() {
    const { instance } = await WebAssembly.instantiate(Uint8Array.from(atob(code), (letter) => letter.charCodeAt(0)));
    return new Wasm(instance.exports);
  }

  /** @param {any} exports */
  constructor(exports) {
    this.#code = exports;
    this.#end = this.#kept = exports.__heap_base.value;
  }

  /** @param {Float32Array} weights @param {Float32Array} bias */
  put(weights, bias) {
    const at = { weights: this.#copy(weights), bias: this.#copy(bias), scale: this.#copy(bias.map(() => 1)) };
    this.#kept = this.#end;
    return at;
  }

  /** @param {Layer} layer @param {Float32Array} scales @param {Float32Array} biases */
  condition({ at }, scales, biases) {
    this.#floats().set(scales, at.scale / 4);
    this.#floats().set(biases, at.bias / 4);
  }

  /** @param {{ height: number, width: number, channels: number }[]} sides @returns {Plane[]} */
  lay(sides) {
    this.#end = this.#kept;
    const planes = sides.map(({ height, width, channels }) => {
      const line = (width + 2) * channels;
      return { at: this.#take(4 * line * (height + 2)), start: line + channels, line, channels };
    });
    this.#samples = this.#take(sides[0].height * sides[0].width * SIDES);
    new Uint8Array(this.#code.memory.buffer).fill(0, this.#kept, this.#end);
    return planes;
  }

  /** @param {Uint8Array} samples @param {Plane} cells @param {number} height @param {number} width */
  unshuffle(samples, cells, height, width) {
    new Uint8Array(this.#code.memory.buffer).set(samples, this.#samples);
    this.#code.unshuffle(this.#samples, cells.at + 4 * cells.start, cells.line, height, width);
  }

  /** @param {Layer} layer @param {Plane} from @param {Plane} to @param {import("./network.js").Extent} extent */
  convolve({ at, channels, rows, run }, from, to, { height, width, mode, stride }) {
    const border = rows === 3 ? from.line + from.channels : 0; // a 3x3 convolution sees it
    this.#code.convolve(
      from.at + 4 * (from.start - border), stride * from.line, stride * from.channels, from.line, rows, run,
      at.weights, at.scale, at.bias, channels, to.at + 4 * to.start, to.line, to.channels, height, width, mode,
    );
  }

  /** @param {Uint8Array} samples @param {Plane} cells @param {number} height @param {number} width */
  async shuffle(samples, cells, height, width) {
    this.#code.shuffle(this.#samples, cells.at + 4 * cells.start, cells.line, height, width);
    samples.set(new Uint8Array(this.#code.memory.buffer, this.#samples, samples.length));
  }

  async settle() {}

  #floats() {
    return new Float32Array(this.#code.memory.buffer);
  }

  /** @param {Float32Array} values */
  #copy(values) {
    const at = this.#take(values.byteLength);
    this.#floats().set(values, at / 4);
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
