// Builds the package: kernels by clang, modules by esbuild, types by tsc.  `node build.js kernels` stops after the first.

import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

process.chdir(fileURLToPath(new URL(".", import.meta.url)));

/** src/kernels.js: the code of kernels/restoration.c for WebAssembly, as text that any server and bundler passes on. */
function buildKernels() {
  const folder = mkdtempSync(join(tmpdir(), "bdflow-"));
  try {
    const wasm = join(folder, "kernels.wasm");
    execFileSync(
      process.env.CLANG ?? "clang",
      [
        "--target=wasm32", "-msimd128", "-O3", "-nostdlib", "-Wall", "-Wextra", "-Werror",
        "-Wl,--no-entry", "-Wl,--export=__heap_base", "-Wl,--strip-all",
        "kernels/restoration.c", "-o", wasm,
      ],
      { stdio: "inherit" },
    );
    const text = readFileSync(wasm).toString("base64");
    // Whole or not at all: tests beside this one may be reading it.
    const unfinished = `src/.kernels-${process.pid}.js`;
    writeFileSync(unfinished, `// Made of kernels/restoration.c by build.js.\nexport default /** @type {string} */ ("${text}");\n`);
    renameSync(unfinished, "src/kernels.js");
  } finally {
    rmSync(folder, { recursive: true });
  }
}

buildKernels();
if (process.argv[2] !== "kernels") {
  const { build } = await import("esbuild");
  rmSync("dist", { recursive: true, force: true });
  const names = ["index", "element", "ort", "worker", "ort-worker"];
  const { metafile } = await build({
    metafile: true,
    entryPoints: names.map((name) => `src/${name}.js`),
    outdir: "dist",
    bundle: true,
    splitting: true,
    minify: true,
    format: "esm",
    target: "es2022",
    chunkNames: "[name]-[hash]",
  });
  copyFileSync("../LICENSE", "LICENSE"); // npm packs what lies in this folder
  execFileSync("node_modules/.bin/tsc", ["--emitDeclarationOnly"], { stdio: "inherit" });
  let all = 0; // but for bdflow/ort
  for (const path of Object.keys(metafile.outputs)) {
    const bytes = readFileSync(path);
    const zipped = gzipSync(bytes, { level: 9 }).length;
    if (!path.startsWith("dist/ort")) all += zipped;
    console.log(`${path}: ${bytes.length} bytes, ${zipped} gzipped`);
  }
  console.log(`all together, without ort: ${all} bytes gzipped`);
}
