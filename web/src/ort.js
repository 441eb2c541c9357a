/** Import it into a page to restore PNG files, too: by ONNX Runtime for the web; see docs/web.md. */

import { runIn } from "./restore.js";

runIn(() => new Worker(new URL("./ort-worker.js", import.meta.url), { type: "module" }));
