"""Colours of a file -> sRGB."""

from __future__ import annotations

import logging
from functools import lru_cache
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

_log = logging.getLogger("batch_sdxl")

#: What the colour space of an ICC profile is called -> the mode of the pixels it is for.
_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}


def to_srgb(image: Image.Image, name: str) -> Image.Image:
    """The image in sRGB: mode RGBA if it has transparency of any kind, else RGB.

    Its ICC profile is applied (relative colorimetric, black point compensated), unless it describes
    sRGB: then no value changes. CMYK without a profile is converted by the plain formula.

    Args:
        image: 8 bits a channel, of any mode.
        name: for the warning when its profile cannot be used.
    """
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    colours = _colours(image, name)
    if alpha is not None:
        colours.putalpha(alpha)
    return colours


def is_srgb(image: Image.Image) -> bool:
    """Whether no value of the image would change: it has no profile, or one of sRGB."""
    profile = image.info.get("icc_profile")
    if not profile:
        return True
    try:
        transform = _transform(profile)
    except (ImageCms.PyCMSError, OSError):
        return False
    return transform is not None and transform[1] is None


def _colours(image: Image.Image, name: str) -> Image.Image:
    """Mode RGB, in memory of its own."""
    if image.mode == "LAB":
        lab = ImageCms.buildTransform(
            ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
        )
        return _applied(lab, image)
    profile = image.info.get("icc_profile")
    if profile:
        try:
            usable = _transform(profile)
        except (ImageCms.PyCMSError, OSError) as error:
            _log.warning(
                "%s: its colour profile is damaged (%s); taken as sRGB.", name, str(error).strip()
            )
            usable = None
        else:
            if usable is None or usable[0] not in _readable_as(image):
                _log.warning("%s: its colour profile is of another kind; taken as sRGB.", name)
                usable = None
        mode, transform = usable or ("RGB", None)
        if transform is not None:
            return _applied(transform, _as_mode(image, mode))
    return _as_mode(image, "RGB")


def _readable_as(image: Image.Image) -> tuple[str, ...]:
    """Modes whose profiles make sense for the image."""
    if image.mode == "CMYK":
        return ("CMYK",)
    return ("L", "RGB") if image.mode in ("1", "L", "LA", "La") else ("RGB",)


def _as_mode(image: Image.Image, mode: str) -> Image.Image:
    if image.mode == mode:
        return image.copy()
    # By way of RGBA: Pillow warns where it would drop a palette's transparency, and colours that
    # are multiplied with alpha have to be divided by it.
    if image.has_transparency_data:
        image = image.convert("RGBA")
    return image.convert(mode)


def _applied(transform: ImageCms.ImageCmsTransform, image: Image.Image) -> Image.Image:
    result = ImageCms.applyTransform(image, transform)
    assert result is not None  # only None in place
    result.info.pop("transparency", None)
    return result


@lru_cache(maxsize=16)
def _transform(profile: bytes) -> tuple[str, ImageCms.ImageCmsTransform | None] | None:
    """The mode that a profile is for and what brings it to sRGB.

    Returns:
        None for a profile of a colour space that image files do not have; a transform of None
        where a profile is sRGB's to within rounding.
    """
    source = ImageCms.ImageCmsProfile(BytesIO(profile))
    mode = _MODES.get(source.profile.xcolor_space.strip())
    if mode is None:
        return None
    transform = ImageCms.buildTransform(
        source,
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    if mode == "RGB":
        levels = np.linspace(0, 255, 9).astype(np.uint8)
        chart = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(27, 27, 3)
        changed = np.asarray(_applied(transform, Image.fromarray(chart)))
        if np.abs(changed.astype(int) - chart).max() <= 1:
            return mode, None
    return mode, transform
