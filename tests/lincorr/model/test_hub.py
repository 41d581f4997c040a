"""Downloads from a hub on this machine: which files are asked for, and what is said where there are none."""

import hashlib
import json
import shutil
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from transformers import AutoModelForCausalLM

from lincorr.errors import BadInput
from lincorr.model.checkpoint import weight_files
from lincorr.model.files import ModelSpec, config_folder, float32_bytes, locate, locate_adapter
from lincorr.model.fingerprint import fingerprint_of
from lincorr.model.load import load_model, load_tokenizer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Repositories of a hub: name -> file -> content; what was downloaded of them."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.refused: dict[str, tuple[int, str]] = {}
        self.downloaded: list[str] = []

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and content for a request, as the hub's own interface has them."""
        path = path.partition("?")[0].removeprefix("/api/models").lstrip("/")
        owner, name, verb, revision, *rest = (*path.split("/"), "", "", "")[:]
        hub_id = f"{owner}/{name}"
        if hub_id in self.refused:
            status, code = self.refused[hub_id]
            return status, {"X-Error-Code": code}, b""
        files = self.repositories.get(hub_id)
        if files is None:
            return 404, {"X-Error-Code": "RepoNotFound"}, b""
        if revision not in ("main", COMMIT):
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        if verb == "revision":
            found = {"id": hub_id, "sha": COMMIT, "siblings": [{"rfilename": file} for file in files]}
            return 200, {}, json.dumps(found).encode()
        if verb == "tree":
            oids = {file: hashlib.sha1(content).hexdigest() for file, content in files.items()}
            tree = [{"type": "file", "path": f, "size": len(files[f]), "oid": oids[f]} for f in files]
            return 200, {}, json.dumps(tree).encode()
        file = "/".join(part for part in rest if part)
        headers = {"ETag": f'"{hashlib.sha1(files[file]).hexdigest()}"', "X-Repo-Commit": COMMIT}
        return 200, headers, files[file]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub on this machine, with an empty cache."""
    made = Hub()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            status, headers, content = made.answer(self.path)
            self.send_response_only(status)
            for name, value in (headers | {"Content-Length": str(len(content))}).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                if "/resolve/" in self.path:  # before the client has it, and asks what was downloaded
                    made.downloaded.append(self.path.partition(f"{COMMIT}/")[2])
                self.wfile.write(content)

        do_GET = do_HEAD = answer

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        constants.ENDPOINT + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_hub_that_never_answers_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr("lincorr.model.hub._PATIENCE", 0.2)
        with pytest.raises(BadInput, match=r"the hub cannot be reached \(timed out\); check the network"):
            locate(ModelSpec("some/model"))


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def small(toy_model: Path) -> dict[str, bytes]:
    """The toy model's files, and such as models on the hub have beside them."""
    beside = ("README.md", "onnx/config.json", "consolidated.safetensors", "pytorch_model.bin", "evil.py")
    more = ("original/params.json", "preprocessor_config.json", "adapter_config.json", "tf_model.h5")
    return files_of(toy_model) | {name: name.encode() for name in (*beside, *more)}


@pytest.fixture
def sharded(toy_model: Path, tmp_path: Path) -> dict[str, bytes]:
    """The toy model in parts."""
    model = AutoModelForCausalLM.from_pretrained(toy_model)
    model.save_pretrained(tmp_path / "parts", max_shard_size="20KB")
    shutil.copy(toy_model / "tokenizer.json", tmp_path / "parts")
    shutil.copy(toy_model / "tokenizer_config.json", tmp_path / "parts")
    return files_of(tmp_path / "parts")


def test_only_what_a_model_is_loaded_from_is_downloaded(hub: Hub, small: dict[str, bytes]) -> None:
    hub.repositories["some/model"] = small
    folder = locate(ModelSpec("some/model"))
    wanted = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert {path.name for path in folder.iterdir()} == set(hub.downloaded) == wanted & set(small)
    load_model(ModelSpec("some/model", device="cpu"))


def test_code_is_downloaded_where_it_is_trusted(hub: Hub, small: dict[str, bytes]) -> None:
    hub.repositories["some/model"] = small
    locate(ModelSpec("some/model", trust_remote_code=True))
    assert "evil.py" in hub.downloaded
    assert not any("/" in name or name.startswith("adapter") for name in hub.downloaded)


