// The test vectors that Python reads, too: tests/vectors.

import { readFileSync } from "node:fs";

const FOLDER = new URL("../../tests/vectors/", import.meta.url);

/** @param {string} name */
export const file = (name) => new Uint8Array(readFileSync(new URL(name, FOLDER)));

/** @param {string} name */
export const json = (name) => JSON.parse(readFileSync(new URL(name, FOLDER), "utf8"));

/** @param {string} text @returns {Uint8Array} */
export const hex = (text) => new Uint8Array(Buffer.from(text, "hex"));

/** @param {string} text */
export const base64 = (text) => new Uint8ClampedArray(Buffer.from(text, "base64"));
