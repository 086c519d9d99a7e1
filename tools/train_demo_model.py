"""Trains the small built-in SDXL model from nothing, on pictures that it draws itself.

    python tools/train_demo_model.py tokenizer
    python tools/train_demo_model.py vae --seconds 1000
    python tools/train_demo_model.py latents
    python tools/train_demo_model.py unet --seconds 4400
    python tools/train_demo_model.py decoder --seconds 1500
    python tools/train_demo_model.py export

No download, no GPU, no data set: two and a half hours on two CPU cores. A training takes the time
it is given, `latents` about ten minutes; a faster machine does more steps in the same time. The
stored weights had 2,700 steps of `vae`, 6,300 of `unet` and 2,700 of `decoder`, on two cores with
other work beside them; `unet` and `decoder` may run side by side once `latents` has begun. Seeds
are fixed, but weights depend on how many steps the time was enough for, so a second training gives
a model as good as the first, not the same bits. An interrupted stage goes on where it was when it
is called again. `evaluate_demo_model.py` measures the result.
"""

import argparse
from pathlib import Path

import torch
from demo_decoder import train_decoder
from demo_export import export
from demo_tokenizer import write_tokenizers
from demo_unet import cache_latents, train_unet
from demo_vae import train_vae

STAGES = ("tokenizer", "vae", "latents", "unet", "decoder", "export")


def main() -> None:
    """Runs one stage."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--work", type=Path, default=Path("build/demo_model"), help="scratch files")
    parser.add_argument("--model", type=Path, default=Path("demo_model"), help="the finished model")
    parser.add_argument("--seconds", type=float, default=1000.0, help="time a training may take")
    parser.add_argument("--shards", type=int, default=10, help="2000 pictures each")
    options = parser.parse_args()
    torch.set_flush_denormal(True)
    options.work.mkdir(parents=True, exist_ok=True)
    if options.stage == "tokenizer":
        write_tokenizers(options.model)
    elif options.stage == "vae":
        train_vae(options.work, seconds=options.seconds)
    elif options.stage == "latents":
        cache_latents(options.work, shards=options.shards)
    elif options.stage == "unet":
        train_unet(options.work, options.model, seconds=options.seconds)
    elif options.stage == "decoder":
        train_decoder(options.work, seconds=options.seconds)
    else:
        export(options.work, options.model)


if __name__ == "__main__":
    main()
