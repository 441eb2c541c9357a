/**
 * AVIF, WebP, JPEG and PNG as containers of bdflow's payload; docs/format.md and src/bdflow/smallfile say where it
 * stands. Nothing is decoded.
 */

import { crc32 } from "./checksum.js";
import { BDFlowError } from "./errors.js";

/**
 * @typedef {"AVIF" | "WebP" | "JPEG" | "PNG"} Format
 * @typedef {object} Parts
 * @property {Format} format
 * @property {number} width Of the picture in the file.
 * @property {number} height
 * @property {Uint8Array | null} payload bdflow's; null if there is none.
 */

const MOST_PARTS = 4096; // boxes, chunks or segments
const LONGEST = 64; // unused bytes of an AVIF that are looked at

/** @param {Uint8Array} bytes @param {number} start @param {number} length */
export const text = (bytes, start, length) => String.fromCharCode(...bytes.subarray(start, start + length));

/** @param {Uint8Array} bytes */
export const view = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** @param {Format} format */
const damaged = (format) => new BDFlowError(`the ${format} is damaged or cut short: get it again`);

/**
 * What a file says before its pixels are decoded.
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @returns {Parts}
 */
export function parts(bytes) {
  const format = recognised(bytes);
  /** @type {Uint8Array[]} */
  const payloads = [];
  let size;
  try {
    size = { AVIF: ofAvif, WebP: ofWebp, JPEG: ofJpeg, PNG: ofPng }[format](bytes, payloads);
  } catch (error) {
    if (error instanceof RangeError) throw damaged(format);
    throw error;
  }
  if (payloads.length > 1)
    throw new BDFlowError(`holds ${payloads.length} bdflow chunks where one belongs: get the file again`);
  return { format, width: size[0], height: size[1], payload: payloads[0] ?? null };
}

/** @param {Uint8Array} bytes @returns {Format} */
function recognised(bytes) {
  if (text(bytes, 4, 4) === "ftyp" && ["avif", "avis"].includes(text(bytes, 8, 4))) return "AVIF";
  if (text(bytes, 0, 4) === "RIFF" && text(bytes, 8, 4) === "WEBP") return "WebP";
  if (bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff) return "JPEG";
  if (text(bytes, 0, 8) === "\x89PNG\r\n\x1a\n") return "PNG";
  throw new BDFlowError("not an AVIF, WebP, JPEG or PNG: bdflow restores these in a page");
}

/**
 * Type of each box of ISO 14496-12, and where its content begins and ends. Throws RangeError where one is cut short.
 * @param {Uint8Array} bytes
 * @param {number} start
 * @param {number} end
 * @returns {Generator<[string, number, number]>}
 */
export function* boxes(bytes, start, end) {
  const data = view(bytes);
  for (let count = 0; start < end; count++) {
    if (count === MOST_PARTS || start + 8 > end) throw new RangeError();
    let size = data.getUint32(start);
    let content = start + 8;
    if (size === 1) {
      size = Number(data.getBigUint64(content));
      content += 8;
    } else if (size === 0) size = end - start;
    if (size < content - start || start + size > end) throw new RangeError();
    yield [text(bytes, start + 4, 4), content, start + size];
    start += size;
  }
}

/**
 * What an `iloc` box lists (ISO 14496-12, 8.11.3), whose content starts there: each item's number, how many extents it
 * has in the file itself, and where the first one lies.
 * @param {Uint8Array} bytes
 * @param {number} start
 */
export function* items(bytes, start) {
  const data = view(bytes);
  const version = data.getUint8(start);
  const sizes = data.getUint16(start + 4);
  const [offsetSize, lengthSize, baseSize] = [sizes >> 12, (sizes >> 8) & 15, (sizes >> 4) & 15];
  const methods = version === 1 || version === 2;
  const indexSize = methods ? sizes & 15 : 0;
  let place = start + 6;
  const take = (/** @type {number} */ count) => {
    let value = 0;
    for (; count > 0; count--) value = value * 256 + data.getUint8(place++);
    return value;
  };
  for (let left = take(version < 2 ? 2 : 4); left > 0; left--) {
    const number = take(version < 2 ? 2 : 4);
    const elsewhere = (methods ? take(2) & 15 : 0) | take(2);
    const base = take(baseSize);
    const extents = take(2);
    const first = place;
    if (extents && !elsewhere) {
      take(indexSize);
      yield { number, extents, offset: base + take(offsetSize), length: take(lengthSize) };
    }
    place = first + extents * (indexSize + offsetSize + lengthSize);
  }
}

