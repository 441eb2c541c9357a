import assert from "node:assert/strict";
import { test } from "node:test";

import { decodeBoundary } from "../src/boundary.js";
import { crc32 } from "../src/checksum.js";
import { inspect } from "../src/inspect.js";
import { unpack } from "../src/payload1.js";
import { decodePng } from "../src/png.js";
import { BICUBIC, enlarged } from "../src/resample.js";
import { upscaling } from "../src/upscale.js";
import { base64, file, json } from "./vectors.js";

const vectors = json("pngs.json");
/** @param {string} text */
const bytes = (text) => new Uint8Array(base64(text));

for (const entry of vectors.files)
  test(`${entry.file} is what Python reads`, async () => {
    const data = file(`../golden/${entry.file}`);
    const header = inspect(data);
    assert.ok("payload" in header);
    const { payload, thumbnail: [width, height] } = header;
    for (const name of /** @type {const} */ (["model", "weights", "scale", "bits", "size", "gray", "bicubic"]))
      assert.deepEqual(payload[name], entry[name], name);
    assert.deepEqual(header.size, entry.size);
    const { rgba, gray } = await decodePng(data);
    assert.equal(gray, entry["stored gray"]);
    assert.deepEqual(rgba, base64(entry.samples));
    const colours = crc32(rgba.filter((_, i) => i % 4 < 3));
    assert.ok([colours, crc32(rgba.filter((_, i) => i % 4 === 3), colours)].includes(payload.checksum));
    if (!payload.boundary.length) assert.equal(entry.boundary, null);
    else assert.deepEqual(await decodeBoundary(payload.boundary.slice(), height, width, payload.bits), bytes(entry.boundary));
  });

for (const { what, png, samples } of vectors.pictures)
  test(`a PNG as others write it: ${what}`, async () => {
    const data = bytes(png);
    assert.deepEqual((await decodePng(data)).rgba, base64(samples));
    const header = inspect(data); // bdflow's chunk it has none
    assert.deepEqual([header.format, header.marked, header.size], ["PNG", false, [9, 7]]);
    assert.deepEqual(inspect(data, { scale: 2 }).size, [18, 14]);
  });

test("what is damaged, cut short or of another kind is refused", async () => {
  for (const { payload, why } of vectors["refused payloads"])
    assert.throws(() => unpack(bytes(payload)), (error) => error.name === "BDFlowError" && error.message.startsWith(why));
  for (const { code, bits } of vectors["refused boundary maps of 3x4"])
    await assert.rejects(decodeBoundary(bytes(code), 3, 4, bits), { name: "BDFlowError", message: /damaged/ });
  await assert.rejects(decodeBoundary(Uint8Array.of(9), 3, 4, 1), /unknown coding method 9/);
  const whole = file("../golden/v1-rgba-3-bit.png");
  for (let length = 0; length < whole.length; length++)
    assert.throws(() => inspect(whole.slice(0, length)), { name: "BDFlowError" }, `cut at ${length}`);
  for (let place = 8; place < whole.length; place++) {
    const broken = whole.slice();
    broken[place] ^= 0x10;
    assert.throws(() => inspect(broken), { name: "BDFlowError" }, `changed at ${place}`);
  }
  const wide = whole.slice(); // an optimiser's 16 bits: none writes them, but anybody can
  wide[24] = 16;
  new DataView(wide.buffer).setUint32(29, crc32(wide.subarray(12, 29)));
  await assert.rejects(decodePng(wide), /8 bits a sample/);
  wide.set([8, 6, 0, 0, 0], 24); // and of twice the height that there are samples for
  wide[23] *= 2;
  new DataView(wide.buffer).setUint32(29, crc32(wide.subarray(12, 29)));
  await assert.rejects(decodePng(wide), /damaged/);
  assert.throws(() => inspect(wide), /cropped or resized/);
});

test("transparency is enlarged as Pillow's bicubic does it", () => {
  const image = { data: bytes(vectors["of 7x5"]), width: 7, height: 5, channels: 1 };
  for (const { scale, samples } of vectors.bicubic) {
    const { data } = enlarged(image, scale, [0, 5 * scale], [0, 7 * scale], BICUBIC);
    assert.deepEqual(data, bytes(samples));
  }
});

/** @template T @param {AsyncGenerator<number, T>} steps */
async function last(steps) {
  for (;;) {
    const { done, value } = await steps.next();
    if (done) return value;
  }
}

test("tiles are put together where they belong, and what was shrunk bicubically is enlarged so", async () => {
  const [width, height] = [29, 23];
  const rgb = Uint8ClampedArray.from({ length: 3 * width * height }, (_, i) => (i * 37) % 256);
  const alpha = rgb.slice(0, width * height);
  const image = { rgb, alpha, width, height, gray: false };
  const levels = Uint8Array.from({ length: width * height }, (_, i) => i % 4);
  /** @type {(factor: number, size: [number, number], bicubic?: boolean) => import("../src/inspect.js").Downscaled} */
  const header = (factor, size, bicubic = false) => ({
    format: "PNG", marked: true, factor, thumbnail: [width, height], size,
    payload: { model: "a", weights: "", scale: factor, bits: 2, size, gray: false, bicubic, checksum: 0, boundary: new Uint8Array() },
  });
  const seen = [];
  /** Each sample four times, and its level added. @param {any} inputs */
  const run = async ({ small: { data, shape: [, , h, w] }, boundary }) => {
    seen.push([h, w]);
    return Uint8Array.from({ length: 3 * 4 * h * w }, (_, i) => {
      const [plane, y, x] = [Math.floor(i / (4 * h * w)), Math.floor((i % (4 * h * w)) / (2 * w)) >> 1, (i % (2 * w)) >> 1];
      return data[plane * h * w + y * w + x] / 2 + boundary.data[y * w + x];
    });
  };
  const whole = await last(upscaling(image, levels, header(2, [57, 46]), run, 4));
  assert.equal(seen.length, 1);
  assert.deepEqual(await last(upscaling(image, levels, header(2, [57, 46]), run, 4, 20)), whole);
  assert.ok(seen.length > 4);
  assert.equal(whole[(5 * 57 + 9) * 4 + 1], Math.floor(rgb[(2 * 29 + 4) * 3 + 1] / 2 + levels[2 * 29 + 4]));
  const narrow = { rgb: rgb.slice(0, 15), alpha: null, width: 1, height: 5, gray: true };
  const plain = await last(upscaling(narrow, levels, header(2, [2, 9], true), run, 4));
  const colours = { data: rgb.slice(0, 15), width: 1, height: 5, channels: 3 };
  const [r, g, b] = enlarged(colours, 2, [0, 10], [0, 2], BICUBIC).data.slice(6, 9);
  assert.deepEqual([...plain.slice(8, 12)], [...Array(3).fill((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16), 255]);
});
