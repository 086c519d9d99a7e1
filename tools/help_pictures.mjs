// Draws the pictures of the help pages in a running ComfyUI that has the pack, shows previews
// (--preview-method latent2rgb) and has made no images yet:
//     node tools/help_pictures.mjs URL [NAME ...]
//
// CHROMIUM and NODE_PATH as for the browser tests (tests/comfyui/browser.mjs).

import { join } from "node:path";
import { ended, launch, open } from "../tests/comfyui/browser.mjs";

const FOLDER = join(import.meta.dirname, "..", "web", "docs", "images");
const OURS = "BatchSDXL_";
/** Pixels of the page around the nodes, and where the first of them lies. */
const MARGIN = 12;
const ORIGIN = [200, 200];
/** Those of so little text that they are small as they are. */
const PNG = ["LoadSDXL", "ApplyLora", "PromptList", "PromptSettings", "SeedList", "LoadImageBatch"];
/** Files stay below what tests/test_help.py allows. */
const MOST_BYTES = 98_000;

const PROMPTS = [
  "a red circle on a blue background",
  "a yellow moon on a black background, top right",
  "a white diamond on a red background",
  "a small purple heart on an orange background",
].join("\n");

/** What makes images for other nodes: four nodes out of sight, and their links. */
const generated = (text, seeds, values = {}) => ({
  behind: {
    model: ["LoadSDXL", [-2000, 0], [360, 200], {}],
    prompts: ["PromptList", [-2000, 300], [400, 540], { text }],
    seeds: ["SeedList", [-2000, 900], [360, 400], { seeds }],
    generate: ["BatchGenerate", [-1000, 0], [360, 700], { combine: "product", ...values }],
  },
  links: [
    ["model", "model", "generate", "model"],
    ["prompts", "prompts", "generate", "prompts"],
    ["seeds", "seeds", "generate", "seeds"],
  ],
});

const hearts = generated("a red heart on a blue background", "random(8, from=7)");

/**
 * A picture: `nodes` are name -> [type, place, size, values of widgets, title]; ours go without
 * prefix. `links` are [from, output, to, input]. Nodes of `behind` are there, and not shown.
 */
