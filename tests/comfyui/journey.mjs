// A person's way through ComfyUI with our nodes, in a real browser:
//     node journey.mjs URL classic|nodes2 FOLDER TITLE
//
// Searches, drags a node in, connects, runs, sees the preview, cancels, reads help, takes a
// template of that title. Prints as JSON what was seen; screenshots go to FOLDER.

import { join } from "node:path";
import { ended, launch, open } from "./browser.mjs";

const [url, renderer, folder, title] = process.argv.slice(2);
const { browser, page, errors } = await launch(url, renderer);
const seen = { errors, words: {} };

const press = (key) => page.keyboard.press(key);
const box = page.locator(".p-dialog input, .comfy-vue-node-search-box input").first();
const results = page.locator("[data-testid=result-item], .p-autocomplete-option");
const EMPTY = [500, 850]; // a place of the canvas where no node lies

try {
  await open(page, url);
  await page.evaluate(() => window.app.extensionManager.command.execute("Comfy.NewBlankWorkflow"));
  await page.waitForTimeout(500);

  for (const word of ["prompt list", "seed list", "image batch", "batch generate", "contact"])
    seen.words[word] = await search(word);
  for (const word of ["prompts", "seeds", "save image", "sdxl"])
    seen.words[word] = await search(word);
  for (const word of ["txt2img", "clip skip", "image to image"]) seen.words[word] = await search(word);
  await close();

  await dragFromLibrary("Seed List", 1100, 300);
  seen.dragged = await types();
  for (const name of ["Load SDXL", "Prompt List", "Batch Generate", "Preview Image"])
    await addBySearch(name);
  seen.added = await types();

  await layOut();
  await connect("BatchSDXL_LoadSDXL", "model", "BatchSDXL_BatchGenerate", "model");
  await connect("BatchSDXL_PromptList", "prompts", "BatchSDXL_BatchGenerate", "prompts");
  await connect("BatchSDXL_SeedList", "seeds", "BatchSDXL_BatchGenerate", "seeds");
  await connect("BatchSDXL_BatchGenerate", "images", "PreviewImage", "images");
  seen.links = await page.evaluate(() => [...window.app.graph.links.values()].length);

  await set("BatchSDXL_PromptList", "text", "a red circle on a white background");
  await set("BatchSDXL_BatchGenerate", "combine", "product");
  await set("BatchSDXL_BatchGenerate", "steps", 4);
  seen.run = await run();
  seen.images = await images("PreviewImage");
  await shot("run");

  await set("BatchSDXL_SeedList", "seeds", "101..116");
  await set("BatchSDXL_BatchGenerate", "steps", 200);
  const end = ended(page);
  end.catch(() => {}); // where the preview does not come, that is what is told
  await clickRun();
  seen.preview = await preview("BatchSDXL_BatchGenerate");
  seen.text = await text("BatchSDXL_BatchGenerate");
  await shot("preview");
  await clickCancel();
  seen.cancelled = await end;
  await shot("cancelled");
  await set("BatchSDXL_BatchGenerate", "steps", 4);
  seen.runAfterCancel = await run();

  seen.help = await help("BatchSDXL_SeedList");
  await shot("help");

  seen.templates = await template(title);
  await page.waitForTimeout(1500);
  await shot("template");
  seen.fromTemplate = await types();
  seen.promptsFit = await fits("BatchSDXL_PromptList", "text");
  seen.titles = await page.locator("[data-testid=node-title]").allInnerTexts();
  seen.templateRun = await run();

  await set("BatchSDXL_BatchGenerate", "width", 100);
  seen.refusedWidth = await refusedAt();
  await set("BatchSDXL_BatchGenerate", "width", 0);
  await set("BatchSDXL_BatchGenerate", "rows_per_call", 3);
  seen.refusedRows = await refusedAt();
  await shot("template_run");
  console.log(JSON.stringify(seen));
} catch (error) {
  await shot("failed"); // what it looked like
  console.error(JSON.stringify(seen));
  throw error;
} finally {
  await browser.close();
}

async function shot(name) {
  await page.screenshot({ path: join(folder, `${renderer}-${name}.png`) });
}

