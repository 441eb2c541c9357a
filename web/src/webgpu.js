/** The kernels on a graphics processor. */

import { CELL, SIDES } from "./network.js";

/**
 * @typedef {import("./network.js").Kernels} Kernels
 * @typedef {import("./network.js").Layer} Layer
 * @typedef {import("./network.js").Plane} Plane
 */

const PIXELS = 4; // of an invocation, side by side
const GROUP = 8; // invocations each way
const LINE = 3 * CELL; // samples of a cell in one row of pixels

// What `convolve` of kernels/restoration.c does. An invocation computes four channels of four pixels; all lengths, but
// `rows`, `run`, `channels` and the extent, are in vectors of four floats.
const CONVOLVE = `
struct Convolution {
  in_start: u32, in_line: u32, in_pixel: u32, in_row: u32, rows: u32, run: u32,
  channels: u32, out_start: u32, out_line: u32, out_pixel: u32, height: u32, width: u32, mode: u32,
}
@group(0) @binding(0) var<uniform> c: Convolution;
@group(0) @binding(1) var<storage, read> seen: array<vec4f>;
@group(0) @binding(2) var<storage, read> weights: array<vec4f>;
@group(0) @binding(3) var<storage, read> bias: array<vec4f>;
@group(0) @binding(4) var<storage, read> scale: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> result: array<vec4f>;

fn store(x: u32, y: u32, channel: u32, sum: vec4f) {
  if (x >= c.width) { return; }
  let at = c.out_start + y * c.out_line + x * c.out_pixel + channel;
  if (c.mode == 1) {
    let scaled = sum * scale[channel] + bias[channel];
    result[at] = max(scaled, scaled * 0.1);
  } else if (c.mode == 2) {
    result[at] += sum + bias[channel];
  } else {
    result[at] = sum + bias[channel];
  }
}

@compute @workgroup_size(${GROUP}, ${GROUP})
fn convolve(@builtin(global_invocation_id) id: vec3u) {
  let x = id.x * ${PIXELS};
  let y = id.y;
  if (x >= c.width || y >= c.height) { return; }
  var sums: array<vec4f, ${PIXELS}>;
  var w = id.z / 2 * c.rows * c.run * 2 + id.z % 2;  // of eight channels two vectors lie side by side
  for (var row = 0u; row < c.rows; row++) {
    var at = c.in_start + y * c.in_line + x * c.in_pixel + row * c.in_row;
    for (var k = 0u; k < c.run; k += 4) {
      let four = mat4x4f(weights[w], weights[w + 2], weights[w + 4], weights[w + 6]);
      for (var p = 0u; p < ${PIXELS}; p++) { sums[p] += four * seen[at + p * c.in_pixel]; }
      at++;
      w += 8;
    }
  }
  for (var p = 0u; p < ${PIXELS}; p++) { store(x + p, y, id.z, sums[p]); }
}`;

/** @implements {Kernels} */
export class WebGPU {
  #device;
  #pipeline;
  /** @type {GPUBuffer[]} */ #planes = [];

