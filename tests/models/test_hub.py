"""Models by their names on the Hugging Face hub, whose HTTP API a function stands in for."""

import errno
import json
import re
import shutil
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import pytest
import torch
from batch_sdxl.core import Model, load_model
from batch_sdxl.core.errors import ModelNotFound, UnsupportedModel
from batch_sdxl.core.models.hub import find_cached, is_name
from batch_sdxl.core.models.load import find_model
from batch_sdxl.core.models.spec import DEMO_FOLDER
from batch_sdxl.core.models.tokenizer import FILES
from batch_sdxl.core.models.tokenizer_files import load_tokenizers

NAME = "some-one/tiny-sdxl"
COMMIT = "0123456789" * 4
CLIP = "openai/clip-vit-large-patch14"

Files = dict[str, bytes]


class Hub:
    """Repositories as the hub serves them.

    Attributes:
        repositories: name -> its files.
        refusal: status and code that downloads are answered with instead.
        sent: files that were downloaded.
    """

    def __init__(self, repositories: dict[str, Files]) -> None:
        self.repositories = repositories
        self.refusal: tuple[int, str] | None = None
        self.broken: str | None = None
        self.asked = 0
        self.sent: list[str] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked += 1
        path = request.url.path
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/main|/tree/\w+)?", path):
            files = self.repositories.get(found[1])
            if files is None:
                return httpx2.Response(404, headers={"X-Error-Code": "RepoNotFound"})
            if (found[2] or "").startswith("/tree"):
                return httpx2.Response(200, json=[entry(*item) for item in files.items()])
            siblings = [{"rfilename": name} for name in files]
            return httpx2.Response(200, json={"id": found[1], "sha": COMMIT, "siblings": siblings})
        found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/\w+/(.+)", path)
        assert found, path
        if self.refusal is not None:
            return httpx2.Response(self.refusal[0], headers={"X-Error-Code": self.refusal[1]})
        if self.broken is not None and re.search(self.broken, found[2]):
            raise httpx2.ConnectError("the line is cut")
        content = self.repositories[found[1]][found[2]]
        headers = {"ETag": f'"{sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
        if request.method == "HEAD":
            return httpx2.Response(200, headers=headers | {"Content-Length": str(len(content))})
        self.sent.append(found[2])
        return httpx2.Response(200, headers=headers, content=content)


def entry(name: str, content: bytes) -> dict[str, Any]:
    oid = sha256(content).hexdigest()[:40]
    return {"type": "file", "path": name, "size": len(content), "oid": oid}


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any], None]]:
    """Puts a function in place of the network, and the cache in a folder of its own."""
    from huggingface_hub import set_client_factory
    from huggingface_hub.utils._http import default_client_factory, hf_request_event_hook

    def put(answer: Any) -> None:
        set_client_factory(
            lambda: httpx2.Client(
                transport=httpx2.MockTransport(answer),
                event_hooks={"request": [hf_request_event_hook]},
                follow_redirects=True,
            )
        )

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    yield put
    set_client_factory(default_client_factory)


@pytest.fixture
def hub(serve: Callable[[Any], None], tiny_folder: Path) -> Hub:
    """One with the tiny model in two variants and what else such repositories hold."""
    files = {
        path.relative_to(tiny_folder).as_posix(): path.read_bytes()
        for path in tiny_folder.rglob("*")
        if path.is_file()
    }
    for name in [name for name in files if name.endswith(".safetensors")]:
        files[name.replace(".safetensors", ".fp16.safetensors")] = files[name]
    for name in ("model.safetensors", "README.md", "unet/model.onnx", "unet/flax_model.msgpack"):
        files[name] = b"large"
    files["unet/diffusion_pytorch_model.bin"] = files["vae_1_0/config.json"] = b"large"
    files["text_encoder/openvino_model.bin"] = files["unet/model.ema.safetensors"] = b"large"
    files |= {"unet/diffusion_pytorch_model.non_ema.safetensors": b"large"}
    hub = Hub({NAME: files})
    serve(hub)
    return hub


@pytest.fixture
def unreachable(serve: Callable[[Any], None]) -> Hub:
    """No network."""
    hub = Hub({})

    def refuse(request: httpx2.Request) -> httpx2.Response:
        hub.asked += 1
        raise httpx2.ConnectError("[Errno -2] Name or service not known")

    serve(refuse)
    return hub


