"""ComfyUI's own nodes -> ours, where theirs mean something that ours do.

A graph of stock nodes says how to make one batch: load, encode, sample, decode, save. Each KSampler
becomes a Batch Generate with the same model, prompts and settings; its batch of n becomes n seeds
from the one that it has, since here every image has its own. What cannot be said the same way is
refused by name: nothing is left out of an image in silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...core.errors import BatchSDXLError, InvalidWorkflow
from ...core.prompts.plain_text import text_rows
from ...core.prompts.text_files import text_lines
from .catalog import Catalog, foreign
from .graph import Graph, Link, Node
from .order import order_of, outputs_in
from .primitives import without_primitives
from .sigmas import MOST_STEPS, strength_for
from .stock import CLASSES
from .stock_chain import Conditions, Stock


@dataclass(frozen=True)
class Conversion:
    """A graph of nodes that run here.

    Attributes:
        graph: of them.
        changes: what differs from the one that was given, a line each; empty for none.
    """

    graph: Graph
    changes: tuple[str, ...] = ()


def convert(graph: Graph, catalog: Catalog) -> Conversion:
    """The graph with our nodes in place of ComfyUI's, and with primitives written out.

    Raises:
        InvalidWorkflow: some stock node means something that ours cannot.
    """
    graph = without_primitives(graph)
    said = CLASSES.keys() - catalog.classes.keys()
    if said.isdisjoint(node.class_type for node in graph.nodes.values()):
        return Conversion(graph)
    graph, previews = _with_output(graph, catalog)
    problems: list[BatchSDXLError] = []
    needed = order_of(graph, outputs_in(graph, catalog), problems)
    catalog.require(graph, needed, CLASSES)
    if said.isdisjoint(graph.nodes[node_id].class_type for node_id in needed):
        return Conversion(graph)
    if problems:
        raise problems[0]
    return _Converter(graph, catalog, previews).conversion(needed)


def _with_output(graph: Graph, catalog: Catalog) -> tuple[Graph, list[str]]:
    """The graph with previews saved where nothing else is: there is no screen to show them on."""
    if outputs_in(graph, catalog):
        return graph, []
    saved = {
        node_id: Node("SaveImage", node.title, {**node.inputs, "filename_prefix": "preview"})
        for node_id, node in graph.nodes.items()
        if node.class_type == "PreviewImage"
    }
    return replace(graph, nodes={**graph.nodes, **saved}), list(saved)


class _Converter:
    def __init__(self, graph: Graph, catalog: Catalog, previews: list[str]) -> None:
        self._graph = graph
        self._catalog = catalog
        self._stock = Stock(graph)
        self._nodes: dict[str, Node] = {}
        self._made: dict[Any, str] = {}
        self._counts: dict[str, int] = {}
        self._changes = [f"{graph.label(one)} is saved, as nothing else is" for one in previews]

    def conversion(self, needed: tuple[str, ...]) -> Conversion:
        """The graph of the nodes that are needed."""
        for node_id in needed:
            node = self._graph.nodes[node_id]
            if node.class_type in CLASSES and node.class_type not in self._catalog.classes:
                continue
            if not (node.class_type == "SaveImage" and self._save(node_id, node)):
                self._nodes[node_id] = replace(
                    node, inputs={name: self._image(one) for name, one in node.inputs.items()}
                )
        graph = Graph(self._nodes)
        # What a node of ours reads of a stock one otherwise than as an image has no place here.
        for node_id in graph.nodes:
            for name, link in graph.nodes[node_id].links():
                if link.node_id not in graph.nodes:
                    raise self._refused(
                        link.node_id, f"nothing that {self._graph.where(node_id, name)} needs of it"
                    )
        order = order_of(graph, outputs_in(graph, self._catalog), [])
        left = {
            node_id: node.class_type
            for node_id, node in self._graph.nodes.items()
            if node.class_type not in self._catalog.classes and node.class_type not in CLASSES
        }
        if left:
            self._changes.append(f"left out, as nothing that is saved needs them: {foreign(left)}")
        return Conversion(
            Graph({node_id: graph.nodes[node_id] for node_id in order}), tuple(self._changes)
        )

    def _refused(self, node_id: str, expected: str) -> InvalidWorkflow:
        return self._stock.refused(node_id, expected)

    def _image(self, value: Any) -> Any:
        """An input of a node that stays, with the images of ours in place of decoded ones."""
        if isinstance(value, Link) and self._stock.kind(value) == "VAEDecode":
            return Link(self._generate(value.node_id), 0)
        return value

    def _save(self, node_id: str, node: Node) -> bool:
        """Whether a SaveImage became a Save Image Batch, whose files say what made them."""
        images = node.inputs.get("images")
        prefix = node.inputs.get("filename_prefix", "ComfyUI")
        decoded = isinstance(images, Link) and self._stock.kind(images) == "VAEDecode"
        if not decoded or not isinstance(prefix, str) or "%" in prefix:
            return False
        made = self._generate(images.node_id)  # type: ignore[union-attr]
        self._add(
            node_id,
            "BatchSDXL_SaveImageBatch",
            images=Link(made, 0),
            rows=Link(made, 1),
            filename_prefix=prefix,
        )
        self._changes.append(f"{self._graph.label(node_id)} is Save Image Batch: files say more")
        return True

    def _generate(self, decode: str) -> str:
        """The Batch Generate for a VAEDecode, made where there is none yet."""
        sampler = self._stock.source(decode, "samples", "KSampler", "KSamplerAdvanced")
        if sampler in self._made:
            return self._made[sampler]
        self._made[sampler] = sampler
        own = self._stock.sampling(sampler)
        positive = self._stock.conditions(sampler, "positive")
        negative = self._stock.conditions(sampler, "negative")
        if positive.is_zero:
            raise self._refused(positive.node_id, "a prompt to draw, not zeros")
        if own["cfg"] < 1:
            raise self._refused(sampler, f"a cfg of 1 or more, not {own['cfg']}")
        name = own["sampler_name"].removesuffix("_gpu")
        latent = self._stock.source(sampler, "latent_image", "EmptyLatentImage", "VAEEncode")
        start = self._start(sampler, latent, decode, own)
        count = self._counts[sampler]
        seed = own["seed"]
        if seed + count - 1 > 2**64 - 1:
            raise self._refused(sampler, f"a seed with room for {count} images")
        seeds = f"{seed}..+{count}" if count > 1 else str(seed)
        self._add(
            sampler,
            "BatchSDXL_BatchGenerate",
            model=Link(self._model(sampler, decode, positive, negative), 0),
            prompts=Link(self._prompts(positive, negative), 0),
            seeds=Link(self._add(self._free(), "BatchSDXL_SeedList", seeds=seeds), 0),
            cfg=own["cfg"],
            sampler_name=name,
            scheduler=own["scheduler"],
            **({"empty_negative": "zeros"} if negative.is_zero else {}),
            **start,
        )
        label = self._graph.label(sampler)
        self._changes.append(f"{label} is Batch Generate, with nodes for model, prompts and seeds")
        if count > 1:
            self._changes.append(f"{label}: its batch of {count} has the seeds {seeds}, one each")
        if name != own["sampler_name"]:
            self._changes.append(f"{label}: {own['sampler_name']} is {name}; noise is of the CPU")
        return sampler

    def _start(
        self, sampler: str, latent: str, decode: str, own: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Sizes, or an image with the steps and the strength that take the sampler's sigmas."""
        planned, run = own["planned"], own["run"]
        if self._graph.nodes[latent].class_type == "EmptyLatentImage":
            if planned != run:
                raise self._refused(sampler, f"all steps from an empty latent, not {own['part']}")
            empty = self._values(latent)
            self._counts[sampler] = empty["batch_size"]
            sides = {side: empty[side] // 8 * 8 for side in ("width", "height")}
            return {"steps": run, **sides}
        if self._stock.vae(latent) != self._stock.vae(decode):
            raise self._refused(latent, "the VAE that decodes")
        pixels = self._graph.nodes[latent].inputs.get("pixels")
        if not isinstance(pixels, Link):
            raise self._refused(latent, "an image")
        images, self._counts[sampler] = self._pixels(pixels)
        strength = strength_for(planned, run)
        if not strength:
            raise self._refused(
                sampler, f"steps to run, of {MOST_STEPS:,} at most, not {own['part']}"
            )
        if planned != run:
            self._changes.append(
                f"{self._graph.label(sampler)}: {own['part']} are the last {run} of {planned} "
                f"steps, strength {strength:g}"
            )
        return {"steps": planned, "strength": strength, **images}

    def _pixels(self, link: Link) -> tuple[dict[str, Any], int]:
        """What Batch Generate gets for an image to start from, and how many images it is."""
        node = self._graph.nodes[link.node_id]
        name = node.inputs.get("image")
        if node.class_type == "LoadImage" and isinstance(name, str) and "[output]" not in name:
            name = name.removesuffix(" [input]")
            size = self._size(name)
            made = self._add(self._free(), "BatchSDXL_LoadImageBatch", folder=name, **size)
            label = self._graph.label(link.node_id)
            cut = f", cut to {size['width']} x {size['height']}" if size else ""
            self._changes.append(f"{label} is Load Image Batch, which knows its name{cut}")
            return {"images": Link(made, 0), "names": Link(made, 2)}, 1
        images = self._image(link)
        seen = link
        while self._stock.kind(seen) == "ImageScaleBy":
            behind = self._graph.nodes[seen.node_id].inputs.get("image")
            if not isinstance(behind, Link):
                break
            seen = behind
        if self._stock.kind(seen) == "VAEDecode":
            return {"images": images}, self._counts[self._generate(seen.node_id)]
        return {"images": images}, 1

    def _size(self, name: str) -> dict[str, int]:
        """The size to which ComfyUI's VAEEncode cuts an image; nothing where it is one already."""
        from ...core.images.files import frame_sizes
        from ...host.paths import find_input

        try:
            ((width, height), *_) = frame_sizes(find_input(name))
        except BatchSDXLError:
            return {}  # Load Image Batch tells what is wrong with it
        if width % 8 == height % 8 == 0 or min(width, height) < 8:
            return {}
        return {"width": width // 8 * 8, "height": height // 8 * 8}

    def _model(self, sampler: str, decode: str, positive: Conditions, negative: Conditions) -> str:
        """The id of Load SDXL, or of the last Apply LoRA behind it."""
        checkpoint, loras = self._stock.model(sampler)
        for conditions in (positive, negative):
            if (conditions.checkpoint, conditions.loras) != (positive.checkpoint, positive.loras):
                raise self._refused(conditions.node_id, "the CLIP of the other prompt")
            if conditions.checkpoint != checkpoint:
                raise self._refused(conditions.node_id, "the CLIP of the checkpoint that samples")
        vae = self._stock.vae(decode)
        inputs = {"model_name": self._values(checkpoint)["ckpt_name"]}
        if vae != checkpoint:
            if self._graph.nodes[vae].class_type != "VAELoader":
                raise self._refused(vae, "the VAE of the checkpoint that samples")
            inputs["vae"] = self._values(vae)["vae_name"]
        made = self._once(("model", checkpoint, vae), "BatchSDXL_LoadSDXL", **inputs)
        # They add up whatever their order.
        for lora in dict.fromkeys([*loras, *positive.loras]):
            own = self._values(lora)
            made = self._once(
                ("lora", lora, made, lora in loras, lora in positive.loras),
                "BatchSDXL_ApplyLora",
                model=Link(made, 0),
                lora_name=own["lora_name"],
                strength_model=own["strength_model"] if lora in loras else 0.0,
                strength_clip=own["strength_clip"] if lora in positive.loras else 0.0,
            )
        return made

    def _prompts(self, positive: Conditions, negative: Conditions) -> str:
        settings = positive.settings
        if settings != negative.settings:
            raise self._refused(
                negative.node_id, f"the sizes and layers of {self._graph.label(positive.node_id)}"
            )
        made = self._once(
            ("prompts", positive.text, negative.text),
            "BatchSDXL_PromptList",
            text=self._as_one_prompt(positive),
            negative_prompt=" ".join(negative.text.split("\n")).strip(),
        )
        if settings:
            told = dict(settings)
            made = self._once(
                ("settings", made, settings),
                "BatchSDXL_PromptSettings",
                prompts=Link(made, 0),
                **told,
            )
        return made

    def _as_one_prompt(self, conditions: Conditions) -> str:
        """A text that Prompt List reads as one prompt; CLIP reads breaks as blanks."""
        text = " ".join(conditions.text.split("\n")).strip()
        for written in (text, f"positive: {text}"):
            try:
                rows = list(text_rows(lambda written=written: text_lines(written)))  # type: ignore[misc]
                if [dict(row.values) for row in rows] == [{"prompt": text}]:
                    return written
            except BatchSDXLError:
                continue
        raise self._refused(conditions.node_id, "a text that can be a prompt")

    def _values(self, node_id: str) -> dict[str, Any]:
        return self._stock.values(node_id)

    def _once(self, key: Any, kind: str, **inputs: Any) -> str:
        if key not in self._made:
            self._made[key] = self._add(self._free(), kind, **inputs)
        return self._made[key]

    def _add(self, node_id: str, kind: str, **inputs: Any) -> str:
        self._nodes[node_id] = self._catalog.fresh(kind, **inputs)
        return node_id

    def _free(self) -> str:
        """An id that no node has."""
        number = len(self._graph.nodes) + len(self._nodes)
        while str(number) in self._graph.nodes or str(number) in self._nodes:
            number += 1
        return str(number)
