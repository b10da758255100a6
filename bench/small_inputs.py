"""What the models of small_models.py are called with, labels included, which make them compute their loss."""

from __future__ import annotations

from typing import Any

import torch

Inputs = dict[str, Any]

BATCH, TOKENS, VOCABULARY = 2, 12, 96
FIRST_WORD = 4
"""Token numbers from here on have no special meaning in any of the configurations."""
IMAGE, FRAMES, MELS = 32, 64, 16
LABELS = ("labels", "return_loss", "future_values")
"""Inputs that only serve the loss."""


def _tokens(count: int = TOKENS) -> Any:
    return torch.randint(FIRST_WORD, VOCABULARY, (BATCH, count))


def language(_: Any) -> Inputs:
    """Tokens, each of which is to be predicted."""
    tokens = _tokens()
    return {"input_ids": tokens, "labels": tokens.clone()}


def text_classes(_: Any) -> Inputs:
    """Tokens and one class for each text."""
    return {"input_ids": _tokens(), "labels": _classes()}


def translation(_: Any) -> Inputs:
    """Tokens and what is to be made of them."""
    return {"input_ids": _tokens(), **_answer(TOKENS - 4)}


def _answer(count: int) -> Inputs:
    tokens = _tokens(count)
    return {"decoder_input_ids": tokens, "labels": tokens.roll(-1, 1)}


def _classes() -> Any:
    return torch.arange(BATCH) % 2


def _image() -> Any:
    return torch.randn(BATCH, 3, IMAGE, IMAGE)


def image_classes(_: Any) -> Inputs:
    """Images and one class for each."""
    return {"pixel_values": _image(), "labels": _classes()}


def image_segments(_: Any) -> Inputs:
    """Images and one class for each pixel."""
    return {"pixel_values": _image(), "labels": torch.randint(0, 2, (BATCH, IMAGE, IMAGE))}


def image_and_text(_: Any) -> Inputs:
    """Images with their captions."""
    return {"input_ids": _tokens(), "pixel_values": _image(), "return_loss": True}


def wave(_: Any) -> Inputs:
    """Sound and its transcription."""
    return {"input_values": torch.randn(BATCH, 1600), "labels": _tokens(4)}


def spectrogram(config: Any) -> Inputs:
    """Frames of a spectrogram and one class for each sound."""
    return {"input_values": torch.randn(BATCH, FRAMES, config.num_mel_bins), "labels": _classes()}


def speech(config: Any) -> Inputs:
    """Features of speech, frames last, and what was said."""
    return {"input_features": torch.randn(BATCH, config.num_mel_bins, FRAMES), **_answer(6)}


def speech_frames(config: Any) -> Inputs:
    """Features of speech, frames first, and what was said."""
    features = torch.randn(BATCH, FRAMES, config.input_feat_per_channel)
    return {"input_features": features, **_answer(6)}


def series(config: Any) -> Inputs:
    """A time series of several channels and its future."""
    channels = config.num_input_channels
    past = torch.randn(BATCH, config.context_length, channels)
    future = torch.randn(BATCH, config.prediction_length, channels)
    return {"past_values": past, "future_values": future}
