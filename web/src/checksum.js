/** CRC-32, as PNG and zlib have it. */

const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = (byte >>> 1) ^ (byte & 1 ? 0xedb88320 : 0);
  return byte;
});

/** @param {ArrayLike<number>} bytes @param {number} [earlier] The sum of what stands before them. */
export function crc32(bytes, earlier = 0) {
  let crc = ~earlier;
  for (let i = 0; i < bytes.length; i++) crc = (crc >>> 8) ^ table[(crc ^ bytes[i]) & 255];
  return ~crc >>> 0;
}