def fill_cache(cache: Path, repository: str, content: Path) -> Path:
    """As huggingface_hub keeps a repository."""
    home = cache / "hub" / f"models--{repository.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(COMMIT)
    return Path(shutil.copytree(content, home / "snapshots" / COMMIT))


def test_a_model_is_downloaded_once(hub: Hub, tiny: Model, tiny_folder: Path) -> None:
    """What is needed of it and nothing else; the same as from a folder."""
    model = load_model(NAME, device="cpu")
    assert (model.name, model.digest) == (NAME, tiny.digest)
    assert torch.equal(model.unet.conv_in.weight, tiny.unet.conv_in.weight)
    assert sorted(hub.sent) == sorted(
        path.relative_to(tiny_folder).as_posix()
        for path in tiny_folder.rglob("*")
        if path.is_file()
    )
    asked = hub.asked
    assert find_model(NAME) == find_cached(NAME)
    assert hub.asked == asked


def test_in_fp16_the_files_in_fp16_are_downloaded(hub: Hub) -> None:
    del hub.repositories[NAME]["vae/diffusion_pytorch_model.fp16.safetensors"]
    folder = find_model(NAME, download_as=torch.float16)
    weights = {path.relative_to(folder).as_posix() for path in folder.rglob("*.safetensors")}
    assert weights == {
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "text_encoder/model.fp16.safetensors",
        "text_encoder_2/model.fp16.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    }
    asked = hub.asked
    assert load_model(NAME, device="cpu", dtype="fp16").unet.dtype == torch.float16
    assert load_model(NAME, device="cpu", dtype="fp32").unet.dtype == torch.float32
    assert hub.asked == asked


@pytest.mark.parametrize(
    "gone", ["unet/diffusion_pytorch_model.safetensors", "tokenizer/tokenizer.json"]
)
def test_what_an_interrupted_download_lacks_is_fetched(
    hub: Hub, tmp_path: Path, tiny_folder: Path, gone: str
) -> None:
    cached = fill_cache(tmp_path, NAME, tiny_folder)
    (cached / gone).unlink()
    assert find_cached(NAME) is None
    assert find_model(NAME, download_as=torch.float32) == cached
    assert hub.sent == [gone]


@pytest.mark.parametrize("with_index", [True, False])
def test_missing_pieces_of_weights_are_fetched(
    hub: Hub, tmp_path: Path, tiny_folder: Path, with_index: bool
) -> None:
    cached = fill_cache(tmp_path, NAME, tiny_folder)
    whole, files = "unet/diffusion_pytorch_model", hub.repositories[NAME]
    pieces = [f"{whole}-0000{n}-of-00002.safetensors" for n in (1, 2)]
    places = {f"weight {n}": piece.removeprefix("unet/") for n, piece in enumerate(pieces)}
    index = json.dumps({"weight_map": places}).encode()
    gone = [pieces[1], f"{whole}.safetensors.index.json"]
    files |= {pieces[0]: b"one", pieces[1]: b"two", gone[1]: index}
    del files[f"{whole}.safetensors"]
    if with_index:
        (cached / gone.pop()).write_bytes(index)
    (cached / f"{whole}.safetensors").rename(cached / pieces[0])
    assert find_cached(NAME) is None
    # In fp16 too: what is begun is completed.
    assert find_model(NAME, download_as=torch.float16) == cached
    assert sorted(hub.sent) == gone


def test_a_cut_line_is_told_and_the_download_goes_on_later(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # before the hub's client tries again
    hub.broken = "unet/.*safetensors"
    with pytest.raises(ModelNotFound, match=r"without unet in the cache.*the line is cut"):
        load_model(NAME, device="cpu")
    hub.broken, hub.sent = None, []
    assert load_model(NAME, device="cpu").name == NAME
    assert "vae/config.json" not in hub.sent


def test_a_full_disk_is_told(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **named: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(ModelNotFound, match=r"no download \(OSError: .*No space left"):
        load_model(NAME, device="cpu")


def test_without_network_a_model_comes_from_the_cache(
    unreachable: Hub, tmp_path: Path, tiny: Model, tiny_folder: Path
) -> None:
    fill_cache(tmp_path, NAME, tiny_folder)
    assert load_model(NAME, device="cpu").digest == tiny.digest
    assert unreachable.asked == 0


@pytest.mark.parametrize(
    ("lacks", "offline", "found"),
    [
        (None, False, r"none of it in the cache, and the hub not reached \(ConnectError: .Errno"),
        (None, True, r"none of it in the cache.*HF_HUB_OFFLINE is set"),
        ("unet", False, "it without unet in the cache, and the hub not reached"),
        ("text_encoder_2", True, "it without text_encoder_2 in the cache.*HF_HUB_OFFLINE"),
    ],
)
def test_without_network_it_says_what_is_missing(
    unreachable: Hub,
    tmp_path: Path,
    tiny_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    lacks: str | None,
    offline: bool,
    found: str,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    if lacks is not None:
        shutil.rmtree(fill_cache(tmp_path, NAME, tiny_folder) / lacks)
    with pytest.raises(ModelNotFound, match=found):
        load_model(NAME, device="cpu")
    assert unreachable.asked == (not offline)


def test_what_the_hub_has_not_is_told(hub: Hub) -> None:
    with pytest.raises(ModelNotFound, match="some-one/absent, which is none of them"):
        load_model("some-one/absent", device="cpu")
    hub.refusal = 403, "GatedRepo"
    with pytest.raises(ModelNotFound, match=rf"accept its conditions.*huggingface\.co/{NAME}"):
        load_model(NAME, device="cpu")


def test_another_kind_of_model_is_told_before_its_weights_are_fetched(hub: Hub) -> None:
    files = hub.repositories[NAME]
    files["model_index.json"] = b'{"_class_name": "FluxPipeline"}'
    with pytest.raises(UnsupportedModel, match="FluxPipeline"):
        load_model(NAME, device="cpu")
    assert not any(name.endswith(".safetensors") for name in hub.sent)
    del files["model_index.json"]
    with pytest.raises(UnsupportedModel, match=r"without it\. Download its \.safetensors file"):
        load_model(NAME, device="cpu")


def test_a_repository_of_pickled_weights_is_refused(hub: Hub) -> None:
    files = hub.repositories[NAME]
    for name in [name for name in files if re.match("unet/.*safetensors", name)]:
        del files[name]
    with pytest.raises(UnsupportedModel, match=r"in \.safetensors files, got .* without unet"):
        load_model(NAME, device="cpu")


@pytest.mark.parametrize(
    "name", ["models/sdxl.safetensors", "old/sdxl.ckpt", "/a/b", "a/b/c", "b", "a\\b", "a b/c"]
)
def test_a_path_is_not_looked_for_on_the_hub(unreachable: Hub, name: str) -> None:
    assert not is_name(name)
    with pytest.raises(ModelNotFound, match="which is not on this machine"):
        load_model(name, device="cpu")
    assert unreachable.asked == 0


def test_a_tokenizer_is_taken_from_the_cache(unreachable: Hub, tmp_path: Path) -> None:
    fill_cache(tmp_path, CLIP, DEMO_FOLDER / "tokenizer")
    assert load_tokenizers(tmp_path)[0]("a").input_ids
    assert unreachable.asked == 0


def test_a_tokenizer_that_is_nowhere_is_downloaded(
    serve: Callable[[Any], None], tmp_path: Path
) -> None:
    """Its two files of many, once."""
    files = {name: (DEMO_FOLDER / "tokenizer" / name).read_bytes() for name in FILES}
    hub = Hub({CLIP: files | {"model.safetensors": b"large"}})
    serve(hub)
    first, second = load_tokenizers(tmp_path)
    assert first("a red circle").input_ids == second("a red circle").input_ids
    assert sorted(hub.sent) == sorted(FILES)
    asked = hub.asked
    load_tokenizers(tmp_path)
    assert hub.asked == asked


def test_without_a_tokenizer_it_says_where_to_put_one(unreachable: Hub, tmp_path: Path) -> None:
    with pytest.raises(
        ModelNotFound,
        match=r"vocab\.json and merges\.txt.*the hub not reached.*beside the checkpoint",
    ):
        load_tokenizers(tmp_path)
    assert unreachable.asked == 1
