// A person at the picker, in a real browser: node picker.mjs URL GRAPH classic|nodes2
//
// GRAPH is a file in API format with a Select Images node that picks nothing. Prints as JSON what
// the person saw after each thing done.

import { readFileSync } from "node:fs";
import { ended, launch, open, ready } from "./browser.mjs";

const [url, file, renderer] = process.argv.slice(2);
const graph = JSON.parse(readFileSync(file, "utf8"));
const { browser, page, errors } = await launch(url, renderer);
const seen = { errors };

const tiles = page.locator(".batch-sdxl-tile");
const press = (key) => page.keyboard.press(key);

try {
  await open(page, url);
  await draw();
  seen.before = await look();

  seen.firstRun = await run();
  await shown(4);
  seen.afterFirstRun = await look();

  await tiles.nth(1).click();
  await tiles.nth(2).click();
  seen.afterClicks = await look();
  for (const key of ["Delete", "Backspace", "x", "Control+c", "Control+x", "Control+b"]) {
    await press(key);
  }
  seen.afterKeys = await look();
  seen.secondRun = await run();
  seen.afterSecondRun = await look();

  await press("Escape");
  seen.afterEscape = await look();
  await press("Home");
  await press("Space");
  await press("End");
  await press("Shift+Enter");
  seen.afterShiftEnter = await look();
  await press("ArrowLeft");
  await press("Enter");
  seen.afterEnter = await look();
  await press("Control+a");
  seen.afterControlA = await look();

  await press("v");
  await press("ArrowLeft");
  seen.largeView = await page.locator(".batch-sdxl-large-texts").innerText();
  await press("Space");
  await press("Escape");
  await page.locator(".batch-sdxl-large").waitFor({ state: "detached" });
  seen.afterLargeView = await look();

  const text = page.locator(
    renderer === "nodes2" ? ".lg-node textarea:visible" : ".comfy-multiline-input:visible",
  );
  const box = text.and(page.getByPlaceholder(/^Nothing picked/));
  await (renderer === "nodes2" ? text.last() : box).fill('"dog"');
  seen.afterEdit = await look();

  await page.evaluate(async () => {
    await window.app.loadGraphData(JSON.parse(JSON.stringify(window.app.graph.serialize())));
  });
  await shown(4);
  seen.afterLoad = await look();

  await page.reload({ waitUntil: "domcontentloaded" });
  await ready(page);
  await page.evaluate(async (graph) => {
    await window.app.loadGraphData(graph);
  }, seen.afterLoad.graph);
  await center();
  await shown(4);
  seen.afterReload = await look();

  await tiles.nth(0).click();
  seen.afterLastClick = await look();
  await press("Control+z");
  await page.waitForFunction(
    (text) => document.querySelector(".batch-sdxl-status")?.textContent === text,
    seen.afterLoad.status,
  );
  seen.afterUndo = await look();

  // As after a restart, where a picture is in no store.
  await page.route("**/batch_sdxl/gallery/**.jpg", (route) => route.fulfill({ status: 404 }));
  await page.reload({ waitUntil: "domcontentloaded" });
  await ready(page);
  await page.evaluate(async (graph) => {
    await window.app.loadGraphData(graph);
  }, seen.afterLoad.graph);
  await center();
  await page.locator(".batch-sdxl-missing").nth(3).waitFor();
  seen.missing = await page.locator(".batch-sdxl-missing").allInnerTexts();
  console.log(JSON.stringify(seen));
} catch (error) {
  await page.screenshot({ path: file.replace(/json$/, "png") }); // what it looked like
  throw error;
} finally {
  await browser.close();
}

async function draw() {
  await page.evaluate(async (graph) => {
    await window.app.loadApiJson(graph, "picker");
    for (const node of window.app.graph._nodes) {
      node.pos = node.comfyClass === "BatchSDXL_SelectImages" ? [0, 0] : [-900, 300 * node.id];
    }
  }, graph);
  await center();
}

async function center() {
  await page.evaluate(() => {
    const { ds, canvas } = window.app.canvas;
    ds.scale = 1;
    ds.offset = [canvas.clientWidth / 2 - 200, 150];
    window.app.graph.setDirtyCanvas(true, true);
  });
  await page.locator(".batch-sdxl-gallery").waitFor();
}

/** Presses Run as its shortcut does, and waits for the end. */
async function run() {
  const end = ended(page);
  await press("Control+Enter");
  const type = await end;
  await page.waitForTimeout(500); // what is shown may come a moment later
  if (type === "execution_error") await press("Escape"); // of the dialog that tells it
  return type;
}

/** Waits until that many pictures are there to be seen. */
async function shown(count) {
  await page.waitForFunction(
    (count) =>
      [...document.querySelectorAll(".batch-sdxl-picture")].filter((image) => image.naturalWidth)
        .length === count,
    count,
  );
}

async function look() {
  return page.evaluate(() => {
    const all = [...document.querySelectorAll(".batch-sdxl-tile")];
    const node = window.app.graph._nodes.find((n) => n.comfyClass === "BatchSDXL_SelectImages");
    return {
      nodes: window.app.graph._nodes.filter(({ mode }) => mode === 0).length,
      pick: node.widgets.find(({ name }) => name === "pick").value,
      names: all.map((tile) => tile.querySelector(".batch-sdxl-name").textContent),
      prompts: all.map((tile) => tile.querySelector(".batch-sdxl-prompt").textContent),
      picked: all.flatMap((tile, k) => (tile.ariaSelected === "true" ? [k + 1] : [])),
      focused: all.indexOf(document.activeElement) + 1,
      status: document.querySelector(".batch-sdxl-status").textContent,
      values: node.serialize().widgets_values,
      graph: JSON.parse(JSON.stringify(window.app.graph.serialize())),
    };
  });
}