const PICTURES = {
  LoadSDXL: { nodes: { load: ["LoadSDXL", [0, 0], [360, 190], {}] }, links: [] },
  ApplyLora: {
    nodes: {
      load: ["LoadSDXL", [0, 0], [360, 190], { model_name: "my_sdxl.safetensors" }],
      lora: ["ApplyLora", [0, 240], [360, 150], { lora_name: "ink_drawing.safetensors", strength_model: 0.8 }],
    },
    links: [["load", "model", "lora", "model"]],
  },
  PromptList: {
    nodes: {
      list: [
        ...["PromptList", [0, 0], [400, 620]],
        {
          text: "a {red|blue} circle on a white background\n# the next two are stars\na yellow star on a black background\na green star on a {black|purple} background",
          negative_prompt: "blurry",
          wildcards: "combinatorial",
        },
      ],
    },
    behind: { show: ["PreviewAny", [2000, 0], [200, 100], {}] },
    links: [["list", "count", "show", "source"]],
    run: true,
  },
  PromptSettings: {
    nodes: {
      settings: [
        ...["PromptSettings", [0, 0], [360, 310]],
        { original_width: 2048, original_height: 2048 },
      ],
    },
    links: [],
  },
  SeedList: {
    nodes: { list: ["SeedList", [0, 0], [360, 370], { seeds: "random(8, from=7)" }] },
    behind: { show: ["PreviewAny", [2000, 0], [200, 100], {}] },
    links: [["list", "count", "show", "source"]],
    run: true,
  },
  LoadImageBatch: {
    nodes: {
      load: ["LoadImageBatch", [0, 0], [360, 510], { folder: "input_images", width: 128, height: 128 }],
    },
    behind: { show: ["PreviewAny", [2000, 0], [200, 100], {}] },
    links: [["load", "count", "show", "source"]],
    run: true,
  },
  BatchGenerate: (({ behind, links }) => {
    const { generate, ...before } = generated(PROMPTS, "1, 2").behind;
    return {
      nodes: { generate: ["BatchGenerate", [0, 0], [360, 820], generate[3]] },
      behind: { ...before, show: ["PreviewImage", [2000, 0], [200, 200], {}] },
      links: [...links, ["generate", "images", "show", "images"]],
      run: true,
    };
  })(hearts),
  SaveImageBatch: {
    nodes: { save: ["SaveImageBatch", [0, 0], [380, 460], { filename_prefix: "text_to_image" }] },
    behind: generated(PROMPTS, "1, 2").behind,
    links: [
      ...hearts.links,
      ["generate", "images", "save", "images"],
      ["generate", "rows", "save", "rows"],
    ],
    run: true,
  },
  SelectImages: {
    nodes: { select: ["SelectImages", [0, 0], [440, 640], { pick: "#2, #5" }] },
    behind: hearts.behind,
    links: [
      ...hearts.links,
      ["generate", "images", "select", "images"],
      ["generate", "rows", "select", "rows"],
    ],
    run: true,
  },
  ContactSheet: {
    nodes: {
      sheet: ["ContactSheet", [0, 0], [420, 190], { layout: "prompts x seeds", cell_size: 128 }],
      show: ["PreviewImage", [0, 240], [420, 480], {}],
    },
    behind: generated(PROMPTS, "1, 2, 3").behind,
    links: [
      ...hearts.links,
      ["generate", "images", "sheet", "images"],
      ["generate", "rows", "sheet", "rows"],
      ["sheet", "sheet", "show", "images"],
    ],
    run: true,
  },
  RefinePrompts: {
    nodes: {
      refine: ["RefinePrompts", [0, 0], [360, 170], { way: "replace", text: "a yellow heart on a purple background" }],
      before: ["PreviewImage", [0, 220], [360, 260], {}, "Before"],
      after: ["PreviewImage", [0, 530], [360, 260], {}, "After"],
    },
    behind: {
      ...generated("a red heart on a blue background", "1506507218, 2511190825").behind,
      again: ["BatchGenerate", [2000, 0], [360, 700], {}],
    },
    links: [
      ...hearts.links,
      ["generate", "rows", "refine", "rows"],
      ["generate", "images", "before", "images"],
      ["model", "model", "again", "model"],
      ["refine", "prompts", "again", "prompts"],
      ["again", "images", "after", "images"],
    ],
    run: true,
  },
  ModelFromComfyUI: {
    nodes: {
      load: ["CheckpointLoaderSimple", [0, 0], [310, 140], { ckpt_name: "sd_xl_base_1.0.safetensors" }],
      lora: ["LoraLoader", [370, 0], [310, 140], { lora_name: "my_style.safetensors", strength_model: 0.8, strength_clip: 0.8 }],
      model: ["ModelFromComfyUI", [740, 0], [310, 140], {}],
    },
    links: [
      ["load", "MODEL", "lora", "model"],
      ["load", "CLIP", "lora", "clip"],
      ["load", "VAE", "model", "vae"],
      ["lora", "MODEL", "model", "model"],
      ["lora", "CLIP", "model", "clip"],
    ],
  },
  PromptsToConditioning: {
    nodes: {
      load: ["CheckpointLoaderSimple", [0, 0], [310, 130], { ckpt_name: "my_sdxl.safetensors" }],
      prompts: [
        ...["PromptList", [0, 180], [310, 480]],
        { text: "a red circle on a blue background\na yellow star on a black background" },
      ],
      seeds: ["SeedList", [0, 710], [310, 300], { seeds: "1..4" }],
      conditioning: ["PromptsToConditioning", [380, 0], [310, 350], { combine: "product" }],
      guider: ["CFGGuider", [760, 0], [260, 130], { cfg: 6 }],
      noise: ["SeedsToNoise", [760, 180], [260, 110], {}],
    },
    links: [
      ["load", "CLIP", "conditioning", "clip"],
      ["prompts", "prompts", "conditioning", "prompts"],
      ["seeds", "seeds", "conditioning", "seeds"],
      ["conditioning", "positive", "guider", "positive"],
      ["conditioning", "negative", "guider", "negative"],
      ["conditioning", "seeds", "noise", "seeds"],
      ["conditioning", "latent", "noise", "latent"],
    ],
  },
  SeedsToNoise: {
    nodes: {
      conditioning: ["PromptsToConditioning", [0, 0], [300, 340], {}],
      sampler: ["KSamplerSelect", [0, 390], [300, 90], { sampler_name: "dpmpp_2m_sde" }],
      guider: ["CFGGuider", [370, 0], [240, 140], { cfg: 6 }],
      noise: ["SeedsToNoise", [370, 190], [240, 120], {}],
      sigmas: ["BasicScheduler", [370, 360], [240, 140], { scheduler: "simple", steps: 20 }],
      custom: ["SamplerCustomAdvanced", [690, 120], [260, 150], {}],
    },
    links: [
      ["conditioning", "positive", "guider", "positive"],
      ["conditioning", "negative", "guider", "negative"],
      ["conditioning", "seeds", "noise", "seeds"],
      ["conditioning", "latent", "noise", "latent"],
      ["sampler", "SAMPLER", "noise", "sampler"],
      ["noise", "noise", "custom", "noise"],
      ["guider", "GUIDER", "custom", "guider"],
      ["noise", "sampler", "custom", "sampler"],
      ["sigmas", "SIGMAS", "custom", "sigmas"],
      ["noise", "latent", "custom", "latent_image"],
    ],
  },
};

