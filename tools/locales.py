"""Writes `locales/en/nodeDefs.json`, what translators start from, out of the node classes.

python tools/locales.py
"""

import json
from pathlib import Path
from typing import Any

from batch_sdxl.nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS

#: Syntax of the front end's messages (vue-i18n), in any text it looks up. Newer front ends show
#: tooltips raw and older ones parse them, so that no escape is right in both.
SYNTAX = frozenset("@{}|%")


def english() -> dict[str, Any]:
    """The texts of every node in the form of nodeDefs.json."""
    return {
        name: {
            "display_name": NODE_DISPLAY_NAME_MAPPINGS[name],
            "description": node.DESCRIPTION,
            "inputs": _inputs(node),
            "outputs": {
                str(number): _texts(output, tooltip)
                for number, (output, tooltip) in enumerate(
                    zip(node.RETURN_NAMES, node.OUTPUT_TOOLTIPS, strict=True)
                )
            },
        }
        for name, node in NODE_CLASS_MAPPINGS.items()
    }


def shown(texts: dict[str, Any]) -> dict[str, Any]:
    """The same without tooltips that hold syntax: for those the front end shows the node's own."""
    return {
        key: shown(value) if isinstance(value, dict) else value
        for key, value in texts.items()
        if isinstance(value, dict) or SYNTAX.isdisjoint(value)
    }


def _inputs(node: Any) -> dict[str, dict[str, str]]:
    kinds = node.INPUT_TYPES()
    inputs = kinds.get("required", {}) | kinds.get("optional", {})
    return {name: _texts(name, kind[1]["tooltip"]) for name, kind in inputs.items()}


def _texts(name: str, tooltip: str) -> dict[str, str]:
    return {"name": name, "tooltip": tooltip}


if __name__ == "__main__":
    path = Path(__file__).resolve().parents[1] / "locales" / "en" / "nodeDefs.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(shown(english()), ensure_ascii=False, indent=2) + "\n"
    path.write_text(text, encoding="utf-8")
