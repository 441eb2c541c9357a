import assert from "node:assert/strict";
import { test } from "node:test";

import { cell, restoring } from "../src/enhancer.js";
import { FACTORS, inspect } from "../src/inspect.js";
import { enlarged } from "../src/resample.js";
import { Network } from "../src/network.js";
import { cut } from "../src/tiles.js";
import { Wasm } from "../src/wasm.js";
import { readWeights } from "../src/weights.js";
import { base64, file, hex, json } from "./vectors.js";

/** @param {string} precision */
const weights = (precision) =>
  readWeights(file(`${precision}/${json(`${precision}/restoration-fidelity.json`).file}`));

/** @param {string} precision */
const network = async (precision) => new Network(weights(precision), await Wasm.start());

/** @template T @param {AsyncGenerator<number, T>} steps */
async function last(steps) {
  const shares = [];
  for (;;) {
    const { done, value } = await steps.next();
    if (done) return { value, shares };
    shares.push(value);
  }
}

/** @param {ArrayLike<number>} a @param {ArrayLike<number>} b */
const furthest = (a, b) => {
  assert.equal(a.length, b.length);
  let most = 0;
  for (let i = 0; i < a.length; i++) most = Math.max(most, Math.abs(a[i] - b[i]));
  return most;
};

/** @param {number} count */
function noise(count) {
  let state = 1;
  return Uint8ClampedArray.from({ length: count }, () => (state = (state * 48271) % 2147483647) & 255);
}

test("enlargements are Pillow's, sample by sample", () => {
  for (const entry of json("thumbnails.json").enlargements) {
    const [width, height] = entry.thumbnail;
    const image = { data: hex(entry.samples), width, height, channels: 3 };
    const [across, down] = entry.enlarged;
    const { data } = enlarged(image, entry.factor, [0, down], [0, across]);
    assert.deepEqual(data, hex(entry["enlarged samples"]));
  }
});

test("parts of an enlargement are those of the whole", () => {
  for (const factor of FACTORS) {
    const side = cell(factor);
    const [width, height] = [6 * Math.ceil(30 / factor), 6 * Math.ceil(20 / factor)];
    const image = { data: noise(width * height), width, height, channels: 1 };
    const [down, across] = [height, width].map((each) => Math.ceil((each * factor) / side));
    const whole = enlarged(image, factor, [0, down * side], [0, across * side]);
    for (let y = 0; y < down; y++)
      for (let x = 0; x < across; x++) {
        const part = enlarged(image, factor, [y * side, (y + 1) * side], [x * side, (x + 1) * side]);
        for (let row = 0; row < side; row++) {
          const start = (y * side + row) * whole.width + x * side;
          assert.deepEqual(part.data.slice(row * side, (row + 1) * side), whole.data.slice(start, start + side));
        }
      }
  }
});

test("tiles are cut as Python cuts them", () => {
  for (const { arguments: [height, width, limit, halo], spans } of json("restorations.json").tiles) {
    const found = cut(height, width, limit, halo);
    assert.deepEqual(found.map((side) => side.map(({ seen, kept }) => [...seen, ...kept])), spans);
  }
});

test("photographs are Python's within a level", async () => {
  for (const { file: name, precision, samples, restored } of json("restorations.json").restorations) {
    const restorer = await network(precision);
    const { value, shares } = await last(restoring(base64(samples), inspect(file(name)), restorer));
    assert.ok(furthest(value, base64(restored)) <= 1, name);
    assert.equal(shares.at(-1), 1);
    assert.deepEqual(shares, shares.toSorted((a, b) => a - b));
  }
});

test("tiles are the whole within a level, and too small ones are refused", async () => {
  const restorer = await network("float16");
  for (const factor of [1, 1.5, 3]) {
    const thumbnail = /** @type {[number, number]} */ ([Math.ceil(300 / factor / 2) * 2, Math.ceil(420 / factor / 2) * 2]);
    const header = /** @type {const} */ ({
      format: "WebP", marked: true, factor, domain: "photos", quality: 50, thumbnail, size: [299, 419],
    });
    const rgba = noise(thumbnail[0] * thumbnail[1] * 4);
    const whole = (await last(restoring(rgba, header, restorer))).value;
    const tiled = (await last(restoring(rgba, header, restorer, 200))).value;
    assert.ok(furthest(whole, tiled) <= 1);
  }
  const header = inspect(file("x2.avif"));
  await assert.rejects(last(restoring(noise(17 * 16 * 4), header, restorer, 128)), /too small: take 136 or more/);
});

test("one network restores pictures of all sizes one after the other", async () => {
  const restorer = await network("int8");
  const restore = async (/** @type {number} */ width, /** @type {number} */ height) =>
    (await last(restoring(noise(width * height * 4), {
      format: "AVIF", marked: true, factor: 1, domain: "photos", quality: 40, thumbnail: [width, height], size: [width, height],
    }, restorer))).value;
  const first = await restore(50, 30);
  await restore(9, 70);
  await restore(1, 1);
  assert.deepEqual(await restore(50, 30), first);
});

test("without a network a photograph is the plain enlargement", async () => {
  const header = inspect(file("pixel-x12.webp"));
  const { value } = await last(restoring(Uint8ClampedArray.of(10, 20, 30, 40), header, null));
  assert.deepEqual([...value], [10, 20, 30, 40]);
});

test("at 1.5 somebody else's thumbnail of an odd side goes on by a pixel", async () => {
  /** @type {(thumbnail: [number, number], size: [number, number]) => import("../src/inspect.js").Header} */
  const header = (thumbnail, size) =>
    ({ format: "JPEG", marked: false, factor: 1.5, domain: "plain", quality: 50, thumbnail, size });
  const [odd, even] = [noise(5 * 7 * 4), new Uint8ClampedArray(6 * 8 * 4)];
  for (let y = 0; y < 8; y++)
    for (let x = 0; x < 6; x++) {
      const from = (Math.min(y, 6) * 5 + Math.min(x, 4)) * 4;
      even.set(odd.subarray(from, from + 4), (y * 6 + x) * 4);
    }
  const found = (await last(restoring(odd, header([5, 7], [7, 10]), null))).value;
  assert.deepEqual(found, (await last(restoring(even, header([6, 8], [7, 10]), null))).value);
});

test("weights that are none, or of another network, are refused", () => {
  assert.throws(() => readWeights(new Uint8Array(4)), /not a weights file/);
  const { file: name } = json("int8/restoration-fidelity.json");
  assert.throws(() => readWeights(file(`int8/${name}`).slice(0, -1)), /not a weights file/);
});
