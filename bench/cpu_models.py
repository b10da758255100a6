"""Models with random weights that benchmarks on CPUs compile and call, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# "deep" is bert4 with 48 layers: a graph of more than a thousand nodes. "parts" is many graphs at once.
MODELS = ("gpt2", "bert", "bert4", "deep", "llama", "vit", "mlp", "parts")
MANY_KERNELS = ("convnet", "swin")
"""Layers of many shapes, each with kernels of its own, where a transformer's layers share theirs."""


def build(name: str) -> tuple[Any, tuple[Any, ...], Callable[[Any], Any]]:
    """A model with random weights in eval mode, its inputs, and what takes the tensor out of its output."""
    import torch

    torch.manual_seed(0)
    if name == "mlp":
        layers = [torch.nn.Linear(1024, 1024), torch.nn.ReLU()] * 4
        return torch.nn.Sequential(*layers).eval(), (torch.randn(32, 1024),), lambda out: out
    if name == "parts":
        return in_parts(), (torch.randn(1, 64, 256),), lambda out: out
    import transformers

    if name == "gpt2":
        gpt2 = transformers.GPT2Config()
        return (
            transformers.GPT2LMHeadModel(gpt2).eval(),
            (torch.randint(0, gpt2.vocab_size, (1, 64)),),
            lambda out: out.logits,
        )
    if name == "llama":
        return small_llama(transformers)
    if name == "vit":
        return small_vit(transformers)
    if name in MANY_KERNELS:
        return of_many_kernels(transformers, name)
    small = {"hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024}
    sizes: dict[str, dict[str, Any]] = {
        "bert": {},
        "bert4": {"num_hidden_layers": 4, **small},
        "deep": {"num_hidden_layers": 48, **small},
    }
    bert = transformers.BertConfig(**sizes[name])
    return (
        transformers.BertModel(bert).eval(),
        (torch.randint(0, bert.vocab_size, (1, 64)),),
        lambda out: out.last_hidden_state,
    )


def small_llama(transformers: Any) -> tuple[Any, tuple[Any, ...], Callable[[Any], Any]]:
    """Rotary embeddings, RMS norms, a gated MLP, and heads that share keys and values; 64 tokens."""
    import torch

    config = transformers.LlamaConfig(
        **{"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 4, "vocab_size": 32000},
        **{"num_attention_heads": 8, "num_key_value_heads": 2, "use_cache": False},
    )
    tokens = torch.randint(0, config.vocab_size, (1, 64))
    return transformers.LlamaForCausalLM(config).eval(), (tokens,), lambda out: out.logits


def small_vit(transformers: Any) -> tuple[Any, tuple[Any, ...], Callable[[Any], Any]]:
    """A convolution that cuts the image in patches, and a transformer; one image."""
    import torch

    config = transformers.ViTConfig(
        **{"hidden_size": 192, "intermediate_size": 768, "num_hidden_layers": 4, "num_attention_heads": 3}
    )
    images = torch.randn(1, 3, 224, 224)
    return transformers.ViTModel(config).eval(), (images,), lambda out: out.last_hidden_state


def of_many_kernels(transformers: Any, name: str) -> tuple[Any, tuple[Any, ...], Callable[[Any], Any]]:
    """A residual network of 18 layers, or a transformer with windows whose stages halve the image."""
    import torch

    if name == "convnet":
        config = transformers.ResNetConfig(
            **{"depths": [2, 2, 2, 2], "hidden_sizes": [64, 128, 256, 512], "layer_type": "basic"}
        )
        return (
            transformers.ResNetModel(config).eval(),
            (torch.randn(1, 3, 128, 128),),
            lambda out: out.last_hidden_state,
        )
    swin = transformers.SwinModel(transformers.SwinConfig(depths=[2, 2, 2, 2])).eval()
    return swin, (torch.randn(1, 3, 224, 224),), lambda out: out.last_hidden_state


def in_parts(parts: int = 8) -> Any:
    """A model that Dynamo splits into so many graphs, no two of them equal."""
    import torch

    class Part(torch.nn.Module):
        def __init__(self, number: int) -> None:
            super().__init__()
            size = 512 + 64 * number
            grow, shrink = torch.nn.Linear(256, size), torch.nn.Linear(size, 256)
            self.layer = torch.nn.Sequential(torch.nn.LayerNorm(256), grow, torch.nn.GELU(), shrink)
            self.rest = Part(number + 1) if number + 1 < parts else None

        def forward(self, x: Any) -> Any:
            x = x + self.layer(x)
            if self.rest is None:
                return x
            torch._dynamo.graph_break()  # not in a loop, where Dynamo would leave the frame alone
            return self.rest(x)

    return Part(0).eval()
