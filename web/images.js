/** The images of a gallery, as host/gallery.py lists them in ComfyUI's folder for previews. */

import { api } from "../../scripts/api.js";

/** Lists by name. A name is a digest of its list, so that none ever changes. */
const lists = new Map();

/**
 * @param {string} name of the list
 * @returns {Promise<Image[]>} none if the list is gone: ComfyUI empties the folder when it starts
 *
 * @typedef {{file: string, thumbnail: string, width: number, height: number, seed: string,
 *   prompt: string}} Image
 */
export async function imagesOf(name) {
  if (!lists.has(name)) {
    const answer = await api.fetchApi(path(name));
    if (!answer.ok) return [];
    lists.set(name, (await answer.json()).images);
  }
  return lists.get(name);
}

/** Where the browser finds a file of the gallery. */
export const address = (file) => api.apiURL(path(file));

function path(filename) {
  return `/view?${new URLSearchParams({ filename, subfolder: "batch_sdxl", type: "temp" })}`;
}