const [url, ...asked] = process.argv.slice(2);
const { browser, page } = await launch(url, "classic", {
  viewport: { width: 1400, height: 1300 },
  deviceScaleFactor: 2,
});
for (const [name, value] of [
  ["Comfy.NodeBadge.NodeSourceBadgeMode", "None"],
  ["Comfy.Minimap.Visible", false],
]) {
  await page.request.post(`${url}/settings/${name}`, {
    data: JSON.stringify(value),
    headers: { "Content-Type": "application/json" },
  });
}
try {
  for (const name of asked.length ? asked : Object.keys(PICTURES)) {
    await open(page, url); // anew, for the front end keeps what nodes of the same number have shown
    await draw(name, PICTURES[name]);
  }
} finally {
  await browser.close();
}

async function draw(name, { nodes, behind = {}, links, run = false }) {
  await page.evaluate(
    ([all, links, ours, [x, y]]) => {
      const { app, LiteGraph } = window;
      app.graph.clear();
      const made = {};
      for (const [name, [type, pos, size, values, title]] of Object.entries(all)) {
        const known = LiteGraph.registered_node_types;
        const node = LiteGraph.createNode(ours + type in known ? ours + type : type);
        app.graph.add(node);
        if (title) node.title = title;
        for (const [name, value] of Object.entries(values)) {
          const widget = node.widgets.find((widget) => widget.name === name);
          const { values: choices } = widget.options ?? {};
          // Files that are not here would be marked as missing.
          if (Array.isArray(choices) && !choices.includes(value)) choices.push(value);
          widget.value = value;
        }
        node.pos = pos;
        node.setSize(size);
        made[name] = node;
      }
      for (const [from, output, to, input] of links)
        made[from].connect(
          made[from].findOutputSlot(output),
          made[to],
          made[to].findInputSlot(input),
        );
      app.canvas.ds.scale = 1;
      app.canvas.ds.offset = [x, y];
      app.canvas.deselectAll();
      app.graph.setDirtyCanvas(true, true);
    },
    [{ ...nodes, ...behind }, links, OURS, ORIGIN],
  );
  if (run) {
    const end = ended(page);
    await page.evaluate(() => window.app.queuePrompt(0));
    const how = await end;
    if (how !== "execution_success") throw new Error(`${name}: ${how}`);
  }
  await page.waitForTimeout(2000); // pictures come a moment later
  const places = Object.values(nodes);
  const right = Math.max(...places.map(([, [x], [w]]) => x + w));
  const bottom = Math.max(...places.map(([, [, y], [, h]]) => y + h));
  const canvas = await page.locator("#graph-canvas").boundingBox();
  const options = {
    clip: {
      x: canvas.x + ORIGIN[0] - MARGIN,
      y: canvas.y + ORIGIN[1] - 30 - MARGIN, // the title lies above a node's place
      width: right + 2 * MARGIN,
      height: bottom + 30 + 2 * MARGIN,
    },
  };
  const path = join(FOLDER, `${name}.${PNG.includes(name) ? "png" : "jpg"}`);
  if (path.endsWith("png")) return page.screenshot({ ...options, path });
  for (const scale of ["device", "css"])
    for (let quality = 92; quality > 60; quality -= 8) {
      const bytes = await page.screenshot({ ...options, path, type: "jpeg", scale, quality });
      if (bytes.length < MOST_BYTES) return;
    }
}
