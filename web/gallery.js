/** Tiles of all images of a batch, to be picked: a list box of which many options can be chosen. */

import { button, element } from "./elements.js";
import { nameOf } from "./images.js";
import { openLargeView } from "./large_view.js";

const FEW = 4;
const SOME = 12;
/** What ComfyUI does with Ctrl whatever has the focus: run, undo, redo, save, open. */
const OF_THE_PAGE = new Set(["enter", "z", "y", "s", "o"]);
/** Pixels around a tile that the ring of the focus takes. */
const RING = 4;

export class Gallery {
  /** What goes into the page. */
  element = element("div", "batch-sdxl-gallery");

  #status = element("div", "batch-sdxl-status");
  #list = element("div", "batch-sdxl-tiles");
  #buttons = element("div", "batch-sdxl-buttons");
  #images = [];
  #tiles = [];
  #picked = new Set();
  #focused = 0;
  #anchor = 0;
  #actions;

  /**
   * @param {object} actions what a person's doing leads to
   * @param {(place: number) => void} actions.toggle one image
   * @param {(from: number, to: number) => void} actions.add a range of images
   * @param {() => void} actions.all
   * @param {() => void} actions.none
   */
  constructor(actions) {
    this.#actions = actions;
    this.#status.setAttribute("role", "status");
    this.#list.setAttribute("role", "listbox");
    this.#list.setAttribute("aria-multiselectable", "true");
    this.#list.setAttribute("aria-label", "Images to pick");
    this.#buttons.append(
      button("All", "Pick all (Ctrl+A)", () => actions.all()),
      button("None", "Pick none (Escape)", () => actions.none()),
    );
    const head = element("div", "batch-sdxl-head");
    head.append(this.#status, this.#buttons);
    this.element.append(head, this.#list);
    // In Nodes 2.0, lets the wheel scroll the tiles once one has the focus.
    this.element.dataset.captureWheel = "true";
    this.element.addEventListener("keydown", (event) => this.#onKey(event));
    this.#list.addEventListener("click", (event) => this.#onClick(event));
    this.#list.addEventListener("dblclick", (event) => this.#view(this.#placeOf(event)));
    this.#list.addEventListener("focusin", (event) => this.#setFocused(this.#placeOf(event)));
  }

  /** @param {import("./images.js").Image[]} images */
  show(images) {
    if (images === this.#images) return;
    const hadFocus = this.#list.contains(document.activeElement);
    this.#images = images;
    this.#picked = new Set();
    this.#tiles = images.map((image, place) => tile(image, place));
    this.#focused = this.#anchor = 0;
    this.#tiles[0]?.setAttribute("tabindex", "0");
    const shapes = images.map(({ width, height }) => width / height);
    const alike = shapes.every((shape) => shape === shapes[0]);
    this.#list.style.setProperty("--shape", alike ? shapes[0] : 1);
    const size = images.length <= FEW ? 148 : images.length <= SOME ? 116 : 92;
    this.#list.style.setProperty("--size", `${size}px`);
    this.#list.replaceChildren(...this.#tiles);
    this.#list.scrollTop = 0;
    if (hadFocus) this.#focus(0);
  }

  /**
   * @param {number[]} places the picked ones
   * @param {string} status a line of text for the person
   * @param {boolean} fixed whether clicks change nothing
   */
  mark(places, status, fixed) {
    const picked = new Set(places);
    this.#tiles.forEach((tile, place) => {
      // Only what changed: a write to each of 400 tiles would restyle them all.
      if (picked.has(place) !== this.#picked.has(place)) {
        tile.setAttribute("aria-selected", String(picked.has(place)));
      }
    });
    this.#picked = picked;
    if (this.#status.textContent !== status) this.#status.textContent = status;
    this.#list.setAttribute("aria-readonly", String(fixed));
    this.#buttons.hidden = fixed || !this.#images.length;
  }

  #onClick(event) {
    const place = this.#placeOf(event);
    if (place < 0) return;
    this.#tiles[place].focus({ preventScroll: true });
    if (event.target.closest(".batch-sdxl-zoom")) this.#view(place);
    else this.#pick(place, event.shiftKey);
  }

  #onKey(event) {
    const control = event.ctrlKey || event.metaKey;
    if (control && OF_THE_PAGE.has(event.key.toLowerCase())) return;
    // The canvas has its own use for most keys: Delete would take the node away.
    event.stopPropagation();
    if (event.altKey || !this.#images.length) return;
    if (event.target.closest("button") && event.key !== "Escape") return;
    const action = control ? this.#controlActions[event.key] : this.#keyActions[event.key];
    if (!action) return;
    event.preventDefault();
    action(event);
  }

  #controlActions = { a: () => this.#actions.all() };

  #keyActions = {
    ArrowLeft: () => this.#focus(this.#focused - 1),
    ArrowRight: () => this.#focus(this.#focused + 1),
    ArrowUp: () => this.#focus(this.#focused - this.#columns()),
    ArrowDown: () => this.#focus(this.#focused + this.#columns()),
    PageUp: () => this.#focus(Math.max(this.#focused - this.#page(), 0)),
    PageDown: () => this.#focus(Math.min(this.#focused + this.#page(), this.#tiles.length - 1)),
    Home: () => this.#focus(0),
    End: () => this.#focus(this.#images.length - 1),
    " ": (event) => this.#pick(this.#focused, event.shiftKey),
    Enter: (event) => this.#pick(this.#focused, event.shiftKey),
    Escape: () => this.#actions.none(),
    v: () => this.#view(this.#focused),
    V: () => this.#view(this.#focused),
  };

