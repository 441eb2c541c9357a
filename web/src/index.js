/** Restores photographs from bdflow's small files; see docs/web.md. */

export { BDFlowError } from "./errors.js";
export { inspect } from "./inspect.js";
export { configure, restore, shrink } from "./restore.js";
/** @typedef {import("./inspect.js").Header} Header */
/** @typedef {import("./inspect.js").Thumbnail} Thumbnail */
/** @typedef {import("./inspect.js").Downscaled} Downscaled */
/** @typedef {import("./restore.js").Options} Options */
