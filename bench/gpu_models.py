"""The models of bench/gpu.py, with random weights, and what is called again and again of each."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

Settings = dict[str, Any]

KINDS = ("inference", "training")
CLASSES = 1000
"""Of images."""
LEARNING_RATE = 1e-4
"""So small that hundreds of steps on one batch stay where bfloat16 has numbers."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a model is made of: `module`, whose output `take` makes logits of (..., classes), and inputs."""

    module: torch.nn.Module
    inputs: torch.Tensor
    classes: int
    take: Callable[[Any], torch.Tensor]


class Answer(torch.nn.Module):
    """A model with one tensor as its answer: the logits, or with labels the loss."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.module = recipe.module
        self._take = recipe.take

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        """(batch, ...) to (batch, ..., classes), or to one number."""
        logits = self._take(self.module(x))
        if labels is None:
            return logits
        return torch.nn.functional.cross_entropy(logits.flatten(0, -2).float(), labels.flatten())


class Work:
    """One kind of call of a model. `run` is the module or what `torch.compile` has made of it."""

    def __init__(self, recipe: Recipe, kind: str) -> None:
        self.module: torch.nn.Module = Answer(recipe)
        self.trained = kind == "training"
        self.module.train(self.trained)
        self.inputs: tuple[torch.Tensor, ...] = (recipe.inputs,)
        if self.trained:
            with torch.no_grad():
                shape = self.module(recipe.inputs).shape[:-1]
            self.inputs += (torch.randint(0, recipe.classes, shape, device=recipe.inputs.device),)
        # Plain SGD has no state, so the weights are all that a step changes.
        self._optimizer = torch.optim.SGD(self.module.parameters(), lr=LEARNING_RATE)
        self.remember()

    def remember(self) -> None:
        """Takes the weights as they are for those of the beginning; also after `module` was wrapped."""
        self._begin = {name: value.to("cpu", copy=True) for name, value in self.module.state_dict().items()}

    def call(self, run: Callable[..., torch.Tensor]) -> None:
        """A forward; of a trained model with loss, backward and the optimizer's step."""
        if not self.trained:
            with torch.no_grad():
                run(*self.inputs)
            return
        run(*self.inputs).backward()
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)

    def difference(self, run: Callable[..., torch.Tensor]) -> dict[str, float]:
        """Greatest difference to eager from the weights of the beginning, in terms of the greatest of
        eager's values: of the output, and of a trained model's gradients over all of them."""
        return {
            name: _relative(found, expected)
            for (name, found), (_, expected) in zip(
                self._answers(run), self._answers(self.module), strict=True
            )
        }

    def _answers(self, run: Callable[..., torch.Tensor]) -> Iterator[tuple[str, list[torch.Tensor]]]:
        self.module.load_state_dict(self._begin)
        if not self.trained:
            with torch.no_grad():
                yield "output", [run(*self.inputs).clone()]
            return
        loss = run(*self.inputs)
        loss.backward()
        found = [p.grad.clone() for p in self.module.parameters() if p.grad is not None]
        self._optimizer.zero_grad(set_to_none=True)
        yield "output", [loss.detach().clone()]
        yield "gradients", found


def _relative(found: list[torch.Tensor], expected: list[torch.Tensor]) -> float:
    scale = max(float(e.abs().max()) for e in expected)
    apart = max(float((f.float() - e.float()).abs().max()) for f, e in zip(found, expected, strict=True))
    return apart / scale


def build(model: str, kind: str, device: str, dtype: str, small: bool) -> Work:
    """The model on its device. Weights are made there and of that type: a billion of them take long else."""
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        with torch.device(device):
            return Work(RECIPES[model](small), kind)
    finally:
        torch.set_default_dtype(before)


def tiny() -> tuple[torch.nn.Module, torch.Tensor]:
    """A model whose calls are almost all overhead, and its input."""
    torch.manual_seed(0)
    layers = (torch.nn.Linear(16, 16), torch.nn.ReLU(), torch.nn.Linear(16, 16))
    return torch.nn.Sequential(*layers).eval(), torch.randn(4, 16)


def _logits(out: Any) -> torch.Tensor:
    found: torch.Tensor = out.logits
    return found


def _gpt2(small: bool) -> Recipe:
    import transformers

    sizes: Settings = {"n_layer": 2, "n_embd": 64, "n_head": 2, "vocab_size": 1000} if small else {}
    without: Settings = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "use_cache": False}
    config = transformers.GPT2Config(**sizes, **without)
    tokens = torch.randint(0, config.vocab_size, (2, 32) if small else (8, 512))
    return Recipe(transformers.GPT2LMHeadModel(config), tokens, config.vocab_size, _logits)


def _bert(small: bool) -> Recipe:
    import transformers

    sizes: Settings = {
        **{"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 2},
        **{"intermediate_size": 128, "vocab_size": 1000},
    }
    without: Settings = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = transformers.BertConfig(**(sizes if small else {}), **without)
    tokens = torch.randint(0, config.vocab_size, (2, 32) if small else (32, 128))
    return Recipe(transformers.BertForMaskedLM(config), tokens, config.vocab_size, _logits)


def _llama(small: bool) -> Recipe:
    """Of 1.24 billion parameters."""
    import transformers

    shape = (64, 128, 2, 2, 1, 1000) if small else (2048, 8192, 16, 32, 8, 128256)
    names = (
        *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
        *("num_key_value_heads", "vocab_size"),
    )
    sizes: Settings = dict(zip(names, shape, strict=True))
    config = transformers.LlamaConfig(**sizes, use_cache=False, tie_word_embeddings=True)
    tokens = torch.randint(0, config.vocab_size, (2, 32) if small else (4, 512))
    return Recipe(transformers.LlamaForCausalLM(config), tokens, config.vocab_size, _logits)


def _vit(small: bool) -> Recipe:
    import transformers

    sizes: Settings = {
        **{"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 2},
        **{"intermediate_size": 128, "image_size": 32, "patch_size": 8},
    }
    labels: Settings = {"num_labels": CLASSES}
    config = transformers.ViTConfig(**(sizes if small else {}), **labels)
    side = 32 if small else 224
    images = torch.randn(2 if small else 32, 3, side, side)
    return Recipe(transformers.ViTForImageClassification(config), images, CLASSES, _logits)


def _resnet(small: bool) -> Recipe:
    """Torchvision's; where that is not there, transformers' of the same layers."""
    images = torch.randn(2 if small else 64, 3, 64 if small else 224, 64 if small else 224)
    images = images.contiguous(memory_format=torch.channels_last)
    module: Any
    try:
        torchvision = importlib.import_module("torchvision")
    except ImportError:
        import transformers

        sizes: Settings = {"num_labels": CLASSES}
        if small:
            sizes |= {"embedding_size": 16, "hidden_sizes": [32, 64], "depths": [1, 1]}
        config = transformers.ResNetConfig(**sizes)
        module, take = transformers.ResNetForImageClassification(config), _logits
    else:
        made = torchvision.models.resnet18 if small else torchvision.models.resnet50
        module, take = made(), lambda out: out
    return Recipe(module.to(memory_format=torch.channels_last), images, CLASSES, take)


RECIPES = {"gpt2": _gpt2, "bert": _bert, "llama": _llama, "vit": _vit, "resnet": _resnet}
