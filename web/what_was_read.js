/** What a list node has read, shown in the node after a run. */

import { app } from "../../scripts/app.js";
import "./seed_list.js"; // whose button stands above the text, whichever script comes first

const PROMPTS = "BatchSDXL_PromptList";
const NODES = [PROMPTS, "BatchSDXL_SeedList", "BatchSDXL_LoadImageBatch"];
const HEIGHT = 64;
/** Of a new Prompt List: its text has room for some lines. */
const LEAST = [400, 540];
/** Of its negative prompt at most: what room there is belongs to the prompts. */
const NEGATIVE_HEIGHT = 56;

app.registerExtension({
  name: "BatchSDXL.WhatWasRead",

  nodeCreated(node) {
    if (!NODES.includes(node.comfyClass)) return;
    const box = document.createElement("textarea");
    box.className = "comfy-multiline-input batch-sdxl-read";
    box.readOnly = true;
    box.placeholder = "After a run: what was read";
    box.setAttribute("aria-label", "What was read");
    const widget = node.addDOMWidget("what_was_read", "batch_sdxl_what_was_read", box, {
      serialize: false,
      getMinHeight: () => HEIGHT,
      getMaxHeight: () => HEIGHT * 3,
    });
    // Widgets are saved by their places: this one has none.
    widget.serialize = false;
    if (node.comfyClass === PROMPTS) {
      box.classList.add("batch-sdxl-prompts-read");
      const negative = node.widgets.find(({ name }) => name === "negative_prompt");
      negative.options.getMinHeight = negative.options.getMaxHeight = () => NEGATIVE_HEIGHT;
    }
    const least = node.comfyClass === PROMPTS ? LEAST : node.computeSize();
    node.setSize(node.size.map((size, k) => Math.max(size, least[k])));
    const onExecuted = node.onExecuted;
    node.onExecuted = function (output) {
      onExecuted?.apply(this, arguments);
      box.value = (output?.text ?? []).join("\n");
    };
  },
});