/** @param {Uint8Array} bytes @param {Uint8Array[]} payloads */
function ofAvif(bytes, payloads) {
  let size;
  /** @type {number[]} */
  let ends = []; // of the items' data
  for (const [kind, start, end] of boxes(bytes, 0, bytes.length)) {
    if (kind === "meta") {
      size = avifSize(bytes, start, end);
      ends = itemEnds(bytes, start, end);
    }
    let used = end;
    if (kind === "free") used = start;
    else if (kind === "mdat") used = Math.max(...ends.filter((each) => start < each && each <= end), -1);
    if (used < 0 || end - used > LONGEST || text(bytes, used, 2) !== "bd") continue;
    if (end - used > 2) payloads.push(bytes.subarray(used + 2, end));
  }
  if (!size) throw damaged("AVIF");
  return size;
}

/** @param {Uint8Array} bytes @param {number} start @param {number} end */
function itemEnds(bytes, start, end) {
  try {
    const locations = [...boxes(bytes, start + 4, end)].find(([kind]) => kind === "iloc");
    const all = locations ? [...items(bytes, locations[1])] : [];
    return all.filter(({ extents }) => extents === 1).map(({ offset, length }) => offset + length);
  } catch {
    return []; // not plain
  }
}

/**
 * Width and height of the primary picture: its property `ispe` (ISO 23008-12, 6.5.3).
 * @param {Uint8Array} bytes @param {number} start @param {number} end
 */
function avifSize(bytes, start, end) {
  const data = view(bytes);
  const meta = new Map([...boxes(bytes, start + 4, end)].map(([kind, ...range]) => [kind, range]));
  const primary = meta.get("pitm");
  const properties = meta.get("iprp");
  if (!primary || !properties) throw new RangeError();
  const wanted = bytes[primary[0]] ? data.getUint32(primary[0] + 4) : data.getUint16(primary[0] + 4);
  const inside = [...boxes(bytes, properties[0], properties[1])];
  const store = inside.find(([kind]) => kind === "ipco");
  if (!store) throw new RangeError();
  const all = [...boxes(bytes, store[1], store[2])];
  for (const [, at] of inside.filter(([kind]) => kind === "ipma")) {
    const version = bytes[at];
    const wide = bytes[at + 3] & 1;
    let place = at + 8;
    for (let count = data.getUint32(at + 4); count > 0; count--) {
      const item = version ? data.getUint32(place) : data.getUint16(place);
      place += version ? 4 : 2;
      for (let links = data.getUint8(place++); links > 0; links--) {
        const index = wide ? data.getUint16(place) & 0x7fff : data.getUint8(place) & 0x7f;
        place += wide ? 2 : 1;
        const [kind, content] = all[index - 1] ?? [];
        if (item === wanted && kind === "ispe" && content)
          return [data.getUint32(content + 4), data.getUint32(content + 8)];
      }
    }
  }
  throw new RangeError();
}

/** @param {Uint8Array} bytes @param {Uint8Array[]} payloads */
function ofWebp(bytes, payloads) {
  const data = view(bytes);
  const end = 8 + data.getUint32(4, true);
  if (end > bytes.length) throw new RangeError();
  let size;
  let place = 12;
  for (let count = 0; place + 8 <= end; count++) {
    const kind = text(bytes, place, 4);
    const length = data.getUint32(place + 4, true);
    const start = place + 8;
    if (count === MOST_PARTS || start + length > end) throw new RangeError();
    if (kind === "bdFW") payloads.push(bytes.subarray(start, start + length));
    else if (kind === "VP8X")
      size = [4, 7].map((at) => (data.getUint32(start + at - 1, true) >>> 8) + 1);
    else if (kind === "VP8 ")
      size ??= [6, 8].map((at) => data.getUint16(start + at, true) & 0x3fff);
    else if (kind === "VP8L") {
      const sides = data.getUint32(start + 1, true);
      size ??= [(sides & 0x3fff) + 1, ((sides >>> 14) & 0x3fff) + 1];
    }
    place = start + length + (length & 1);
  }
  if (!size) throw damaged("WebP");
  return size;
}

