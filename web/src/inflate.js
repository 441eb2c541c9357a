/** Deflated bytes, by the browser. */

/**
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @param {"deflate" | "deflate-raw"} format
 * @param {number} most Bytes that may come out.
 * @returns {Promise<Uint8Array>}
 * @throws {TypeError} They are damaged, or become more.
 */
export async function inflated(bytes, format, most) {
  const result = new Uint8Array(most);
  const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream(format)).getReader();
  for (let place = 0; ; ) {
    const { done, value } = await reader.read();
    if (done) return result.subarray(0, place);
    if (place + value.length > most) {
      await reader.cancel();
      throw new TypeError("more than it may be");
    }
    result.set(value, place);
    place += value.length;
  }
}
