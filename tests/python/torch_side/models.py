"""The models that tests share; small where size is not the point."""

from __future__ import annotations

from typing import Any

import torch


def gpt2(full: bool = False) -> tuple[Any, dict[str, Any]]:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    small = {"n_layer": 2, "n_embd": 64, "n_head": 2, "vocab_size": 100, "bos_token_id": 1, "eos_token_id": 2}
    config = GPT2Config() if full else GPT2Config(**small)
    ids = torch.randint(0, 100, (1, 64))
    return GPT2LMHeadModel(config).eval(), {"input_ids": ids}


def bert() -> tuple[Any, dict[str, Any]]:
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(num_hidden_layers=2, hidden_size=64, num_attention_heads=2, intermediate_size=128)
    return BertModel(config).eval(), {"input_ids": torch.randint(0, 100, (1, 64))}


def classifier() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3),
        torch.nn.BatchNorm2d(4),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(144, 5),
    )


def row_sum(x: torch.Tensor) -> torch.Tensor:
    """A reduction whose kernel keeps one partial result per thread."""
    return (x * 2).sum()
