// The page's own part: bytes and times below each picture, the thumbnail while one is pressed; one's own photograph.

import "./bdflow/element.js";
import { inspect, restore, shrink } from "./bdflow/index.js";

let bytes = 0;
const total = /** @type {HTMLElement} */ (document.querySelector("#total"));

for (const figure of document.querySelectorAll("#pictures figure")) {
  const button = /** @type {HTMLButtonElement} */ (figure.querySelector("button"));
  const caption = /** @type {HTMLElement} */ (figure.querySelector("figcaption"));
  const format = caption.textContent;
  const source = /** @type {HTMLImageElement} */ (figure.querySelector("img")).src;
  let started = 0;
  figure.addEventListener("bdprogress", ({ detail: { share, stage } }) => {
    started ||= performance.now();
    caption.textContent = `${format}: ${stage === "weights" ? "fetching the network" : "restoring"}, ${Math.round(100 * share)} %`;
  });
  figure.addEventListener("bderror", ({ detail: { error } }) => (caption.textContent = `${format}: ${error.message}`));
  figure.addEventListener("bdrestored", async ({ detail: { header } }) => {
    const size = (await (await fetch(source)).blob()).size;
    bytes += size;
    const seconds = ((performance.now() - started) / 1000).toFixed(2);
    caption.textContent =
      `${format}: ${size.toLocaleString("en")} bytes, ${header.thumbnail.join("x")} pixels,` +
      ` restored to ${header.size.join("x")} in ${seconds} s`;
    total.textContent = `${bytes.toLocaleString("en")} bytes of pictures so far.`;
    if (!figure.querySelector(".thumbnail")) {
      const thumbnail = new Image();
      thumbnail.src = source;
      thumbnail.alt = "";
      thumbnail.className = "thumbnail";
      button.append(thumbnail);
    }
  });
  button.addEventListener("click", () =>
    button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true")),
  );
}

const state = /** @type {HTMLElement} */ (document.querySelector("#state"));
const own = /** @type {HTMLElement} */ (document.querySelector("#own"));
let controller = new AbortController();

/** @param {string} name @param {Blob} blob @param {string} said */
function show(name, blob, said) {
  const image = /** @type {HTMLImageElement} */ (own.querySelector(`#${name}`));
  URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(blob);
  /** @type {HTMLElement} */ (image.parentElement?.querySelector("span")).textContent = `: ${said}`;
}

document.querySelector("form")?.addEventListener("change", async ({ currentTarget }) => {
  const { file, bytes: budget, domain } = /** @type {any} */ (currentTarget);
  const [photograph] = file.files;
  if (!photograph) return;
  controller.abort();
  controller = new AbortController();
  const { signal } = controller;
  const onProgress = (/** @type {number} */ share) => (state.textContent = `Shrinking and restoring, ${Math.round(100 * share)} %`);
  try {
    const small = await shrink(photograph, { bytes: Number(budget.value), domain: domain.value, signal, onProgress }).catch(
      (error) => {
        if (!/cannot write/.test(error.message)) throw error; // Safari writes no WebP
        return shrink(photograph, { bytes: Number(budget.value), domain: domain.value, type: "image/jpeg", signal, onProgress });
      },
    );
    const { size, thumbnail } = inspect(new Uint8Array(await small.arrayBuffer()));
    const result = await restore(small, { signal });
    own.hidden = false;
    show("original", photograph, `${photograph.size.toLocaleString("en")} bytes, ${size.join("x")}`);
    show("small", small, `${small.size.toLocaleString("en")} bytes, ${thumbnail.join("x")}`);
    show("result", result, size.join("x"));
    state.textContent = "Done.";
  } catch (error) {
    if (!signal.aborted) state.textContent = /** @type {Error} */ (error).message;
  }
});
