"""transformers' Trainer with a model that was compiled in place before, as docs/use tells."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from model_farm import same, switched

pytest.importorskip("accelerate", reason="transformers has no Trainer without accelerate")

from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments

pytestmark = pytest.mark.usefixtures("farm_client")

STEPS, SWITCH_AT, BATCH, TOKENS = 4, 2, 2, 8


def tiny() -> torch.nn.Module:
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=32, max_position_embeddings=16, **sizes))


def rows() -> list[dict[str, torch.Tensor]]:
    made = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 32, (STEPS * BATCH, TOKENS), generator=made)
    return [{"input_ids": row, "labels": row} for row in tokens]


class SwitchBetweenSteps(TrainerCallback):
    """Waits until the graphs that the steps so far have asked for are compiled."""

    def __init__(self) -> None:
        self.graphs: list[Any] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == SWITCH_AT:
            self.graphs = switched()


def trained(model: torch.nn.Module, out: Path, *callbacks: TrainerCallback) -> Trainer:
    settings: dict[str, Any] = {
        "per_device_train_batch_size": BATCH,
        "max_steps": STEPS,
        "learning_rate": 0.01,
    }
    quiet: dict[str, Any] = {"report_to": [], "save_strategy": "no", "disable_tqdm": True, "use_cpu": True}
    args = TrainingArguments(output_dir=str(out), **settings, **quiet)
    trainer = Trainer(model=model, args=args, train_dataset=rows(), callbacks=list(callbacks))
    trainer.train()
    return trainer


def test_what_trainer_trains_across_the_switch_is_what_it_trains_in_eager(tmp_path: Path) -> None:
    eager = tiny()
    model = copy.deepcopy(eager)
    model.compile(backend="fxfarm")
    between = SwitchBetweenSteps()
    trainer = trained(model, tmp_path / "farmed", between)
    assert trainer.state.global_step == STEPS
    assert between.graphs
    assert all(graph.runs.get("default", 0) == 0 for graph in between.graphs), "it ran eager until then"
    assert sum(graph.runs["default"] for graph in switched()) >= STEPS - SWITCH_AT
    trained(eager, tmp_path / "eager")
    same(model.state_dict(), eager.state_dict())
