/** What a small file says of the photograph, without a network and before its pixels are decoded. */

import { crc32 } from "./checksum.js";
import { parts } from "./containers.js";
import { BDFlowError } from "./errors.js";
import { unpack as unpackDownscaled } from "./payload1.js";
import { quality } from "./quantizer.js";

const SCALES = [2, 4, 8, 16, 32, 64]; // of a PNG's models
export const FACTORS = [1, 1.5, 2, 3, 4, 6, 8, 12, 16];
export const DOMAINS = /** @type {const} */ (["plain", "photos", "portraits"]);
export const FORMATS = /** @type {const} */ (["AVIF", "WebP", "JPEG"]);
const MAX_PIXELS = 100_000_000; // of a photograph; a page has less memory than Python's 400 million take

/**
 * @typedef {typeof DOMAINS[number]} Domain
 * @typedef {object} Thumbnail An ordinary thumbnail, which a restoration network restores.
 * @property {import("./containers.js").Format} format
 * @property {boolean} marked Whether the file holds bdflow's payload.
 * @property {number} factor How many times smaller the thumbnail is, each way.
 * @property {Domain} domain What the network shall take the picture for; `plain` is enlarged without one.
 * @property {[number, number]} thumbnail Width and height of the picture in the file.
 * @property {[number, number]} size Width and height of the photograph.
 * @property {number | null} quality By the file's own quantiser, 0 to 100; null where that is not known.
 * @typedef {object} Downscaled A PNG in whose pixels a model has hidden detail; that model restores it.
 * @property {"PNG"} format
 * @property {true} marked
 * @property {number} factor How many times smaller it is, each way: the model's scale.
 * @property {[number, number]} thumbnail Width and height of the picture in the file.
 * @property {[number, number]} size Width and height of the photograph.
 * @property {import("./payload1.js").Payload} payload What the file says of model, boundary map and samples.
 * @typedef {Thumbnail | Downscaled} Header
 */

/**
 * Read a small file's header.
 * @param {Uint8Array<ArrayBuffer>} bytes The whole file.
 * @param {{ scale?: number, domain?: Domain }} [stripped] Of a file that lost its payload: how many times smaller it
 *   is, and its domain (`photos` unless told). Without a scale such a file is taken as it is.
 * @returns {Header}
 * @throws {BDFlowError} Not such a file, damaged, or made by a newer bdflow.
 */
export function inspect(bytes, stripped = {}) {
  const { format, width, height, payload } = parts(bytes);
  if (payload && format === "PNG") return downscaled(unpackDownscaled(payload), [width, height]);
  if (payload) {
    const { factor, domain, beyond } = unpack(payload);
    const [across, down] = [Math.floor(width * factor), Math.floor(height * factor)];
    const size = /** @type {[number, number]} */ ([across - beyond[0], down - beyond[1]]);
    checkPixels(size);
    const needed = grid(size, factor);
    if (Math.min(...size) < 1 || needed[0] !== width || needed[1] !== height)
      throw new BDFlowError(
        `a thumbnail of ${width}x${height} cannot be that of a photograph of ${size[0]}x${size[1]},` +
          ` 1/${factor} each way: it was cropped or resized`,
      );
    return { format, marked: true, factor, domain, thumbnail: [width, height], size, quality: quality(bytes) };
  }
  const factor = stripped.scale ?? 1;
  if (!FACTORS.includes(factor))
    throw new BDFlowError(`a scale is one of ${FACTORS.join(", ")}, not ${factor}`);
  const domain = stripped.domain ?? (stripped.scale === undefined ? "plain" : "photos");
  if (!DOMAINS.includes(domain))
    throw new BDFlowError(`a domain is one of ${DOMAINS.join(", ")}, not ${domain}`);
  const size = /** @type {[number, number]} */ ([Math.floor(width * factor), Math.floor(height * factor)]);
  checkPixels(size);
  const coded = format === "PNG" ? null : quality(bytes);
  return { format, marked: false, factor, domain, thumbnail: [width, height], size, quality: coded };
}

/**
 * @param {import("./payload1.js").Payload} payload
 * @param {[number, number]} thumbnail
 * @returns {Downscaled}
 */
function downscaled(payload, thumbnail) {
  const { scale: factor, size, model } = payload;
  checkPixels(size);
  if (!SCALES.includes(factor) || String(size.map((side) => Math.ceil(side / factor))) !== String(thumbnail))
    throw new BDFlowError(
      `an LR image of ${thumbnail.join("x")} cannot restore ${size.join("x")} at scale ${factor}: it was cropped or resized`,
    );
  // The name is printed, and becomes a part of an address.
  if (!model || /^\.|[/\\:\p{C}]/u.test(model)) throw new BDFlowError(`${JSON.stringify(model)} is no name for a model`);
  return { format: "PNG", marked: true, factor, thumbnail, size, payload };
}

/**
 * The payload, version 2.
 * @param {Uint8Array} payload
 * @returns {{ factor: number, domain: Domain, beyond: [number, number] }}
 */
export function unpack(payload) {
  if (payload[0] > 2) throw new BDFlowError(`made by a newer bdflow (format ${payload[0]}): upgrade bdflow`);
  if (payload.length !== 4 || payload[0] !== 2 || (crc32(payload.subarray(0, 3)) & 255) !== payload[3])
    throw new BDFlowError("its bdflow chunk is damaged: get the file again");
  const factor = FACTORS[payload[1] & 15];
  const domain = DOMAINS[payload[1] >> 4];
  if (!factor || !domain) throw new BDFlowError("made by a newer bdflow: upgrade bdflow");
  return { factor, domain, beyond: [payload[2] & 15, payload[2] >> 4] };
}

/**
 * The payload of a factor and a domain by their numbers, and of what the thumbnail stands for beyond the photograph.
 * @param {number} factor
 * @param {number} domain
 * @param {number[]} beyond
 */
export function pack(factor, domain, beyond) {
  const body = [2, (domain << 4) | factor, (beyond[1] << 4) | beyond[0]];
  return Uint8Array.of(...body, crc32(Uint8Array.from(body)) & 255);
}

/**
 * What a network is told of a file: the nine numbers of docs/format.md.
 * @param {Thumbnail} header
 * @returns {number[]}
 */
export function describe({ format, marked, factor, domain, quality }) {
  const measured = quality === null ? [0, 0, 0] : [quality / 100, (quality / 100) ** 2, 1];
  // A thumbnail that was saved anew without loss bears the traces of a codec that nobody names.
  const unknown = !marked && format === "WebP" && quality === null;
  const codec = FORMATS.map((each) => Number(each === format && !unknown));
  return [...codec, Math.log2(factor) / 4, ...measured, Number(domain === "portraits"), Number(domain === "photos")];
}

/**
 * The smallest whole numbers of pixels, of the photograph and of the thumbnail, that a factor relates.
 * @param {number} factor
 */
export const multiples = (factor) => (factor === 1.5 ? [3, 2] : [factor, 1]);

/** Width and height of a photograph's thumbnail. @param {[number, number]} size @param {number} factor */
function grid(size, factor) {
  const [large, small] = multiples(factor);
  return size.map((side) => Math.ceil(side / large) * small);
}

/** @param {[number, number]} size */
export function checkPixels([width, height]) {
  if (width * height > MAX_PIXELS)
    throw new BDFlowError(`the photograph's ${width}x${height} pixels are more than ${MAX_PIXELS}`);
}
