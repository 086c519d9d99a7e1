/** Seed List in the editor: its batch stays unless a person wants otherwise, and a draw can be kept. */

import { app } from "../../scripts/app.js";

const NODE = "BatchSDXL_SeedList";
/** Of what the node shows (nodes/seed_list.py), and of the property that keeps it. */
const DRAWN = "batch_sdxl_drawn";

app.registerExtension({
  name: "BatchSDXL.SeedList",

  nodeCreated(node) {
    if (node.comfyClass !== NODE) return;
    // Older front ends begin with randomize, whatever the node says.
    const batch = node.widgets.find(({ name }) => name === "batch");
    const control = batch?.linkedWidgets?.[0];
    if (control) control.value = "fixed";
    // Workflows from before there was a batch have no values for it.
    const onConfigure = node.onConfigure;
    node.onConfigure = function (saved) {
      onConfigure?.apply(this, arguments);
      if (control && (saved?.widgets_values?.length ?? 0) < 3) control.value = "fixed";
      mark();
    };

    const text = node.widgets.find(({ name }) => name === "seeds");
    const keep = node.addWidget("button", "use_last_draw", null, use, { serialize: false });
    keep.label = "Use the last draw";
    keep.serialize = false;

    function use() {
      if (!node.properties[DRAWN]) return;
      text.value = node.properties[DRAWN];
      delete node.properties[DRAWN];
      batch.value = 0;
      mark();
    }

    /** Nothing to use where the last run drew nothing. */
    function mark() {
      keep.disabled = !node.properties[DRAWN];
      node.setDirtyCanvas?.(true, true);
    }

    const onExecuted = node.onExecuted;
    node.onExecuted = function (output) {
      onExecuted?.apply(this, arguments);
      const [drawn] = output?.[DRAWN] ?? [];
      if (drawn) node.properties[DRAWN] = drawn;
      else delete node.properties[DRAWN];
      mark();
    };
    mark();
  },
});
