/** The worker of a page that restores AVIF, WebP and JPEG. */

import { BDFlowError } from "./errors.js";
import { listen } from "./jobs.js";

listen(async (_, { payload }) => {
  throw new BDFlowError(`a PNG of the model ${payload.model}, which ONNX Runtime computes: import "bdflow/ort" into the page`);
});