/** The names of the first results for some words, with the dialog left open. */
async function search(words) {
  while (!(await box.isVisible())) {
    // The first of several may end what went before, such as a node that follows the pointer.
    await page.mouse.dblclick(...EMPTY);
    await page.waitForTimeout(1500);
  }
  await box.fill(words);
  await page.waitForTimeout(700);
  const texts = await results.locator(".text-foreground, .option-display-name").allInnerTexts();
  return texts.slice(0, 5).map((text) => text.split("\n")[0].trim());
}

async function close() {
  await press("Escape");
  await box.waitFor({ state: "detached" });
  await page.waitForTimeout(300);
}

async function addBySearch(name) {
  await search(name);
  await press("Enter");
  await page.waitForTimeout(500);
  await page.mouse.click(...EMPTY); // newer front ends let the node follow the pointer first
  await page.waitForTimeout(300);
  await page.evaluate(() => {
    const node = window.app.graph._nodes.at(-1);
    node.pos = [-2000, 0]; // out of the way
    window.app.graph.setDirtyCanvas(true, true);
  });
  await press("Escape");
  await page.waitForTimeout(700); // else the next click counts with this one
}

async function dragFromLibrary(name, x, y) {
  const toggle = () =>
    page.evaluate(() =>
      window.app.extensionManager.command.execute("Workspace.ToggleSidebarTab.node-library"),
    );
  await toggle();
  await page.getByPlaceholder(/^Search/).first().fill(name);
  const item = page.getByText(name, { exact: true }).first();
  await page.waitForTimeout(800);
  const box = await item.boundingBox();
  await page.mouse.move(box.x + 20, box.y + 8);
  await page.mouse.down();
  await page.mouse.move(x - 200, y, { steps: 5 });
  await page.mouse.move(x, y, { steps: 5 });
  await page.mouse.up();
  await page.waitForTimeout(500);
  await toggle();
  await page.waitForTimeout(500);
}

function types() {
  return page.evaluate(() => window.app.graph._nodes.map((node) => node.type));
}

async function layOut() {
  await page.evaluate(() => {
    const places = {
      BatchSDXL_LoadSDXL: [0, 0],
      BatchSDXL_PromptList: [0, 320],
      BatchSDXL_SeedList: [450, 0],
      BatchSDXL_BatchGenerate: [450, 320],
      PreviewImage: [950, 0],
    };
    for (const node of window.app.graph._nodes) node.pos = places[node.type];
    const { ds } = window.app.canvas;
    ds.scale = 0.8;
    ds.offset = [150, 230];
    window.app.graph.setDirtyCanvas(true, true);
  });
  await page.waitForTimeout(800);
}

/** The middle of a socket on the page. */
async function socket(type, name, isInput) {
  const [id, slot, x, y] = await page.evaluate(
    ([type, name, isInput]) => {
      const { graph, canvas } = window.app;
      const node = graph._nodes.find((node) => node.type === type);
      const slot = (isInput ? node.inputs : node.outputs).findIndex((s) => s.name === name);
      const [gx, gy] = node.getConnectionPos(isInput, slot);
      const box = canvas.canvas.getBoundingClientRect();
      const { scale, offset } = canvas.ds;
      return [node.id, slot, box.x + (gx + offset[0]) * scale, box.y + (gy + offset[1]) * scale];
    },
    [type, name, isInput],
  );
  if (renderer === "classic") return [x, y];
  const dot = page.locator(`[data-slot-key="${id}-${isInput ? "in" : "out"}-${slot}"]`);
  const box = await dot.boundingBox();
  return [box.x + box.width / 2, box.y + box.height / 2];
}

async function connect(from, output, to, input) {
  await page.mouse.move(...(await socket(from, output, false)));
  await page.mouse.down();
  await page.mouse.move(...(await socket(to, input, true)), { steps: 10 });
  await page.mouse.up();
  await page.waitForTimeout(300);
}

async function set(type, name, value) {
  await page.evaluate(
    ([type, name, value]) => {
      const node = window.app.graph._nodes.find((node) => node.type === type);
      node.widgets.find((widget) => widget.name === name).value = value;
    },
    [type, name, value],
  );
}

async function clickRun() {
  await page.getByRole("button", { name: "Run", exact: true }).first().click();
}

async function clickCancel() {
  await page.getByRole("button", { name: /^(Cancel|Interrupt)/i }).first().click();
}

