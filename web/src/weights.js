/** The weights file that `bdflow export MODEL --web DIR` writes: a safetensors file of float16 or int8. */

import { view } from "./containers.js";
import { BDFlowError } from "./errors.js";

/**
 * @typedef {object} Tensor
 * @property {number[]} shape
 * @property {Float32Array} values
 * @typedef {object} Config The fields of `RestorationConfig` in src/bdflow/networks/restoration.py.
 * @property {number} width
 * @property {number} deep
 * @property {number} before
 * @property {number} middle
 * @property {number} after
 * @property {number} facts
 * @property {number} embedding
 * @typedef {object} Weights
 * @property {Config} config
 * @property {number} halo How far, in the photograph's pixels, a tile must see beyond what is kept of it.
 * @property {(name: string, ...shape: number[]) => Float32Array} tensor The values of one, whose shape is checked.
 */

const damaged = () => new BDFlowError("not a weights file of bdflow's for the web: export it again");

/**
 * @param {Uint8Array} bytes
 * @returns {Weights}
 */
export function readWeights(bytes) {
  const tensors = new Map();
  let facts;
  try {
    const start = 8 + Number(view(bytes).getBigUint64(0, true));
    const { __metadata__, ...entries } = JSON.parse(new TextDecoder().decode(bytes.subarray(8, start)));
    facts = JSON.parse(__metadata__.bdflow);
    for (const [name, { dtype, shape, data_offsets: [from, to] }] of Object.entries(entries)) {
      const count = shape.reduce((/** @type {number} */ all, /** @type {number} */ side) => all * side, 1);
      const values = numbers(bytes.slice(start + from, start + to), dtype);
      if (values.length !== count) throw new RangeError();
      tensors.set(name, { shape, values });
    }
  } catch {
    throw damaged();
  }
  if (facts.model?.network !== "restoration" || facts.model.facts !== 9)
    throw new BDFlowError("the weights are of a network that this bdflow does not know: upgrade bdflow");
  return {
    config: facts.model,
    halo: facts.halo,
    tensor(name, ...shape) {
      const found = tensors.get(name);
      if (!found || String(found.shape) !== String(shape)) throw damaged();
      const steps = tensors.get(`${name}.step`)?.values; // of int8: one for each output channel
      if (!steps) return found.values;
      const each = found.values.length / steps.length;
      return found.values.map((/** @type {number} */ value, /** @type {number} */ i) => value * steps[Math.floor(i / each)]);
    },
  };
}

/** @param {Uint8Array} bytes @param {string} dtype */
function numbers({ buffer }, dtype) {
  if (dtype === "F32") return new Float32Array(buffer);
  if (dtype === "I8") return Float32Array.from(new Int8Array(buffer));
  if (dtype === "F16") return Float32Array.from(new Uint16Array(buffer), float16);
  throw new RangeError();
}

/** @param {number} bits */
function float16(bits) {
  const [exponent, mantissa] = [(bits >> 10) & 31, bits & 1023];
  const magnitude = exponent ? (1 + mantissa / 1024) * 2 ** (exponent - 15) : mantissa * 2 ** -24;
  return bits >> 15 ? -magnitude : magnitude;
}
