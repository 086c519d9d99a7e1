/**
 * Puts a gallery into every Select Images node. The text of the node's `pick` is the choice: clicks
 * write it, and what is written by hand is marked on the tiles.
 */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { Gallery } from "./gallery.js";
import { imagesOf } from "./images.js";
import { added, read, toggled, write } from "./selection.js";

const NODE = "BatchSDXL_SelectImages";
/** Of what the node shows (nodes/select_images.py), and of the property that keeps its list. */
const KEY = "batch_sdxl_gallery";
/** Of the property that keeps which batch the gallery shows. */
const BATCH = "batch_sdxl_batch";
/** What a person is told where nothing is picked. */
const TO_DO = "Click the images to keep, then run again.";
const SIZE = [400, 680];
const LEAST_HEIGHT = 200;
const TEXT_HEIGHT = 66;

class Picker {
  #node;
  #pick;
  #clickedIn;
  #gallery;
  #images = [];
  /** What the last run picked, null before the first. */
  #pickedByRun = null;
  #isWriting = false;

  constructor(node) {
    this.#node = node;
    this.#pick = node.widgets.find(({ name }) => name === "pick");
    this.#clickedIn = node.widgets.find(({ name }) => name === "clicked_in");
    hide(this.#clickedIn);
    this.#gallery = new Gallery({
      toggle: (place) => this.#write(write(toggled(this.#read().places, place)), true),
      add: (from, to) => this.#write(write(added(this.#read().places, from, to)), true),
      all: () => this.#write("all"),
      none: () => this.#write(""),
    });
    const widget = node.addDOMWidget("gallery", KEY, this.#gallery.element, {
      getMinHeight: () => LEAST_HEIGHT,
      hideOnZoom: false, // images are what one looks for when zoomed out
      serialize: false, // not an input of the node
    });
    widget.serialize = false; // nor a value of the saved workflow
    // The text needs two lines; what room there is belongs to the images.
    this.#pick.options.getMaxHeight = () => TEXT_HEIGHT;
    node.setSize(SIZE.map((least, k) => Math.max(least, node.size[k])));

    after(this.#pick, "callback", () => {
      if (!this.#isWriting) this.#clickedIn.value = ""; // by hand, for any batch
      this.#mark();
    });
    after(node, "onConfigure", () => {
      this.#load();
      requestAnimationFrame(() => {
        this.#takePlace();
        this.#catchUp();
      });
    });
    after(node, "onConnectionsChange", () => this.#mark());
    after(node, "onExecuted", (output) => this.show(output));
    passToCanvas(this.#gallery.element);
    this.#mark();
  }

  /** Takes what a run says to show. */
  show(output) {
    const text = output?.[KEY]?.[0];
    if (text === undefined) return; // of a version without a gallery, or nothing to show
    const { list, picked, batch } = JSON.parse(text);
    this.#pickedByRun = picked;
    this.#node.properties[KEY] = list;
    this.#node.properties[BATCH] = batch;
    this.#load();
  }

  async #load() {
    const list = this.#node.properties[KEY];
    let images = [];
    try {
      if (list) images = await imagesOf(list);
    } catch (error) {
      console.warn("Batch SDXL: no gallery.", error); // ComfyUI cannot be reached
    }
    if (list !== this.#node.properties[KEY]) return; // a later run was faster
    this.#images = images;
    this.#gallery.show(images);
    this.#mark();
  }

  /** After undo, Nodes 2.0 goes on showing the gallery of the node that this one has replaced. */
  #takePlace() {
    const place = `[data-node-id="${this.#node.id}"] .batch-sdxl-gallery`;
    const shown = document.querySelector(place);
    if (shown !== this.#gallery.element) shown?.replaceWith(this.#gallery.element);
  }

  /** Shows what a run has said while another workflow was open. ComfyUI keeps that by node. */
  #catchUp() {
    if (this.#node.graph === rootGraph()) this.show(app.nodeOutputs?.[this.#node.id]);
  }

  #read() {
    // Clicks are for the images that were shown then; nodes/select_images.py sees it the same way.
    const clickedIn = this.#clickedIn.value;
    if (clickedIn && clickedIn !== this.#node.properties[BATCH]) {
      return { places: [], problem: `These are new images. ${TO_DO}` };
    }
    const { places, problem } = read(this.#pick.value, this.#images);
    if (problem) return { places, problem: `${problem}: a run would stop here.` };
    return { places, problem: places.length ? "" : TO_DO };
  }

  /** By hand or by clicks on images, which count for those alone. */
  #write(text, clicked = false) {
    if (this.#isWired()) return;
    this.#isWriting = true;
    this.#clickedIn.value = (clicked && text && this.#node.properties[BATCH]) || "";
    this.#pick.value = text; // which also calls its callback, and so marks the tiles
    this.#isWriting = false;
    // ComfyUI looks for changes to undo when a mouse button comes up, which was before the click.
    const tracker = app.extensionManager?.workflow?.activeWorkflow?.changeTracker;
    (tracker?.captureCanvasState ?? tracker?.checkState)?.call(tracker);
  }

  #mark() {
    const wired = this.#isWired();
    const { places, problem } = wired ? this.#picks() : this.#read();
    const count = this.#images.length;
    const status = problem || `${places.length} of ${count} picked`;
    this.#gallery.mark(places, count ? status : "Run the workflow to see its images here.", wired);
  }

  /** What is known of a choice that comes from another node. */
  #picks() {
    return this.#pickedByRun
      ? { places: this.#pickedByRun, problem: "" }
      : { places: [], problem: "Run the workflow to see what is picked." };
  }

  /** Whether the choice comes from another node. */
  #isWired() {
    return this.#node.inputs.some(({ widget, link }) => widget?.name === "pick" && link != null);
  }
}

