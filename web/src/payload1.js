/** The payload of a PNG, version 1 (docs/format.md): which model made it, and what restores the photograph. */

import { crc32 } from "./checksum.js";
import { view } from "./containers.js";
import { BDFlowError } from "./errors.js";

const NEWER = "made by a newer bdflow: upgrade bdflow";

/**
 * @typedef {object} Payload
 * @property {string} model Its name.
 * @property {string} weights The start of the SHA-256 of its weights, hexadecimal.
 * @property {number} scale
 * @property {number} bits Of a sample of the boundary map; 0 where the model has none.
 * @property {[number, number]} size Width and height of the photograph.
 * @property {boolean} gray
 * @property {boolean} bicubic It was shrunk bicubically, and is restored so.
 * @property {number} checksum CRC-32 of the samples.
 * @property {Uint8Array} boundary The boundary map, coded; empty if there is none.
 */

/** @param {Uint8Array} bytes @returns {Payload} */
export function unpack(bytes) {
  const damaged = new BDFlowError("its bdflow chunk is damaged: get the file again");
  if (bytes[0] > 1) throw new BDFlowError(`made by a newer bdflow (format ${bytes[0]}): upgrade bdflow`);
  const end = bytes.length - 4;
  if (end < 1 || bytes[0] !== 1 || crc32(bytes.subarray(0, end)) !== view(bytes).getUint32(end)) throw damaged;
  let place = 1;
  const take = (/** @type {number} */ count) => {
    if (place + count > end) throw damaged;
    place += count;
    return bytes.subarray(place - count, place);
  };
  const varint = () => {
    for (let value = 0, unit = 1, read = 0; read < 5; unit *= 128, read++) {
      const [byte] = take(1);
      value += (byte & 127) * unit;
      if (byte < 128) return value;
    }
    throw damaged;
  };
  const [packed, length] = take(2);
  if (packed >> 7) throw new BDFlowError(NEWER);
  const bicubic = Boolean((packed >> 6) & 1);
  const gray = Boolean((packed >> 5) & 1);
  let model;
  try {
    model = new TextDecoder("utf-8", { fatal: true }).decode(take(length));
  } catch {
    throw damaged;
  }
  const weights = Array.from(take(8), (byte) => byte.toString(16).padStart(2, "0")).join("");
  const size = /** @type {[number, number]} */ ([varint(), varint()]);
  const checksum = view(take(4)).getUint32(0);
  if (gray) take(varint()); // the colour profile
  return {
    model, weights, scale: 1 << (packed & 7), bits: (packed >> 3) & 3, size, gray, bicubic, checksum,
    boundary: bytes.subarray(place, end),
  };
}
