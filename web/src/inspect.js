/** What a small file says of the photograph, without a network and before its pixels are decoded. */

import { parts } from "./containers.js";
import { BDFlowError } from "./errors.js";
import { quality } from "./quantizer.js";

export const FACTORS = [1, 1.5, 2, 3, 4, 6, 8, 12, 16];
export const DOMAINS = /** @type {const} */ (["plain", "photos", "portraits"]);
export const FORMATS = /** @type {const} */ (["AVIF", "WebP", "JPEG"]);
const MAX_PIXELS = 100_000_000; // of a photograph; a page has less memory than Python's 400 million take

/**
 * @typedef {typeof DOMAINS[number]} Domain
 * @typedef {object} Header
 * @property {import("./containers.js").Format} format
 * @property {boolean} marked Whether the file holds bdflow's payload.
 * @property {number} factor How many times smaller the thumbnail is, each way.
 * @property {Domain} domain What the network shall take the picture for; `plain` is enlarged without one.
 * @property {[number, number]} thumbnail Width and height of the picture in the file.
 * @property {[number, number]} size Width and height of the photograph.
 * @property {number | null} quality By the file's own quantiser, 0 to 100; null where that is not known.
 */

/**
 * Read a small file's header.
 * @param {Uint8Array} bytes The whole file.
 * @param {{ scale?: number, domain?: Domain }} [stripped] Of a file that lost its payload: how many times smaller it
 *   is, and its domain (`photos` unless told). Without a scale such a file is taken as it is.
 * @returns {Header}
 * @throws {BDFlowError} Not such a file, damaged, or made by a newer bdflow.
 */
export function inspect(bytes, stripped = {}) {
  const { format, width, height, payload } = parts(bytes);
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
  return { format, marked: false, factor, domain, thumbnail: [width, height], size, quality: quality(bytes) };
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
 * @param {Header} header
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

/** @param {Uint8Array} bytes */
function crc32(bytes) {
  let crc = -1;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc;
}
