// A person at the page of saved images, in a real browser: node gallery_page.mjs URL
//
// Prints as JSON what the person saw after each thing done. CHROMIUM is the browser, NODE_PATH where
// playwright-core is.

import { createRequire } from "node:module";

// require, unlike import, looks in NODE_PATH.
const { chromium } = createRequire(import.meta.url)("playwright-core");

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: ["--no-sandbox", "--disable-gpu"],
});
const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
const seen = { errors: [], foreign: [] };
page.on("pageerror", (error) => seen.errors.push(String(error)));
page.on("requestfailed", (request) => seen.errors.push(`failed: ${request.url()}`));
page.on("request", (request) => {
  if (!/^(file|data):/.test(request.url())) seen.foreign.push(request.url());
});
page.on("dialog", (dialog) => {
  seen.errors.push(`dialog: ${dialog.message()}`);
  dialog.dismiss();
});

const press = (key) => page.keyboard.press(key);
const count = () => page.textContent("#count");
const find = async (prompt, seed) => {
  await page.fill("#prompt", prompt);
  await page.fill("#seed", seed);
  return count();
};
const name = async () => (await page.isVisible("#view")) && page.textContent("#name");

try {
  await page.goto(process.argv[2]);
  seen.all = await count();
  seen.broken = await page.$$eval("#tiles img", (all) =>
    Promise.all(all.map((image) => image.decode().then(() => false, () => true))),
  );
  seen.byPrompt = await find("CIRCLE red", "");
  seen.byLargeSeed = await find("", "18446744073709551615");
  seen.byRange = await find("", "4..2, 9");
  seen.byBoth = await find("circle", "2");
  seen.byNothing = await find("", "2..x");
  seen.invalid = await page.getAttribute("#seed", "aria-invalid");
  await find("", "");

  seen.keys = {};
  await press("Tab");
  await press("Enter");
  for (const key of ["", "ArrowRight", "End", "ArrowRight", "ArrowLeft", "Home", "ArrowLeft"]) {
    if (key) await press(key);
    (seen.keys[key] ??= []).push(await name());
  }
  await press("ArrowRight");
  await page.evaluate(() => {
    const view = document.getElementById("view");
    window.closed = new Promise((done) => view.addEventListener("close", () => done(true)));
  });
  await press("Escape");
  await page.evaluate(() => window.closed);
  seen.closed = await name();
  seen.focus = await page.evaluate(() => document.activeElement.getAttribute("href"));

  await press("Enter");
  seen.shown = await page.textContent("#shown");
  seen.copied = {};
  // What the page hands to the clipboard, which browsers without a screen keep to themselves.
  await page.evaluate(() => {
    navigator.clipboard.writeText = async (text) => { window.copied = text; };
  });
  for (const what of ["recipe", "parameters", "command"]) {
    await page.click(`[data-copy=${what}]`);
    seen.copied[what] = await page.evaluate(() => window.copied);
  }
  seen.told = await page.textContent("#told");
  // As from a page that came over plain HTTP.
  await page.evaluate(() => {
    navigator.clipboard.writeText = () => Promise.reject(new Error("not allowed"));
    document.execCommand = () => false;
  });
  await page.click("[data-copy=command]");
  seen.byHand = await page.evaluate(() => getSelection().toString() || document.activeElement.value);
  seen.toldByHand = await page.textContent("#told");
} finally {
  await browser.close();
}
console.log(JSON.stringify(seen));
