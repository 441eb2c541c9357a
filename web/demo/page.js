// The page's own part: bytes counted, sliders between restored and rival, and one's own photograph.

import "./bdflow/element.js";
import { configure, inspect, restore, shrink } from "./bdflow/index.js";

const element = (/** @type {string} */ selector, /** @type {ParentNode} */ within = document) =>
  /** @type {any} */ (within.querySelector(selector));
const counted = (/** @type {number} */ bytes) => `${bytes.toLocaleString("en")} bytes`;

const purpose = element("main").dataset.for;
configure({ for: purpose });

// What was fetched

const sizes = new Map(); // of pictures, by address
let network = 0;
async function count(/** @type {string} */ address) {
  network ||= (await (await fetch(`bdflow/weights/restoration-${purpose}.json`)).json()).bytes;
  sizes.set(address, (await (await fetch(address)).blob()).size); // out of the browser's cache
  const pictures = [...sizes.values()].reduce((sum, bytes) => sum + bytes, 0);
  element("#total").textContent =
    `${sizes.size} pictures restored, ${counted(pictures)} in all; and once ${counted(network)} of network.`;
}

// The gallery

/** What stands on the left: the file itself, or the plain AVIF, which bdflow enlarges without a network. */
async function showRival(/** @type {any} */ figure) {
  const rival = element(".rival", figure);
  const kind = element("[name=rival]:checked").value;
  const source = rival.dataset[kind];
  if (rival.dataset.shown === source) return;
  rival.dataset.shown = source;
  URL.revokeObjectURL(rival.src);
  rival.src = kind === "small" ? source : URL.createObjectURL(await restore(source));
  rival.hidden = false;
}

for (const figure of document.querySelectorAll("#pictures figure")) {
  const [slider, caption, rival] = [element("input", figure), element("figcaption", figure), element(".rival", figure)];
  const said = caption.textContent;
  let started = 0;
  figure.addEventListener("bdprogress", () => (started ||= performance.now()));
  figure.addEventListener("bderror", ({ detail: { error } }) => (caption.textContent = error.message));
  figure.addEventListener("bdrestored", ({ detail: { header } }) => {
    const seconds = ((performance.now() - started) / 1000).toFixed(2);
    caption.textContent = `${said}, restored to ${header.size.join("x")} in ${seconds} s`;
    count(rival.dataset.small);
  });
  slider.addEventListener("input", () => {
    rival.style.setProperty("--left", `${slider.value}%`);
    slider.setAttribute("aria-valuetext", `restored from ${slider.value} % of the width on`);
    showRival(figure);
  });
}

for (const radio of document.querySelectorAll("[name=rival]"))
  radio.addEventListener("change", () => {
    for (const figure of document.querySelectorAll("#pictures figure"))
      if (!element(".rival", figure).hidden) showRival(figure);
  });

// One's own photograph

const [state, own] = [element("#state"), element("#own")];
let controller = new AbortController();

function show(/** @type {string} */ name, /** @type {Blob} */ blob, /** @type {string} */ said) {
  const image = element(`#${name}`, own);
  URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(blob);
  element("span", image.parentElement).textContent = `: ${said}`;
  own.hidden = false;
}

element("form").addEventListener("change", async ({ currentTarget }) => {
  const [photograph] = currentTarget.file.files;
  if (!photograph) return;
  controller.abort();
  controller = new AbortController();
  const { signal } = controller;
  /** @type {(name: string, domain: any, type: any) => Promise<void>} */
  const make = async (name, domain, type) => {
    const onProgress = (/** @type {number} */ share) => (state.textContent = `${name}: ${Math.round(100 * share)} %`);
    const small = await shrink(photograph, { bytes: Number(currentTarget.bytes.value), domain, type, signal, onProgress });
    const { size, thumbnail } = inspect(new Uint8Array(await small.arrayBuffer()));
    const result = await restore(small, { signal });
    show(name, result, `${counted(small.size)}, ${thumbnail.join("x")} to ${size.join("x")}`);
  };
  try {
    show("original", photograph, counted(photograph.size));
    const domain = currentTarget.domain.value;
    await make("result", domain, "image/webp").catch((error) => {
      if (!/cannot write/.test(error.message)) throw error; // Safari writes no WebP
      return make("result", domain, "image/jpeg");
    });
    await make("jpeg", "plain", "image/jpeg");
    await make("webp", "plain", "image/webp");
    state.textContent = "Done.";
  } catch (error) {
    if (!signal.aborted) state.textContent = /** @type {Error} */ (error).message;
  }
});
