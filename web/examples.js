/**
 * Titles for the example workflows among ComfyUI's templates, and an order to learn by. The front
 * end knows no more of a pack's template than its file's name, in the order of the file system:
 * ours are listed by title instead (`locales/<language>/main.json`), and fetched by file name.
 */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

/** The pack's folder. */
const PACK = decodeURIComponent(new URL(import.meta.url).pathname.split("/").at(-2));
const ADDRESS = `/workflow_templates/${PACK}/`;
/** A title that is shown -> the name of its file. */
const names = new Map();

const getWorkflowTemplates = api.getWorkflowTemplates;
api.getWorkflowTemplates = async function () {
  const templates = await getWorkflowTemplates.apply(this, arguments);
  const titles = await read();
  const there = new Set(templates[PACK]);
  const ours = Object.entries(titles).filter(([name]) => there.delete(name));
  for (const [name, title] of ours) names.set(title, name);
  if (PACK in templates) templates[PACK] = [...ours.map(([, title]) => title), ...there];
  return templates;
};

const apiURL = api.apiURL;
api.apiURL = function (route) {
  const [, title, ending] = route.startsWith(ADDRESS)
    ? route.slice(ADDRESS.length).match(/^(.*?)(\.\w+)?$/)
    : [];
  return apiURL.call(this, names.has(title) ? ADDRESS + names.get(title) + (ending ?? "") : route);
};

/** Names of files -> titles, in the language of the front end or else in English. */
async function read() {
  try {
    const texts = await api.getCustomNodesI18n();
    const language = app.extensionManager.setting.get("Comfy.Locale");
    return (texts[language] ?? texts.en).batchSDXL.examples;
  } catch (error) {
    console.warn("Batch SDXL: its templates are shown by the names of their files.", error);
    return {};
  }
}
