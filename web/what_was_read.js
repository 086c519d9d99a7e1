/** What a list node has read, shown in the node after a run. */

import { app } from "../../scripts/app.js";

const NODES = ["BatchSDXL_PromptList", "BatchSDXL_SeedList", "BatchSDXL_LoadImageBatch"];
const HEIGHT = 64;

app.registerExtension({
  name: "BatchSDXL.WhatWasRead",

  nodeCreated(node) {
    if (!NODES.includes(node.comfyClass)) return;
    const box = document.createElement("textarea");
    box.className = "comfy-multiline-input";
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
    const onExecuted = node.onExecuted;
    node.onExecuted = function (output) {
      onExecuted?.apply(this, arguments);
      box.value = (output?.text ?? []).join("\n");
    };
  },
});