  /** null where there is no adapter, or one that only computes on the processor, unless that is asked for. @param {boolean} software */
  static async start(software = false) {
    const adapter = await navigator.gpu?.requestAdapter();
    if (!adapter || (adapter.info.isFallbackAdapter && !software)) return null;
    const device = await adapter.requestDevice();
    const module = device.createShaderModule({ code: CONVOLVE });
    const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute: { module } });
    return new WebGPU(device, pipeline);
  }

  /** @param {GPUDevice} device @param {GPUComputePipeline} pipeline */
  constructor(device, pipeline) {
    this.#device = device;
    this.#pipeline = pipeline;
  }

  /** Resolves when the device is gone, as after a crash of its driver. */
  get lost() {
    return this.#device.lost;
  }

  /** @param {Float32Array} weights @param {Float32Array} bias */
  put(weights, bias) {
    return { weights: this.#copy(weights), bias: this.#copy(bias), scale: this.#copy(bias.map(() => 1)) };
  }

  /** @param {Layer} layer @param {Float32Array<ArrayBuffer>} scales @param {Float32Array<ArrayBuffer>} biases */
  condition({ at }, scales, biases) {
    this.#device.queue.writeBuffer(at.scale, 0, scales);
    this.#device.queue.writeBuffer(at.bias, 0, biases);
  }

  /** @param {{ height: number, width: number, channels: number }[]} sides @returns {Plane[]} */
  lay(sides) {
    for (const buffer of this.#planes) buffer.destroy();
    const planes = sides.map(({ height, width, channels }) => {
      const line = (width + 2) * channels;
      const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
      const at = this.#device.createBuffer({ size: 4 * line * (height + 2), usage });
      return { at, start: line + channels, line, channels };
    });
    this.#planes = planes.map(({ at }) => at);
    return planes;
  }

  /** @param {Uint8Array} samples @param {Plane} cells @param {number} height @param {number} width */
  unshuffle(samples, cells, height, width) {
    const floats = new Float32Array(cells.at.size / 4);
    each(cells, height, width, (place, sample) => (floats[place] = samples[sample] / 255 - 0.5));
    this.#device.queue.writeBuffer(cells.at, 0, floats);
  }

  /** @param {Layer} layer @param {Plane} from @param {Plane} to @param {import("./network.js").Extent} extent */
  convolve({ at, channels, rows, run }, from, to, { height, width, mode, stride }) {
    const border = rows === 3 ? from.line + from.channels : 0; // a 3x3 convolution sees it
    const vectors = (/** @type {number[]} */ ...floats) => floats.map((count) => count / 4);
    const numbers = Uint32Array.of(
      ...vectors(from.start - border, stride * from.line, stride * from.channels, from.line), rows, run,
      channels, ...vectors(to.start, to.line, to.channels), height, width, mode,
    );
    const uniform = this.#device.createBuffer({ size: 64, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
    this.#device.queue.writeBuffer(uniform, 0, numbers);
    const entries = [uniform, from.at, at.weights, at.bias, at.scale, to.at].map((buffer, binding) => ({
      binding,
      resource: { buffer },
    }));
    const encoder = this.#device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(this.#pipeline);
    pass.setBindGroup(0, this.#device.createBindGroup({ layout: this.#pipeline.getBindGroupLayout(0), entries }));
    pass.dispatchWorkgroups(Math.ceil(width / PIXELS / GROUP), Math.ceil(height / GROUP), channels / 4);
    pass.end();
    this.#device.queue.submit([encoder.finish()]);
  }

  /** @param {Uint8Array} samples @param {Plane} cells @param {number} height @param {number} width */
  async shuffle(samples, cells, height, width) {
    const { size } = cells.at;
    const copy = this.#device.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    const encoder = this.#device.createCommandEncoder();
    encoder.copyBufferToBuffer(cells.at, 0, copy, 0, size);
    this.#device.queue.submit([encoder.finish()]);
    await copy.mapAsync(GPUMapMode.READ);
    const floats = new Float32Array(copy.getMappedRange());
    each(cells, height, width, (place, sample) => {
      const level = Math.round(samples[sample] + 255 * floats[place]);
      samples[sample] = Math.min(255, Math.max(0, level));
    });
    copy.destroy();
  }

  settle() {
    return this.#device.queue.onSubmittedWorkDone();
  }

  /** @param {Float32Array} values */
  #copy(values) {
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST;
    const buffer = this.#device.createBuffer({ size: values.byteLength, usage });
    this.#device.queue.writeBuffer(buffer, 0, /** @type {Float32Array<ArrayBuffer>} */ (values));
    return buffer;
  }
}

/**
 * Where each sample of a picture stands in a plane of its cells.
 * @param {Plane} cells
 * @param {number} height In cells.
 * @param {number} width
 * @param {(place: number, sample: number) => void} visit
 */
function each({ start, line }, height, width, visit) {
  let sample = 0;
  for (let y = 0; y < height; y++)
    for (let row = 0; row < CELL; row++)
      for (let x = 0; x < width; x++)
        for (let k = 0; k < LINE; k++) visit(start + y * line + x * SIDES + row * LINE + k, sample++);
}