async function run() {
  const end = ended(page);
  await clickRun();
  const type = await end;
  await page.waitForTimeout(500); // what is shown may come a moment later
  return type;
}

/** The inputs that are marked after a run that is refused, for each node. */
function refusedAt() {
  return page.evaluate(async () => {
    await window.app.queuePrompt(0);
    return Object.values(window.app.lastNodeErrors).map(({ errors }) =>
      errors.map((error) => error.extra_info.input_name ?? "the node"),
    );
  });
}

function images(type) {
  return page.evaluate((type) => {
    const node = window.app.graph._nodes.find((node) => node.type === type);
    return window.app.nodeOutputs[node.id].images.length;
  }, type);
}

/** Whether the text of a widget is seen as a whole. */
function fits(type, name) {
  return page.evaluate(
    ([type, name]) => {
      const node = window.app.graph._nodes.find((node) => node.type === type);
      const { element, value } = node.widgets.find((widget) => widget.name === name);
      const drawn = [...document.querySelectorAll(`[data-node-id="${node.id}"] textarea`)];
      const box = drawn.find((area) => area.value === value) ?? element;
      return box.value === value && box.scrollHeight <= box.clientHeight;
    },
    [type, name],
  );
}

/** Width and height of the preview that a running node shows. */
async function preview(type) {
  const size = await page.waitForFunction((type) => {
    const node = window.app.graph._nodes.find((node) => node.type === type);
    const [image] = node.imgs ?? [];
    if (image?.naturalWidth) return [image.naturalWidth, image.naturalHeight];
    const drawn = document.querySelector(`[data-node-id="${node.id}"] img`);
    return drawn?.naturalWidth ? [drawn.naturalWidth, drawn.naturalHeight] : null;
  }, type);
  await page.waitForTimeout(1500); // the next ones
  return size.jsonValue();
}

/** The text that a running node shows. */
function text(type) {
  return page.evaluate((type) => {
    const node = window.app.graph._nodes.find((node) => node.type === type);
    return node.widgets.find((widget) => /progress|text/i.test(widget.name))?.value;
  }, type);
}

/** The headings of a node's help page, and the widths of its pictures. */
async function help(type) {
  const [x, y] = await page.evaluate((type) => {
    const { graph, canvas } = window.app;
    const node = graph._nodes.find((node) => node.type === type);
    const box = canvas.canvas.getBoundingClientRect();
    const { scale, offset } = canvas.ds;
    const [nx, ny] = node.pos;
    return [box.x + (nx + 60 + offset[0]) * scale, box.y + (ny - 15 + offset[1]) * scale];
  }, type);
  await page.mouse.click(x, y);
  await page.locator("[data-testid=info-button]").click();
  const content = page.locator(".node-help-content");
  await content.locator("h2").first().waitFor();
  await content.locator("img").first().scrollIntoViewIfNeeded();
  await page.waitForTimeout(1000);
  return content.evaluate((content) => ({
    headings: [...content.querySelectorAll("h1, h2")].map((heading) => heading.textContent),
    pictures: [...content.querySelectorAll("img")].map((picture) => picture.naturalWidth),
  }));
}

/** Opens a template of the pack; the titles of all of them, and whether their pictures come. */
async function template(title) {
  await page.evaluate(() =>
    window.app.extensionManager.command.execute("Comfy.BrowseTemplates"),
  );
  const heading = page.getByText("EXTENSIONS", { exact: true });
  await page.waitForTimeout(1500);
  if (await heading.count()) await heading.click();
  await page.getByText("Batch SDXL", { exact: true }).last().click();
  const cards = page.locator("[data-testid^=template-workflow-]");
  const card = page.locator(`[data-testid="template-workflow-${title}"]`);
  await card.waitFor();
  const titles = await cards.evaluateAll((all) =>
    all.map((card) => card.dataset.testid.replace("template-workflow-", "")),
  );
  const pictures = await page.evaluate(
    (titles) =>
      Promise.all(
        titles.map(async (title) => {
          const { api } = window.app;
          return (await fetch(api.apiURL(`/workflow_templates/batch-sdxl/${title}.jpg`))).ok;
        }),
      ),
    titles,
  );
  await shot("templates");
  await card.click();
  return { titles, pictures };
}
