/** A thumbnail's pixels by the browser's decoder, and a photograph's by its encoder. */

import { BDFlowError } from "./errors.js";
import { checkPixels } from "./inspect.js";

/**
 * Decode a small file.
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @param {import("./inspect.js").Thumbnail} header
 * @returns {Promise<Uint8ClampedArray>} Four bytes a pixel, as coded: without colour conversion, not premultiplied.
 */
export async function decode(bytes, { format, thumbnail: [width, height] }) {
  const blob = new Blob([bytes], { type: `image/${format.toLowerCase()}` });
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" }).catch(() => {
    throw new BDFlowError(`this browser cannot decode the ${format}`);
  });
  try {
    if (bitmap.width !== width || bitmap.height !== height)
      throw new BDFlowError(`the ${format} has ${bitmap.width}x${bitmap.height} pixels, not ${width}x${height}`);
    const context = /** @type {OffscreenCanvasRenderingContext2D} */ (
      new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true })
    );
    context.drawImage(bitmap, 0, 0);
    const { data } = context.getImageData(0, 0, width, height);
    return data.some((level, i) => i % 4 === 3 && level < 255) ? translucent(bitmap) : data;
  } finally {
    bitmap.close();
  }
}

/** A photograph, turned as its metadata say, in sRGB. @param {Uint8Array<ArrayBuffer>} bytes */
export async function decodePhotograph(bytes) {
  const bitmap = await createImageBitmap(new Blob([bytes])).catch(() => {
    throw new BDFlowError("this browser cannot decode the photograph");
  });
  const { width, height } = bitmap;
  checkPixels([width, height]);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (
    new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true })
  );
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}

/** A canvas of two dimensions premultiplies, and loses levels; WebGL does not. @param {ImageBitmap} bitmap */
function translucent(bitmap) {
  const { width, height } = bitmap;
  const gl = new OffscreenCanvas(1, 1).getContext("webgl");
  if (!gl) throw new BDFlowError("a picture with transparency needs WebGL, which this browser does not give");
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
  gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
  gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, gl.getParameter(gl.TEXTURE_BINDING_2D), 0);
  const data = new Uint8ClampedArray(width * height * 4);
  gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, data);
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return data;
}

/**
 * @typedef {"blob" | "bitmap" | "pixels"} Kind
 * @typedef {object} Coding
 * @property {Kind} as
 * @property {string} type Of a blob, such as `image/png`.
 * @property {number} [quality] Of a lossy blob, 0 to 1.
 */

/**
 * A photograph in the form that was asked for.
 * @param {ImageData} pixels
 * @param {Coding} coding
 * @returns {Promise<Blob | ImageBitmap | ImageData>}
 */
export async function encode(pixels, { as, type, quality }) {
  if (as === "pixels") return pixels;
  if (as === "bitmap") return createImageBitmap(pixels, { colorSpaceConversion: "none" });
  const canvas = new OffscreenCanvas(pixels.width, pixels.height);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.putImageData(pixels, 0, 0);
  return canvas.convertToBlob({ type, quality });
}