/** Has a widget be saved, but not seen. */
function hide(widget) {
  widget.hidden = true;
  widget.options.hidden = true;
  widget.computeSize = () => [0, -4]; // the room between two widgets
}

/** Calls something after a method that another extension may have put there too. */
function after(object, name, call) {
  const before = object[name];
  object[name] = function (...values) {
    const result = before?.apply(this, values);
    call(...values);
    return result;
  };
}

/** In the classic renderer: lets the canvas be zoomed and dragged from above a gallery as well. */
function passToCanvas(element) {
  const isClassic = () => !window.LiteGraph.vueNodesMode;
  element.addEventListener("wheel", (event) => {
    const list = event.target.closest(".batch-sdxl-tiles");
    const scrolls = list !== null && list.scrollHeight > list.clientHeight;
    if (!isClassic() || (scrolls && !event.ctrlKey)) return;
    event.preventDefault();
    app.canvas.processMouseWheel(event);
  });
  const middle = 1;
  for (const [type, method, isMiddle] of [
    ["pointerdown", "processMouseDown", (event) => event.button === middle],
    ["pointermove", "processMouseMove", (event) => event.buttons & 4],
    ["pointerup", "processMouseUp", (event) => event.button === middle],
  ]) {
    element.addEventListener(type, (event) => {
      if (isClassic() && isMiddle(event)) app.canvas[method](event);
    });
  }
}

/** The node that a run calls `7`, or `5:7` within the subgraph of node 5. */
function findNode(id) {
  const path = String(id).split(":");
  const last = path.pop();
  const graph = path.reduce((graph, step) => graph?.getNodeById(step)?.subgraph, rootGraph());
  return graph?.getNodeById(last);
}

/** The graph that all subgraphs are in. Older front ends have one name for it and for the shown. */
const rootGraph = () => app.rootGraph ?? app.graph;

const pickers = new WeakMap();

app.registerExtension({
  name: "BatchSDXL.Picker",

  init() {
    const style = document.createElement("link");
    style.rel = "stylesheet";
    style.href = new URL("./picker.css", import.meta.url);
    document.head.append(style);
    api.addEventListener("batch_sdxl.show", ({ detail }) => {
      pickers.get(findNode(detail.node))?.show(detail.output);
    });
  },

  nodeCreated(node) {
    if (node.comfyClass === NODE) pickers.set(node, new Picker(node));
  },
});
