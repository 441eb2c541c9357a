/**
 * How coarsely a file was coded, from the file itself: what a network that restores it is told. The same as
 * src/bdflow/smallfile/quantizer.py, which says more.
 */

import { boxes, items, text, view } from "./containers.js";

const BEGINNING = 4096; // bytes of the primary picture in which its quantiser stands

/** Of another kind than this reads; quality is then not known. */
class Unusual extends Error {}

/**
 * The quality that a lossy file was coded at, 0 to 100.
 * @param {Uint8Array} bytes An AVIF, WebP or JPEG.
 * @returns {number | null} null where the file is lossless or unusual.
 */
export function quality(bytes) {
  try {
    if (text(bytes, 0, 4) === "RIFF") return ofWebp(bytes);
    if (bytes[0] === 0xff && bytes[1] === 0xd8) return ofJpeg(bytes);
    return ofAvif(bytes);
  } catch (error) {
    if (error instanceof RangeError || error instanceof Unusual) return null;
    throw error;
  }
}

/** Whole numbers of a stream of bits, the highest bit first (AV1's f(n)). */
class Bits {
  #bytes;
  #position = 0;

  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.#bytes = bytes;
  }

  /** @param {number} count */
  read(count) {
    let value = 0;
    for (; count > 0; count--, this.#position++) {
      if (this.#position >> 3 >= this.#bytes.length) throw new RangeError();
      value = value * 2 + ((this.#bytes[this.#position >> 3] >> (7 - (this.#position & 7))) & 1);
    }
    return value;
  }
}

/** By the base quantiser index of the primary picture (AV1, 5.9.12). @param {Uint8Array} bytes */
function ofAvif(bytes) {
  let sequence = null;
  for (const [kind, content] of units(primaryItem(bytes))) {
    if (kind === 1) sequence = sequenceHeader(new Bits(content));
    else if ((kind === 3 || kind === 6) && sequence)
      return 100 * (1 - baseQIndex(new Bits(content), sequence) / 255);
  }
  return null;
}

/** The beginning of the coded primary picture (ISO 14496-12, 8.11.3). @param {Uint8Array} bytes */
function primaryItem(bytes) {
  const data = view(bytes);
  const meta = [...boxes(bytes, 0, bytes.length)].find(([kind]) => kind === "meta");
  if (!meta) throw new Unusual();
  const inside = new Map([...boxes(bytes, meta[1] + 4, meta[2])].map(([kind, start]) => [kind, start]));
  const primary = inside.get("pitm");
  const locations = inside.get("iloc");
  if (primary === undefined || locations === undefined) throw new Unusual();
  const wanted = bytes[primary] ? data.getUint32(primary + 4) : data.getUint16(primary + 4);
  for (const { number, offset, length } of items(bytes, locations))
    if (number === wanted) return bytes.subarray(offset, offset + Math.min(length, BEGINNING));
  throw new Unusual();
}

/**
 * Type and content of the open bitstream units of AV1.
 * @param {Uint8Array} bytes
 * @returns {Generator<[number, Uint8Array]>}
 */
function* units(bytes) {
  const data = view(bytes);
  for (let place = 0; place < bytes.length; ) {
    const header = bytes[place];
    place += 1 + ((header >> 2) & 1);
    let size = bytes.length - place;
    if (header & 2) {
      size = 0;
      for (let digit = 0; digit < 8; digit++) {
        const byte = data.getUint8(place++);
        size += (byte & 127) * 128 ** digit;
        if (byte < 128) break;
      }
    }
    yield [(header >> 3) & 15, bytes.subarray(place, place + size)];
    place += size;
  }
}

/** What the frame header's reading depends on (AV1, 5.5.1); of still pictures alone. @param {Bits} bits */
function sequenceHeader(bits) {
  bits.read(3);
  const still = bits.read(1);
  const reduced = bits.read(1);
  if (!still) throw new Unusual();
  if (reduced) bits.read(5);
  else {
    if (bits.read(1)) throw new Unusual();
    const delay = bits.read(1);
    for (let points = bits.read(5) + 1; points > 0; points--) {
      bits.read(12);
      if (bits.read(5) > 7) bits.read(1);
      if (delay && bits.read(1)) bits.read(4);
    }
  }
  const lengths = [bits.read(4) + 1, bits.read(4) + 1];
  const [width, height] = lengths.map((length) => bits.read(length) + 1);
  if (!reduced && bits.read(1)) throw new Unusual();
  const large = bits.read(1);
  bits.read(2);
  let [screen, integer, order] = [2, 2, 0];
  if (!reduced) {
    bits.read(4);
    const ordered = bits.read(1);
    if (ordered) bits.read(2);
    screen = bits.read(1) ? 2 : bits.read(1);
    if (screen) integer = bits.read(1) ? 2 : bits.read(1);
    if (ordered) order = bits.read(3) + 1;
  }
  return { reduced, width, height, large, screen, integer, order, superres: bits.read(1) };
}

/** @param {Bits} bits @param {ReturnType<typeof sequenceHeader>} sequence */
function baseQIndex(bits, sequence) {
  const { reduced } = sequence;
  if (!reduced && (bits.read(1) || bits.read(2) || !bits.read(1))) throw new Unusual();
  const frozen = bits.read(1);
  const screen = sequence.screen === 2 ? bits.read(1) : sequence.screen;
  if (screen && sequence.integer === 2) bits.read(1);
  if (!reduced && bits.read(1)) throw new Unusual();
  bits.read(sequence.order);
  const scaled = sequence.superres && bits.read(1);
  if (scaled) bits.read(3);
  if (bits.read(1)) bits.read(32);
  if (screen && !scaled) bits.read(1);
  if (!(reduced || frozen)) bits.read(1);
  skipTiles(bits, sequence);
  return bits.read(8);
}

/** AV1, 5.9.15. @param {Bits} bits @param {ReturnType<typeof sequenceHeader>} sequence */
function skipTiles(bits, sequence) {
  const shift = sequence.large ? 5 : 4;
  const [columns, rows] = [sequence.width, sequence.height].map(
    (side) => (2 * ((side + 7) >> 3) + (1 << shift) - 1) >> shift,
  );
  const least = log2(4096 >> (shift + 2), columns);
  const mostAcross = log2(1, Math.min(columns, 64));
  const mostDown = log2(1, Math.min(rows, 64));
  const leastOfAll = Math.max(least, log2((4096 * 2304) >> (2 * (shift + 2)), rows * columns));
  if (!bits.read(1)) throw new Unusual();
  let across = least;
  while (across < mostAcross && bits.read(1)) across++;
  let down = Math.max(leastOfAll - across, 0);
  while (down < mostDown && bits.read(1)) down++;
  if (across || down) bits.read(across + down + 2);
}

/** @param {number} block @param {number} target */
function log2(block, target) {
  let power = 0;
  while (block * 2 ** power < target) power++;
  return power;
}

/** By the quantiser indices of a lossy frame (RFC 6386, 9.3 and 9.6). @param {Uint8Array} bytes */
function ofWebp(bytes) {
  const data = view(bytes);
  let place = 12;
  while (data.getUint32(place) !== 0x56503820) {
    place += 8 + data.getUint32(place + 4, true); // not yet "VP8 "
    place += place & 1;
  }
  const start = place + 8;
  if ((data.getUint32(start + 2) & 0xffffff) !== 0x9d012a) return null;
  const cubed = (1 - vp8Index(new Booleans(bytes.subarray(start + 10))) / 127) ** 3;
  return 100 * (cubed < 0.5 ? cubed * 1.5 : (cubed + 1) / 2);
}

/** The boolean decoder of VP8 (RFC 6386, 7.3), for what has even odds. */
class Booleans {
  #data;
  #place = 2;
  #value;
  #range = 255;
  #shifted = 0;

  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.#data = view(bytes);
    this.#value = this.#data.getUint16(0);
  }

  /** A number of so many bits, the highest first. @param {number} count */
  read(count) {
    let number = 0;
    for (; count > 0; count--) {
      const split = 1 + (((this.#range - 1) * 128) >> 8);
      const bit = this.#value >= split << 8 ? 1 : 0;
      if (bit) {
        this.#range -= split;
        this.#value -= split << 8;
      } else this.#range = split;
      while (this.#range < 128) {
        this.#value <<= 1;
        this.#range <<= 1;
        if (++this.#shifted === 8) {
          this.#shifted = 0;
          this.#value |= this.#data.getUint8(this.#place++);
        }
      }
      number = (number << 1) | bit;
    }
    return number;
  }

  /** A number behind a bit that says whether it is there, and with a sign; else 0. @param {number} count */
  optional(count) {
    if (!this.read(1)) return 0;
    const number = this.read(count);
    return this.read(1) ? -number : number;
  }
}

/** The quantiser index, 0 to 127; where there are segments, their mean. @param {Booleans} booleans */
function vp8Index(booleans) {
  booleans.read(2);
  let segments = [0];
  let absolute = 0;
  if (booleans.read(1)) {
    const mapped = booleans.read(1);
    if (booleans.read(1)) {
      absolute = booleans.read(1);
      segments = [0, 1, 2, 3].map(() => booleans.optional(7));
      for (let i = 0; i < 4; i++) booleans.optional(6);
    }
    if (mapped) for (let i = 0; i < 3; i++) if (booleans.read(1)) booleans.read(8);
  }
  booleans.read(10);
  if (booleans.read(1) && booleans.read(1)) for (let i = 0; i < 8; i++) booleans.optional(6);
  booleans.read(2);
  const base = booleans.read(7);
  const mean = segments.reduce((sum, each) => sum + each, 0) / segments.length;
  return Math.min(127, Math.max(0, absolute ? mean : base + mean));
}

const STANDARD_LUMA_SUM = 3688; // of the steps of table K.1 of the JPEG standard

/** By the luma table (ITU-T T.81, B.2.4.1), as libjpeg scales it. @param {Uint8Array} bytes */
function ofJpeg(bytes) {
  const data = view(bytes);
  let place = 2;
  while (data.getUint8(place) === 0xff && data.getUint8(place + 1) !== 0xda) {
    const marker = data.getUint8(place + 1);
    if (marker === 0xff) {
      place += 1; // a fill byte
      continue;
    }
    const end = place + 2 + data.getUint16(place + 2);
    let at = place + 4;
    while (marker === 0xdb && at < end) {
      const wide = data.getUint8(at) >> 4 ? 1 : 0;
      const step = (/** @type {number} */ i) =>
        wide ? data.getUint16(at + 1 + 2 * i) : data.getUint8(at + 1 + i);
      if (!(bytes[at] & 15)) {
        let sum = 0;
        for (let i = 0; i < 64; i++) sum += step(i);
        const scale = (100 * sum) / STANDARD_LUMA_SUM;
        return scale <= 100 ? (200 - scale) / 2 : 5000 / scale;
      }
      at += 1 + 64 * (1 + wide);
    }
    place = end;
  }
  return null;
}
