// ComfyUI's front end in a real browser. CHROMIUM is the browser, NODE_PATH may lead to
// playwright-core.

import { createRequire } from "node:module";

// require, unlike import, looks in NODE_PATH.
const { chromium } = createRequire(import.meta.url)("playwright-core");

/**
 * A browser with an empty page, which reaches nothing but the server; and the errors that our
 * scripts will throw there.
 */
export async function launch(url, renderer, options = { viewport: { width: 1600, height: 1000 } }) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: ["--no-sandbox", "--disable-gpu"],
  });
  const page = await browser.newPage(options);
  page.setDefaultTimeout(120_000);
  const errors = [];
  page.on("pageerror", ({ stack }) => {
    // The front end has errors of its own.
    if (stack.includes("/extensions/")) errors.push(stack);
  });
  await page.route("**/*", (route) =>
    route.request().url().startsWith(url) || !route.request().url().startsWith("http")
      ? route.continue()
      : route.abort(),
  );
  for (const [name, value] of [
    ["Comfy.TutorialCompleted", true],
    ["Comfy.RightSidePanel.IsOpen", false],
    ["Comfy.VueNodes.Enabled", renderer === "nodes2"],
  ]) {
    await page.request.post(`${url}/settings/${name}`, { data: value });
  }
  return { browser, page, errors };
}

/** Opens the front end, and waits until our nodes are there. */
export async function open(page, url) {
  await page.goto(url, { waitUntil: "domcontentloaded" });
  await ready(page);
}

/** Waits until the front end has our nodes. */
export async function ready(page) {
  await page.waitForFunction(
    () =>
      window.app?.extensionManager &&
      window.LiteGraph?.registered_node_types.BatchSDXL_SelectImages,
  );
  await page.waitForTimeout(1500); // the front end restores its last workflow
}

/** How the next run ends: the name of ComfyUI's event. */
export function ended(page) {
  return page.evaluate(
    () =>
      new Promise((resolve) => {
        for (const type of ["execution_success", "execution_error", "execution_interrupted"]) {
          window.app.api.addEventListener(type, () => resolve(type), { once: true });
        }
      }),
  );
}
