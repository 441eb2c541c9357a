// The page's own part: bytes and times below each picture, and the thumbnail while a picture is pressed.

import "./bdflow/element.js";

let bytes = 0;
const total = /** @type {HTMLElement} */ (document.querySelector("#total"));

for (const figure of document.querySelectorAll("figure")) {
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
