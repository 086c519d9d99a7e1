// What the picker writes and reads, without a browser: node --test tests/web

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

// As text: without a package.json, node takes a .js file for CommonJS.
const source = await readFile(new URL("../../web/selection.js", import.meta.url), "utf8");
const { added, read, toggled, write } = await import(
  `data:text/javascript,${encodeURIComponent(source)}`
);

const IMAGES = [
  { seed: "3", prompt: "a castle" },
  { seed: "5", prompt: "a Castle at night" },
  { seed: "3", prompt: "a boat" },
  { seed: "18446744073709551615", prompt: "a boat" },
  { seed: "9", prompt: "x" },
];

test("the text that is written picks the same again", () => {
  const texts = { "": [], "#2, #3": [1, 2], "#2, #4..6": [1, 3, 4, 5], "#3, #1": [2, 0] };
  for (const [text, places] of Object.entries(texts)) assert.equal(write(places), text);
  for (const places of [[0], [1, 2], [0, 1, 2, 3, 4], [4, 0, 1, 2], [3, 2]]) {
    assert.deepEqual(read(write(places), IMAGES), { places, problem: "" });
  }
});

test("a click adds an image in the order of the batch, or takes it away", () => {
  assert.deepEqual(toggled([], 2), [2]);
  assert.deepEqual(toggled([0, 4], 2), [0, 2, 4]);
  assert.deepEqual(toggled([0, 2, 4], 2), [0, 4]);
});

test("an order that was written by hand stays", () => {
  assert.deepEqual(toggled([4, 0], 2), [4, 0, 2]);
  assert.deepEqual(toggled([4, 0, 2], 0), [4, 2]);
});

test("a range is added in either direction", () => {
  assert.deepEqual(added([0], 1, 3), [0, 1, 2, 3]);
  assert.deepEqual(added([0, 2], 3, 1), [0, 1, 2, 3]);
});

test("seeds are read without loss", () => {
  assert.deepEqual(read("seed 18446744073709551615", IMAGES).places, [3]);
  assert.equal(read("seed 18446744073709551616", IMAGES).places.length, 0);
});

test("what a run would refuse is told, and what comes before it is still marked", () => {
  const problems = {
    "": "",
    "#1, #6": "“#6” is not there",
    "#1, the second": "“the second” cannot be read",
    "#1, seed 4": "“seed 4” is not there",
    "#1, \"open": "“\"open” cannot be read",
  };
  for (const [text, problem] of Object.entries(problems)) {
    assert.deepEqual(read(text, IMAGES), { places: text ? [0] : [], problem });
  }
});
