"""Records without a model that made them."""

from typing import Any

from batch_sdxl.core import SizedRequest
from batch_sdxl.core.request.named import Named
from batch_sdxl.core.request.record import MadeWith, Record

NUMERICS = {
    "device": "cpu",
    "dtype": "float32",
    "vae_dtype": "float32",
    "rows": 8,
    "threads": 1,
}


def make_record(
    model: str = "demo", image: str = "", identity: str = "cd", **fields: Any
) -> Record:
    """A record of those fields of a request, of 24 x 16 pixels where they say no other size."""
    usual: dict[str, Any] = {"prompt": "a red circle", "seed": 1, "width": 24, "height": 16}
    if image:
        usual["image"] = Named(image, "ef" * 32)
    return Record(
        request=SizedRequest(**usual | fields),
        model=MadeWith(name=model, digest="ab" * 32, files_digest="ab" * 32),
        numerics=NUMERICS,
        identity=(identity * 64)[:64],
    )
