"""The code of the pages on use is run as it stands there, against a farm that the test plays itself."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from farm_double import Loaded, client, doubled_farm, seen_by_the_loader
from programs import until
from recipes import block

import fxfarm


@pytest.fixture(autouse=True)
def farm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    with doubled_farm(monkeypatch, tmp_path / "artifacts"):
        yield


class Double(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2


def run(page: str, part: str, **names: Any) -> dict[str, Any]:
    """What the names are after the page's block with `part` in it."""
    exec(block(page, part, "python"), names)
    return names


def test_a_server_asks_for_its_graphs_when_it_starts_and_is_ready_when_they_have_come() -> None:
    server = run("use/serving.md", "def ready", model=Double(), shape=(3,), torch=torch, fxfarm=fxfarm)
    server["warm"]()
    asked = list(client().graph_states)
    assert asked
    assert not server["ready"]()
    for graph in asked:
        assert not server["ready"](), "one is still to come"
        # The input is the last argument, whether sizes are fixed or not.
        client().arrive(graph, 0, Loaded(lambda args: [args[-1] * 3], boxed=True))
        seen_by_the_loader()
    until("the server is ready", server["ready"])
    with torch.inference_mode():
        for batch in (1, 8, 32):
            assert server["model"](torch.ones(batch, 3)).tolist() == [[3.0] * 3] * batch


@pytest.mark.skipif(
    importlib.util.find_spec("accelerate") is None, reason="transformers has no Trainer without accelerate"
)
def test_the_trainer_of_the_page_trains_a_model_whose_graphs_go_to_the_farm(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

    monkeypatch.chdir(tmp_path)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=32, max_position_embeddings=16, **sizes))
    before = [p.detach().clone() for p in model.parameters()]
    tokens = torch.arange(8)
    data = [{"input_ids": tokens, "labels": tokens}] * 8
    names = {"Trainer": Trainer, "TrainingArguments": TrainingArguments, "model": model, "data": data}
    trainer = run("use/transformers.md", "trainer = Trainer", **names)["trainer"]
    trainer.train()
    assert client().graph_states
    assert sum(graph.runs["eager"] for graph in fxfarm.graphs()) >= trainer.state.global_step > 0
    after = list(model.parameters())
    assert not all(torch.equal(old, new) for old, new in zip(before, after, strict=True))