/** @param {Uint8Array} bytes @param {Uint8Array[]} payloads */
function ofJpeg(bytes, payloads) {
  const data = view(bytes);
  let size;
  let place = 2;
  for (let count = 0; ; count++) {
    if (count === MOST_PARTS || data.getUint8(place) !== 0xff) throw new RangeError();
    const marker = data.getUint8(place + 1);
    if (marker === 0xff) {
      place += 1; // a fill byte; the next one may be the marker
      continue;
    }
    if (marker === 0xd9) break;
    place += 2;
    if (marker === 0xd8 || (marker >= 0xd0 && marker <= 0xd7) || marker === 0x01) continue;
    const length = data.getUint16(place);
    if (length < 2 || place + length > bytes.length) throw new RangeError();
    if (marker === 0xef && text(bytes, place + 2, 2) === "bd")
      payloads.push(bytes.subarray(place + 4, place + length));
    else if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker))
      size = [data.getUint16(place + 5), data.getUint16(place + 3)];
    if (marker === 0xda) break;
    place += length;
  }
  if (!size) throw damaged("JPEG");
  return size;
}

/**
 * Name and content of each chunk of a PNG, its checksum checked. Throws RangeError where one is cut short.
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @returns {Generator<[string, Uint8Array<ArrayBuffer>]>}
 */
export function* chunks(bytes) {
  const data = view(bytes);
  let kind = "";
  for (let place = 8; kind !== "IEND"; ) {
    const end = place + 8 + data.getUint32(place);
    kind = text(bytes, place + 4, 4);
    if (data.getUint32(end) !== crc32(bytes.subarray(place + 4, end))) throw damaged("PNG");
    yield [kind, bytes.subarray(place + 8, end)];
    place = end + 4;
  }
}

/** @param {Uint8Array<ArrayBuffer>} bytes @param {Uint8Array[]} payloads */
function ofPng(bytes, payloads) {
  let size;
  for (const [kind, content] of chunks(bytes))
    if (kind === "IHDR") size = [0, 4].map((at) => view(content).getUint32(at));
    else if (kind === "bdFW") payloads.push(content);
  if (!size) throw damaged("PNG");
  return size;
}

/**
 * An opaque WebP or JPEG with the payload, as src/bdflow/smallfile puts it there, and without all that is no picture:
 * browsers write a colour profile of half a kilobyte, which says sRGB.
 * @param {Uint8Array} coded
 * @param {Uint8Array} payload
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function insert(coded, payload) {
  const data = view(coded);
  if (recognised(coded) === "JPEG") {
    const kept = [];
    let place = 2;
    for (; data.getUint8(place + 1) !== 0xda; place += 2 + data.getUint16(place + 2))
      if (data.getUint8(place + 1) >> 4 !== 0xe) kept.push(coded.subarray(place, place + 2 + data.getUint16(place + 2)));
    const segment = [0xff, 0xef, 0, 4 + payload.length, ...ascii("bd"), ...payload];
    return joined([0xff, 0xd8], segment, ...kept, coded.subarray(place));
  }
  let place = 12;
  while (text(coded, place, 4) !== "VP8 ") place += 8 + ((data.getUint32(place + 4, true) + 1) & ~1);
  const picture = coded.subarray(place, place + 8 + ((data.getUint32(place + 4, true) + 1) & ~1));
  const chunk = [...ascii("bdFW"), ...little(payload.length, 4), ...payload];
  return joined(ascii("RIFF"), little(4 + picture.length + chunk.length, 4), ascii("WEBP"), picture, chunk);
}

/** @param {string} letters */
const ascii = (letters) => Array.from(letters, (letter) => letter.charCodeAt(0));

/** @param {number} value @param {number} count */
const little = (value, count) => Array.from({ length: count }, (_, i) => (value >> (8 * i)) & 255);

/** @param {ArrayLike<number>[]} pieces */
function joined(...pieces) {
  const all = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let place = 0;
  for (const piece of pieces) {
    all.set(piece, place);
    place += piece.length;
  }
  return all;
}
