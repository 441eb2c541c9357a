/** Tiles of a picture too large to compute at once, cut as src/bdflow/runtime/tiles.py cuts them. */

/**
 * @typedef {object} Span One side of a tile, in cells: what it sees, and what is kept of it.
 * @property {[number, number]} seen
 * @property {[number, number]} kept
 */

/**
 * Cut a picture into rows and columns of tiles, so that as little as possible is computed twice.
 * @param {number} height In cells.
 * @param {number} width In cells.
 * @param {number} limit Cells that a square tile may see each way, more than two halos.
 * @param {number} halo Cells that a tile must see beyond those that are kept of it.
 * @returns {[Span[], Span[]]} Rows and columns.
 */
export function cut(height, width, limit, halo) {
  const most = 2 * fewest(height, limit, halo); // flatter ones are mostly overlap
  let best = [1, 1];
  let least = Infinity;
  for (let rows = 1; rows <= Math.min(most, Math.max(1, height - 2 * halo)); rows++) {
    const tall = seen(height, rows, halo);
    const wide = Math.floor((limit * limit) / tall);
    if (wide < width && wide <= 2 * halo) continue;
    const columns = fewest(width, wide, halo);
    const computed = rows * tall * columns * seen(width, columns, halo);
    if (computed < least) [best, least] = [[rows, columns], computed];
  }
  return [spans(height, best[0], halo), spans(width, best[1], halo)];
}

/** How many tiles a side takes that see at most `limit` cells. @type {(cells: number, limit: number, halo: number) => number} */
const fewest = (cells, limit, halo) =>
  cells <= limit ? 1 : Math.ceil((cells - 2 * halo) / (limit - 2 * halo));

/** Cells that each of so many tiles sees. @type {(cells: number, count: number, halo: number) => number} */
const seen = (cells, count, halo) => Math.ceil((cells + 2 * halo * (count - 1)) / count);

/** @param {number} cells @param {number} count @param {number} halo @returns {Span[]} */
function spans(cells, count, halo) {
  const length = seen(cells, count, halo);
  const starts = Array.from({ length: count }, (_, i) =>
    Math.floor(((cells - length) * i) / Math.max(1, count - 1)),
  );
  const cuts = [0, ...starts.slice(1).map((right, i) => (starts[i] + length + right) >> 1), cells];
  return starts.map((start, i) => ({ seen: [start, start + length], kept: [cuts[i], cuts[i + 1]] }));
}
