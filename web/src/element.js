/**
 * `<bd-img>` wraps an ordinary `<img>` of a small file and puts the photograph in its place.
 *
 * Whatever fails, and without JavaScript, the thumbnail stands. It restores when it comes into view, and stops where
 * it was scrolled away. Attributes: `for` (light, fidelity or look); `scale` and `domain`, of files that lost their metadata.
 * Events, which bubble: `bdprogress` ({ share, stage }), `bdrestored` ({ header }), `bderror` ({ error }).
 */

import { BDFlowError } from "./errors.js";
import { inspect } from "./inspect.js";
import { restore } from "./restore.js";

const NEAR = "200px"; // of the view: what is so near is restored, too

const observer = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      const element = /** @type {BdImg | null} */ (target.closest("bd-img"));
      if (element) element.near = isIntersecting;
    }
  },
  { rootMargin: NEAR },
);

/** Whoever saves data gets the thumbnail, unless `restore()` is called. */
const saving = () =>
  /** @type {any} */ (navigator).connection?.saveData || matchMedia("(prefers-reduced-data: reduce)").matches;

export class BdImg extends HTMLElement {
  static observedAttributes = ["for", "scale", "domain"];

  #near = false;
  /** @type {string | undefined} */ #restored; // the address of the small file that is shown restored
  /** @type {string | undefined} */ #shown; // the photograph's own
  /** @type {{ source: string, controller: AbortController } | undefined} */ #running;
  /** @type {string | undefined} */ #failed; // is not tried again by itself, until there is a connection again
  #online = () => {
    this.#failed = undefined;
    this.#look();
  };

  constructor() {
    super();
    // The image loads when it likes (lazily, or another by its density or a script): its events do not bubble.
    this.addEventListener("load", () => this.#look(), true);
  }

  connectedCallback() {
    addEventListener("online", this.#online);
    this.#look();
  }

  disconnectedCallback() {
    removeEventListener("online", this.#online);
    if (this.image) observer.unobserve(this.image);
    this.near = false;
    if (this.#shown) URL.revokeObjectURL(this.#shown);
  }

  attributeChangedCallback() {
    this.#failed = undefined;
    if (!this.isConnected || !this.#restored || !this.image) return;
    this.image.src = this.#restored; // and from its load event on anew
  }

  /** The wrapped image. */
  get image() {
    return this.querySelector("img");
  }

  /** Whether it is in view or nearly so. @param {boolean} near */
  set near(near) {
    this.#near = near;
    if (near) this.#look();
    else this.#cancel();
  }

  #cancel() {
    this.#running?.controller.abort();
    this.#running = undefined;
  }

  /** Restore if there is something to restore, it is near, and nobody saves data. */
  #look() {
    const image = this.image;
    if (!this.isConnected || !image?.complete || !image.naturalWidth || image.currentSrc === this.#shown) return;
    observer.observe(image);
    if (this.#running && this.#running.source !== image.currentSrc) this.#cancel(); // it shows another picture now
    if (this.#near && !this.#running && image.currentSrc !== this.#failed && !saving()) this.restore();
  }

  /** Restore now. Errors become the event `bderror`. */
  async restore() {
    const image = this.image;
    if (!image) return;
    this.#cancel();
    const source = image.currentSrc;
    const running = { source, controller: new AbortController() };
    this.#running = running;
    const { signal } = running.controller;
    try {
      const credentials = image.crossOrigin === "use-credentials" ? "include" : "same-origin";
      const response = await fetch(source, { signal, credentials }).catch(() => null);
      const why = response?.status ?? "no connection, or its server allows no CORS";
      if (!response?.ok) throw new BDFlowError(`${source} cannot be fetched (${why})`);
      const file = await response.blob();
      const stripped = {
        scale: this.hasAttribute("scale") ? Number(this.getAttribute("scale")) : undefined,
        domain: /** @type {import("./inspect.js").Domain} */ (this.getAttribute("domain") ?? undefined),
      };
      const header = inspect(new Uint8Array(await file.arrayBuffer()), stripped);
      if (header.factor === 1 && !("payload" in header) && header.domain === "plain") {
        this.#failed = source; // it is the photograph already
        return;
      }
      const photograph = await restore(file, {
        ...stripped,
        for: /** @type {import("./restore.js").Purpose} */ (this.getAttribute("for") ?? undefined),
        signal,
        onProgress: (share, stage) => this.#tell("bdprogress", { share, stage }),
      });
      await this.#show(image, photograph, header, signal);
      this.#restored = source;
      this.#tell("bdrestored", { header });
    } catch (error) {
      if (signal.aborted) return;
      this.#failed = source;
      this.#tell("bderror", { error });
    } finally {
      if (this.#running === running) this.#running = undefined;
    }
  }

  /**
   * @param {HTMLImageElement} image
   * @param {Blob} photograph
   * @param {import("./inspect.js").Header} header
   * @param {AbortSignal} signal
   */
  async #show(image, photograph, { size: [width, height] }, signal) {
    const address = URL.createObjectURL(photograph);
    const ready = new Image();
    ready.src = address;
    await ready.decode(); // so that nothing flickers
    if (signal.aborted) {
      URL.revokeObjectURL(address);
      signal.throwIfAborted();
    }
    if (this.#shown) URL.revokeObjectURL(this.#shown);
    this.#shown = address;
    if (!image.hasAttribute("width") && !image.hasAttribute("height")) [image.width, image.height] = [width, height];
    image.removeAttribute("srcset");
    image.src = address;
  }

  /** @param {string} name @param {object} detail */
  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { bubbles: true, composed: true, detail }));
  }
}

if (!customElements.get("bd-img")) customElements.define("bd-img", BdImg);
