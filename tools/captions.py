"""The ways to ask for a `Scene`: full sentences, lists of details, and less than all of it."""

from random import Random

from scenes import COLOURS, PLACES, SHAPES, Scene, Thing

SIZE_WORDS = {"small": ("small", "small", "tiny"), "large": ("large", "big")}
PLACE_PHRASES = {
    "center": ("in the center", "in the middle"),
    "left": ("on the left", "on the left side"),
    "right": ("on the right", "on the right side"),
    "top": ("at the top",),
    "bottom": ("at the bottom",),
}
# Words people add that mean nothing here: the model learns to let them pass.
FILLERS = (
    "best quality", "highly detailed", "high quality", "4k", "sharp focus", "beautiful",
    "minimal", "flat design", "vector art", "illustration", "simple", "clean", "masterpiece",
    "a photo", "a picture", "soft light",
)  # fmt: skip


def caption(scene: Scene, random: Random) -> str:
    """One of many captions that are true of the scene; some of them leave things out."""
    if len(scene.things) == 2:
        text = _pair(scene, random)
    elif random.random() < 0.06:
        text = _part(scene, random)
    else:
        text = _single(scene, random)
    return _with_filler(text, random) if random.random() < 0.07 else text


def _single(scene: Scene, random: Random) -> str:
    """Says colour, shape and background always, size and place mostly where they have a name."""
    thing = scene.things[0]
    size = random.choice(SIZE_WORDS[scene.size]) if scene.size and random.random() < 0.9 else ""
    place = scene.place if random.random() < 0.9 else ""
    # A detail is part of the sentence, or comes after it as one that was added later.
    size_later, place_later = random.random() < 0.35, random.random() < 0.4
    words = [size if not size_later else "", thing.colour, thing.shape]
    what = " ".join(word for word in words if word)
    where = _phrase(place, random) if place and not place_later else ""
    later = [size] if size and size_later else []
    later += [_detail(place, random)] if place and place_later else []
    random.shuffle(later)
    style = random.random()
    if style < 0.12:
        parts = [what, f"{scene.background} background", *([where] if where else [])]
        text = ", ".join(parts)
    elif style < 0.2:
        text = f"{_a(scene.background)} background with {_a(what)}" + (f" {where}" if where else "")
    else:
        on = f"on {_a(scene.background)} background"
        if style < 0.3:
            on = random.choice([f"on {scene.background}", f"on {scene.background} background"])
        parts = [where, on] if random.random() < 0.7 else [on, where]
        text = " ".join(part for part in (_a(what), *parts) if part)
    return ", ".join([text, *later])


def _part(scene: Scene, random: Random) -> str:
    """Less than a whole picture, as negative prompts and first tries are."""
    thing = scene.things[0]
    options = [
        _a(f"{thing.colour} {thing.shape}"),
        _a(thing.shape),
        _a(f"{thing.shape} on {_a(scene.background)} background"),
        f"{scene.background} background",
        thing.shape,
        f"{thing.colour} {thing.shape}",
    ]
    if scene.size:
        options.append(random.choice([scene.size, _a(f"{scene.size} {thing.shape}")]))
    if scene.place:
        options.append(random.choice([scene.place, f"{_a(thing.shape)}, {scene.place}"]))
    return random.choice(options)


def _pair(scene: Scene, random: Random) -> str:
    first, second = (_a(f"{thing.colour} {thing.shape}") for thing in scene.things)
    link = random.choice(["and", "and", "and", "next to", "left of"])
    end = random.choice(["on {} background"] * 5 + [", {} background"])
    end = end.format(_a(scene.background) if end.startswith("on") else scene.background)
    return f"{first} {link} {second} {end}".replace(" ,", ",")


def _phrase(place: str, random: Random) -> str:
    if place in PLACE_PHRASES:
        return random.choice(PLACE_PHRASES[place])
    return random.choice([f"in the {place} corner", f"at the {place}", f"in the {place}"])


def _detail(place: str, random: Random) -> str:
    return random.choice([place, place, _phrase(place, random)])


def _a(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _with_filler(text: str, random: Random) -> str:
    filler = random.choice(FILLERS)
    if random.random() < 0.3:
        filler = "".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=random.randint(3, 8)))
    return random.choice(
        [f"{text}, {filler}", f"{text}, {filler}", f"{filler}, {text}", f"{text}."]
    )


def vocabulary() -> list[str]:
    """Every word a caption is made of, without the invented ones."""
    texts = [*COLOURS, *SHAPES, *PLACES, *FILLERS, "a an on with and next to of background"]
    texts += [word for words in SIZE_WORDS.values() for word in words]
    texts += [phrase for phrases in PLACE_PHRASES.values() for phrase in phrases]
    return sorted({word for text in [*texts, "corner centre , ."] for word in text.split()})


def sentence(thing: Thing, background: str) -> str:
    """The plainest caption of one thing: "a red circle on a blue background"."""
    return f"{_a(f'{thing.colour} {thing.shape}')} on {_a(background)} background"