  #pick(place, toAnchor) {
    if (toAnchor) this.#actions.add(this.#anchor, place);
    else this.#actions.toggle(place);
    this.#anchor = place;
  }

  #view(place) {
    if (place < 0) return;
    openLargeView({
      images: this.#images,
      place,
      isPicked: (k) => this.#picked.has(k),
      toggle: (k) => this.#pick(k, false),
      fixed: this.#list.getAttribute("aria-readonly") === "true",
      closed: (k) => this.#focus(k),
    });
  }

  /** Moves the focus to a place, if there is one. */
  #focus(place) {
    const tile = this.#tiles[place];
    if (!tile) return;
    tile.focus({ preventScroll: true });
    // Not scrollIntoView: it would move the page and ComfyUI's canvas as well.
    const [view, box] = [this.#list.getBoundingClientRect(), tile.getBoundingClientRect()];
    const scale = view.height / this.#list.offsetHeight; // of the canvas
    const room = RING * scale;
    const below = Math.max(0, box.bottom + room - view.bottom);
    const above = Math.min(0, box.top - room - view.top);
    this.#list.scrollTop += (above || below) / scale;
  }

  /** Of all tiles only one can be reached with Tab; arrow keys lead to the others. */
  #setFocused(place) {
    if (place < 0) return;
    this.#tiles[this.#focused]?.setAttribute("tabindex", "-1");
    this.#tiles[place].setAttribute("tabindex", "0");
    this.#focused = place;
  }

  #placeOf(event) {
    return this.#tiles.indexOf(event.target.closest("[role=option]"));
  }

  #columns() {
    return getComputedStyle(this.#list).gridTemplateColumns.split(" ").length;
  }

  #page() {
    const rows = Math.floor(this.#list.clientHeight / this.#tiles[0].offsetHeight);
    return Math.max(1, rows) * this.#columns();
  }
}

function tile(image, place) {
  const tile = element("div", "batch-sdxl-tile");
  const name = nameOf(image, place);
  tile.setAttribute("role", "option");
  tile.setAttribute("aria-selected", "false");
  tile.setAttribute("aria-label", `${name} · ${image.prompt}`);
  tile.setAttribute("tabindex", "-1");
  tile.title = `${name}\n${image.prompt}`;

  const picture = element("img", "batch-sdxl-picture");
  picture.loading = "lazy";
  picture.decoding = "async";
  picture.draggable = false;
  picture.alt = "";
  // Such as after a restart, of images that Batch Generate has not made.
  const gone = element("span", "batch-sdxl-missing", "Run again to see this image.");
  picture.addEventListener("error", () => picture.replaceWith(gone));
  picture.src = image.thumbnail;

  const zoom = button("⤢", "Large view (V, or double click)", () => {});
  zoom.className = "batch-sdxl-zoom";
  zoom.tabIndex = -1; // the key V does the same
  zoom.setAttribute("aria-hidden", "true");

  const frame = element("div", "batch-sdxl-frame");
  frame.append(picture, element("span", "batch-sdxl-tick", "✓"), zoom);
  tile.append(
    frame,
    element("div", "batch-sdxl-name", name),
    element("div", "batch-sdxl-prompt", image.prompt),
  );
  return tile;
}
