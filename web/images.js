/** The images of a gallery, as host/gallery.py lists them, and ComfyUI's server hands them out. */

import { api } from "../../scripts/api.js";

/** Lists by name. A name is a digest of its list, so that none ever changes. */
const lists = new Map();

/**
 * @param {string} name of the list
 * @returns {Promise<Image[]>} none if the list is gone
 *
 * @typedef {{file: string, thumbnail: string, width: number, height: number, seed: string,
 *   prompt: string}} Image files by their addresses; seed and prompt are "" where not known
 */
export async function imagesOf(name) {
  if (!lists.has(name)) {
    const list = `/batch_sdxl/gallery/${encodeURIComponent(name)}`;
    const answer = await api.fetchApi(list);
    if (!answer.ok) return [];
    const address = (file) => api.apiURL(`${list}/${encodeURIComponent(file)}`);
    const { images } = await answer.json();
    lists.set(
      name,
      images.map((image) => ({
        ...image,
        file: address(image.file),
        thumbnail: address(image.thumbnail),
      })),
    );
  }
  return lists.get(name);
}

/** `#3 · seed 7`, or `#3 of 8 · seed 7`. */
export const nameOf = (image, place, count = 0) =>
  `#${place + 1}${count ? ` of ${count}` : ""}${image.seed ? ` · seed ${image.seed}` : ""}`;
