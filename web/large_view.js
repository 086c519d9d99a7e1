/** One image of a gallery as large as the window, with keys to go on to the next. */

import { button, element } from "./elements.js";
import { nameOf } from "./images.js";

/**
 * @param {object} view
 * @param {import("./images.js").Image[]} view.images
 * @param {number} view.place of the first shown
 * @param {(place: number) => boolean} view.isPicked
 * @param {(place: number) => void} view.toggle
 * @param {boolean} view.fixed whether nothing can be picked
 * @param {(place: number) => void} view.closed told the last shown
 */
export function openLargeView({ images, place, isPicked, toggle, fixed, closed }) {
  const dialog = element("dialog", "batch-sdxl-large");
  const picture = element("img", "batch-sdxl-large-picture");
  const name = element("div", "batch-sdxl-large-name");
  const prompt = element("div", "batch-sdxl-large-prompt");
  const back = button("‹", "Previous (left arrow)", () => show(place - 1));
  const next = button("›", "Next (right arrow)", () => show(place + 1));
  const pick = button("", "Pick or not (Space)", () => {
    toggle(place);
    show(place);
  });
  const close = button("Close", "Close (Escape)", () => dialog.close());
  const keys = {
    ArrowLeft: () => show(place - 1),
    ArrowRight: () => show(place + 1),
    Home: () => show(0),
    End: () => show(images.length - 1),
  };

  function show(wanted) {
    place = Math.min(Math.max(wanted, 0), images.length - 1);
    const image = images[place];
    picture.src = image.file;
    picture.alt = image.prompt;
    name.textContent =
      `${nameOf(image, place, images.length)} · ${image.width} × ${image.height}`;
    prompt.textContent = image.prompt;
    pick.textContent = isPicked(place) ? "✓ Picked" : "Pick";
    pick.setAttribute("aria-pressed", String(isPicked(place)));
    back.disabled = place === 0;
    next.disabled = place === images.length - 1;
  }

  pick.classList.add("batch-sdxl-large-pick");
  pick.hidden = fixed;
  const texts = element("div", "batch-sdxl-large-texts");
  texts.setAttribute("aria-live", "polite");
  texts.append(name, prompt);
  const foot = element("div", "batch-sdxl-large-foot");
  foot.append(back, next, texts, pick, close);
  dialog.setAttribute("aria-label", "Large view");
  dialog.append(picture, foot);
  dialog.addEventListener("keydown", (event) => {
    // The canvas behind has its own use for keys. Buttons and Escape work by themselves.
    event.stopPropagation();
    if (!(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog || event.target === picture) dialog.close();
  });
  dialog.addEventListener("close", () => {
    dialog.remove();
    closed(place);
  });
  show(place);
  document.body.append(dialog);
  dialog.showModal();
  (fixed ? close : pick).focus();
}
