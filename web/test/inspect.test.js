import assert from "node:assert/strict";
import { test } from "node:test";

import { insert } from "../src/containers.js";
import { DOMAINS, FACTORS, describe, inspect, pack, unpack } from "../src/inspect.js";
import { quality } from "../src/quantizer.js";
import { file, hex, json } from "./vectors.js";

const vectors = json("thumbnails.json");

for (const entry of vectors.files)
  test(`${entry.file} says what Python reads`, () => {
    const found = inspect(file(entry.file));
    assert.deepEqual({ ...found, quality: Number(found.quality?.toFixed(5)) }, {
      format: entry.format,
      marked: true,
      factor: entry.factor,
      domain: entry.domain,
      thumbnail: entry.thumbnail,
      size: entry.photograph,
      quality: entry.quality,
    });
    assert.deepEqual(describe(found).map((value) => Number(value.toFixed(6))), entry.told);
  });

test("payloads, whole and damaged", () => {
  for (const { payload, refused, ...said } of vectors.payloads)
    if (refused) assert.throws(() => unpack(hex(payload)), { name: "BDFlowError", message: new RegExp(refused) });
    else assert.deepEqual(unpack(hex(payload)), said);
});

test("payloads are packed and put into files as Python does it", () => {
  for (const { payload, factor, domain, beyond, refused } of vectors.payloads)
    if (!refused) assert.deepEqual(pack(FACTORS.indexOf(factor), DOMAINS.indexOf(domain), beyond), hex(payload));
  const jpeg = file("x2.jpg");
  const jfif = [0xff, 0xe0, 0, 16, 74, 70, 73, 70, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0];
  const profile = [0xff, 0xe2, 0, 4, 1, 2];
  const picture = jpeg.slice(12); // what follows on the payload's segment
  assert.deepEqual(insert(Uint8Array.of(0xff, 0xd8, ...jfif, ...profile, ...picture), jpeg.slice(8, 12)), jpeg);
  const webp = file("x2-simple.webp");
  const frame = webp.slice(12, -12);
  const riff = (/** @type {number[]} */ ...body) =>
    Uint8Array.of(...webp.slice(0, 4), body.length + 4, 0, 0, 0, ...webp.slice(8, 12), ...body);
  assert.deepEqual(insert(riff(...frame), webp.slice(-4)), webp);
  const iccp = [73, 67, 67, 80, 3, 0, 0, 0, 1, 2, 3, 0];
  assert.deepEqual(insert(riff(...file("x2.webp").slice(12, 30), ...iccp, ...frame), webp.slice(-4)), webp);
});

test("a stripped file is taken as told", () => {
  const bytes = file("x2.avif").slice(0, -14); // without its box of free space
  const bare = inspect(bytes);
  assert.deepEqual([bare.marked, bare.factor, bare.domain, bare.size], [false, 1, "plain", [17, 16]]);
  const told = inspect(bytes, { scale: 2 });
  assert.deepEqual([told.marked, told.factor, told.domain, told.size], [false, 2, "photos", [34, 32]]);
  assert.equal(inspect(bytes, { scale: 1.5, domain: "portraits" }).domain, "portraits");
  assert.throws(() => inspect(bytes, { scale: 5 }), /a scale is one of 1, 1.5/);
});

test("of a thumbnail that was saved anew without loss the codec is not known", () => {
  const header = inspect(file("x2-simple.webp"));
  const anew = { ...header, marked: false, quality: null };
  assert.deepEqual(describe(anew), [0, 0, 0, 0.25, 0, 0, 0, 1, 0]);
  assert.deepEqual(describe({ ...anew, marked: true }), [0, 1, 0, 0.25, 0, 0, 0, 1, 0]);
});

test("what is no such file, cut short, doubled, or of another size is refused", () => {
  assert.throws(() => inspect(new TextEncoder().encode("<html>404")), /not an AVIF, WebP, JPEG or PNG/);
  assert.throws(() => inspect(new Uint8Array()), /not an AVIF, WebP, JPEG or PNG/);
  for (const { file: name, format } of vectors.files) {
    const bytes = file(name);
    if (format !== "JPEG") assert.throws(() => inspect(bytes.slice(0, -1)), /damaged or cut short/);
    for (let length = 0; length < bytes.length; length++) {
      try {
        inspect(bytes.slice(0, length));
      } catch (error) {
        assert.equal(error.name, "BDFlowError", `${name} cut at ${length}: ${error.stack}`);
      }
    }
  }
  const slim = file("x2-slim.avif"); // whose payload is in the box of the pixels
  assert.throws(() => inspect(new Uint8Array([...slim, ...file("x2.avif").slice(-14)])), /holds 2 bdflow chunks/);
  const twice = new Uint8Array([...file("x2.avif"), ...file("x2.avif").slice(-14)]);
  assert.throws(() => inspect(twice), /holds 2 bdflow chunks where one belongs/);
  const jpeg = file("x2.jpg"); // its payload promises a picture of even sides less one
  jpeg[8 + 2] = 0xff;
  assert.throws(() => inspect(jpeg), /damaged|cropped or resized/);
});

test("however a file is damaged, its quality is a number or is not known", () => {
  for (const { file: name } of vectors.files) {
    const bytes = file(name);
    for (let place = 0; place < bytes.length; place++) {
      const broken = bytes.slice();
      broken[place] ^= 0xff;
      const found = quality(broken);
      assert.ok(found === null || Number.isFinite(found));
    }
  }
});