def test_parts_are_those_of_the_index(hub: Hub, sharded: dict[str, bytes]) -> None:
    parts = {name for name in sharded if name.startswith("model-")}
    assert len(parts) > 1
    hub.repositories["some/model"] = sharded | {"consolidated.safetensors": b"x" * 1000}
    folder = locate(ModelSpec("some/model"))
    assert {name for name in hub.downloaded if name.endswith(".safetensors")} == parts
    before = fingerprint_of(ModelSpec(str(folder))), float32_bytes(folder)
    (folder / "consolidated.safetensors").write_bytes(b"x")
    assert (fingerprint_of(ModelSpec(str(folder))), float32_bytes(folder)) == before


def test_pickled_weights_are_downloaded_where_there_are_no_others(hub: Hub, small: dict[str, bytes]) -> None:
    del small["model.safetensors"]
    hub.repositories["some/model"] = small
    folder = locate(ModelSpec("some/model"))
    assert [path.name for path in weight_files(folder)] == ["pytorch_model.bin"]


def test_a_configuration_is_downloaded_without_weights(hub: Hub, small: dict[str, bytes]) -> None:
    hub.repositories["some/model"] = small
    load_tokenizer(config_folder(ModelSpec("some/model")))
    assert "model.safetensors" not in hub.downloaded


def test_without_a_connection_the_cache_is_enough_though_it_lacks_what_nobody_needs(
    hub: Hub, small: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repositories["some/model"] = small
    folder = locate(ModelSpec("some/model"))  # the cache knows the names of the other files now
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert locate(ModelSpec("some/model")) == folder
    (folder / "tokenizer.json").unlink()
    assert refusal("some/model") == (
        "model: the cache lacks files of 'some/model' (tokenizer.json); run once with a connection to the hub"
    )


def refusal(hub_id: str, revision: str | None = None) -> str:
    with pytest.raises(BadInput) as refused:
        locate(ModelSpec(hub_id, revision=revision))
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_gated_missing_and_unreachable_each_get_their_own_advice(
    hub: Hub, small: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repositories["some/model"] = {"config.json": b"{}"}
    hub.refused = {"some/gated": (403, "GatedRepo"), "some/login": (401, "")}
    assert "'some/gated' is gated: ask for access on its page there" in refusal("some/gated")
    assert "HF_TOKEN" in refusal("some/login")
    assert "'no/model' is neither a local folder nor on the hub; check the name" in refusal("no/model")
    assert "has no revision 'v2' on the hub; set model.revision" in refusal("some/model", "v2")
    assert "has no weights" in refusal("some/model")
    assert "is not a local folder, a .gguf file or an id on the hub" in refusal("/no/such folder/")
    with pytest.raises(BadInput, match=r"^model\.adapter: 'no/adapter' is neither a local folder nor"):
        locate_adapter(ModelSpec("some/model", adapter="no/adapter"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    said = refusal("no/model")
    assert "nor in the hub's cache, and the hub cannot be reached (" in said
    assert "HF_ENDPOINT" in said
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "nor in the hub's cache, and HF_HUB_OFFLINE is set; unset that" in refusal("no/model")


def test_a_part_that_is_missing_is_named(sharded: dict[str, bytes], tmp_path: Path) -> None:
    part = min(name for name in sharded if name.startswith("model-"))
    (tmp_path / "parts" / part).unlink()
    with pytest.raises(BadInput, match=rf"{part}' is missing, which model\.safetensors\.index\.json names"):
        fingerprint_of(ModelSpec(str(tmp_path / "parts")))


def test_pickles_that_hold_more_than_weights_are_refused_without_advice_to_run_them(
    toy_model: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(toy_model, tmp_path / "model"))
    (folder / "model.safetensors").unlink()
    torch.save({"a": Path("x")}, folder / "pytorch_model.bin")
    with pytest.raises(BadInput) as refused:
        load_model(ModelSpec(str(folder), device="cpu"))
    assert "hold more than weights and are not opened; save the model as safetensors" in str(refused.value)
    assert "weights_only" not in str(refused.value)
