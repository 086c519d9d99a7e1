// Seed List in a real browser: node seed_list.mjs URL GRAPH
//
// GRAPH is a file in API format with a Seed List. Prints as JSON what its widgets said.

import { readFileSync } from "node:fs";
import { ended, launch, open } from "./browser.mjs";

const [url, file] = process.argv.slice(2);
const graph = JSON.parse(readFileSync(file, "utf8"));
const { browser, page, errors } = await launch(url, "classic");
const seen = { errors };

try {
  await open(page, url);
  await page.evaluate((graph) => window.app.loadApiJson(graph, "seeds"), graph);
  seen.new = await values();
  // As a workflow from before there was a batch: its node has one value.
  await page.evaluate(async () => {
    const saved = JSON.parse(JSON.stringify(window.app.graph.serialize()));
    const node = saved.nodes.find(({ type }) => type === "BatchSDXL_SeedList");
    node.widgets_values = node.widgets_values.slice(0, 1);
    await window.app.loadGraphData(saved);
  });
  seen.old = await values();

  await set("control_after_generate", "increment");
  for (let run = 0; run < 3; run++) await queue();
  seen.incremented = await values();

  await set("control_after_generate", "fixed");
  await set("batch", 0);
  await set("seeds", "-1 * 2");
  await queue();
  await page.evaluate(() => {
    const node = window.app.graph._nodes.find((n) => n.comfyClass === "BatchSDXL_SeedList");
    node.widgets.find(({ name }) => name === "use_last_draw").callback();
  });
  seen.kept = await values();
  console.log(JSON.stringify(seen));
} finally {
  await browser.close();
}

async function queue() {
  const end = ended(page);
  await page.evaluate(() => window.app.queuePrompt(0));
  await end;
  await page.waitForTimeout(500);
}

async function set(name, value) {
  await page.evaluate(
    ([name, value]) => {
      window.seedWidgets()[name].value = value;
    },
    [name, value],
  );
}

async function values() {
  return page.evaluate(() => {
    // The front end calls the control of a widget by various names.
    window.seedWidgets = () => {
      const node = window.app.graph._nodes.find((n) => n.comfyClass === "BatchSDXL_SeedList");
      const [seeds, batch] = node.widgets;
      return { seeds, batch, control_after_generate: batch.linkedWidgets[0] };
    };
    return Object.fromEntries(
      Object.entries(window.seedWidgets()).map(([name, { value }]) => [name, value]),
    );
  });
}
