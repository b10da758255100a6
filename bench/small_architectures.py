"""Architectures of `transformers` by name: the class of each and sizes in which it compiles in seconds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import small_inputs as given
from small_inputs import FRAMES, IMAGE, MELS, VOCABULARY, Inputs

PATCH = 8


@dataclasses.dataclass(frozen=True)
class Architecture:
    """One row: class of the model, what its configuration is given, and what it is called with."""

    family: str
    model: str
    sizes: Mapping[str, Any]
    inputs: Callable[[Any], Inputs]


# Sizes that many configurations name alike.

_WORDS = {"vocab_size": VOCABULARY, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_DEEP = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
_BODY = {**_DEEP, "intermediate_size": 48}
_TEXT = {**_WORDS, **_BODY}
_LLAMA = {**_TEXT, "num_key_value_heads": 1}
_GPT = {**_WORDS, "n_embd": 32, "n_layer": 2, "n_head": 2}
_EXPERTS = {**_LLAMA, "num_experts_per_tok": 2}
_TRANSLATE = {
    **_WORDS,
    "d_model": 32,
    **{
        f"{half}_{name}": size
        for half in ("encoder", "decoder")
        for name, size in (("layers", 1), ("attention_heads", 2), ("ffn_dim", 48))
    },
    "decoder_start_token_id": 2,
    "forced_eos_token_id": None,
    "max_position_embeddings": 64,
}
_T5 = {
    "vocab_size": VOCABULARY,
    "d_model": 32,
    "d_kv": 16,
    "d_ff": 48,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "num_heads": 2,
    "decoder_start_token_id": 0,
}
_MAMBA = {**_WORDS, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}
_VIT = {**_BODY, "image_size": IMAGE, "patch_size": PATCH}
_STAGES = {"depths": [1, 1], "hidden_sizes": [16, 32]}
_SOUND = {
    **_TEXT,
    "conv_dim": [16, 16],
    "conv_stride": [8, 4],
    "conv_kernel": [10, 4],
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "apply_spec_augment": False,
}
_PAIR = {
    "text_config": {**_TEXT, "projection_dim": 16},
    "vision_config": {**_VIT, "projection_dim": 16},
    "projection_dim": 16,
}


def _rows(family: str, inputs: Callable[[Any], Inputs], **models: Any) -> dict[str, Architecture]:
    """Rows of one family; each model is its class and its sizes."""
    return {name: Architecture(family, model, sizes, inputs) for name, (model, sizes) in models.items()}


ARCHITECTURES: dict[str, Architecture] = {
    **_rows(
        "text decoder",
        given.language,
        gpt2=("GPT2LMHeadModel", _GPT),
        gpt_neo=(
            "GPTNeoForCausalLM",
            {
                **_WORDS,
                "hidden_size": 32,
                "num_layers": 2,
                "num_heads": 2,
                "window_size": 4,
                "attention_types": [[["global", "local"], 1]],
            },
        ),
        gpt_neox=("GPTNeoXForCausalLM", _TEXT),
        gptj=("GPTJForCausalLM", {**_GPT, "rotary_dim": 8}),
        gpt_bigcode=("GPTBigCodeForCausalLM", _GPT),
        codegen=("CodeGenForCausalLM", {**_GPT, "n_head": 4, "rotary_dim": 4}),
        opt=(
            "OPTForCausalLM",
            {**_WORDS, **_DEEP, "ffn_dim": 48, "word_embed_proj_dim": 32, "max_position_embeddings": 64},
        ),
        bloom=("BloomForCausalLM", {**_WORDS, "hidden_size": 32, "n_layer": 2, "n_head": 2}),
        mpt=("MptForCausalLM", {**_WORDS, "d_model": 32, "n_layers": 2, "n_heads": 2, "max_seq_len": 64}),
        falcon=("FalconForCausalLM", _TEXT),
        llama=("LlamaForCausalLM", _LLAMA),
        mistral=("MistralForCausalLM", {**_LLAMA, "sliding_window": 4}),
        qwen2=("Qwen2ForCausalLM", _LLAMA),
        qwen3=("Qwen3ForCausalLM", {**_LLAMA, "head_dim": 16}),
        gemma=("GemmaForCausalLM", {**_LLAMA, "head_dim": 16}),
        gemma2=("Gemma2ForCausalLM", {**_LLAMA, "head_dim": 16, "sliding_window": 4}),
        gemma3=("Gemma3ForCausalLM", {**_LLAMA, "head_dim": 16, "sliding_window": 4}),
        phi=("PhiForCausalLM", _TEXT),
        phi3=("Phi3ForCausalLM", _LLAMA),
        stablelm=("StableLmForCausalLM", _LLAMA),
        olmo2=("Olmo2ForCausalLM", _LLAMA),
        cohere=("CohereForCausalLM", _LLAMA),
        biogpt=("BioGptForCausalLM", _TEXT),
    ),
    **_rows(
        "text encoder",
        given.language,
        bert=("BertForMaskedLM", _TEXT),
        roberta=("RobertaForMaskedLM", _TEXT),
        distilbert=(
            "DistilBertForMaskedLM",
            {**_WORDS, "dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 48},
        ),
        albert=("AlbertForMaskedLM", {**_TEXT, "embedding_size": 16}),
        mpnet=("MPNetForMaskedLM", _TEXT),
        fnet=("FNetForMaskedLM", _TEXT),
        modernbert=(
            "ModernBertForMaskedLM",
            {**_TEXT, "local_attention": 4, "cls_token_id": 1, "sep_token_id": 2},
        ),
        longformer=("LongformerForMaskedLM", {**_TEXT, "attention_window": 4}),
    ),
    **_rows(
        "text encoder",
        given.text_classes,
        electra=("ElectraForSequenceClassification", {**_TEXT, "embedding_size": 16}),
        deberta_v2=(
            "DebertaV2ForSequenceClassification",
            {**_TEXT, "relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 4},
        ),
        xlnet=(
            "XLNetForSequenceClassification",
            {**_WORDS, "d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 48},
        ),
    ),
    **_rows(
        "encoder-decoder",
        given.translation,
        t5=("T5ForConditionalGeneration", _T5),
        bart=("BartForConditionalGeneration", _TRANSLATE),
        mbart=("MBartForConditionalGeneration", _TRANSLATE),
        pegasus=("PegasusForConditionalGeneration", _TRANSLATE),
        marian=("MarianMTModel", _TRANSLATE),
        m2m_100=("M2M100ForConditionalGeneration", _TRANSLATE),
        prophetnet=(
            "ProphetNetForConditionalGeneration",
            {
                **_WORDS,
                "hidden_size": 32,
                "num_encoder_layers": 1,
                "num_decoder_layers": 1,
                "num_encoder_attention_heads": 2,
                "num_decoder_attention_heads": 2,
                "encoder_ffn_dim": 48,
                "decoder_ffn_dim": 48,
                "decoder_start_token_id": 1,
                "max_position_embeddings": 64,
            },
        ),
    ),
    **_rows(
        "mixture of experts",
        given.language,
        mixtral=("MixtralForCausalLM", {**_EXPERTS, "num_local_experts": 4}),
        qwen2_moe=(
            "Qwen2MoeForCausalLM",
            {
                **_EXPERTS,
                "num_experts": 4,
                "moe_intermediate_size": 16,
                "shared_expert_intermediate_size": 16,
            },
        ),
        qwen3_moe=(
            "Qwen3MoeForCausalLM",
            {**_EXPERTS, "num_experts": 4, "moe_intermediate_size": 16, "head_dim": 16},
        ),
        olmoe=("OlmoeForCausalLM", {**_EXPERTS, "num_experts": 4}),
        granitemoe=("GraniteMoeForCausalLM", {**_EXPERTS, "num_local_experts": 4}),
        gpt_oss=(
            "GptOssForCausalLM",
            {**_EXPERTS, "num_local_experts": 4, "head_dim": 16, "sliding_window": 4},
        ),
        deepseek_v3=(
            "DeepseekV3ForCausalLM",
            {
                **_EXPERTS,
                "num_key_value_heads": 2,
                "n_routed_experts": 4,
                "n_group": 2,
                "topk_group": 1,
                "first_k_dense_replace": 1,
                "moe_intermediate_size": 16,
                "kv_lora_rank": 8,
                "q_lora_rank": 8,
                "qk_rope_head_dim": 8,
                "qk_nope_head_dim": 8,
                "v_head_dim": 8,
            },
        ),
    ),
    **_rows(
        "mixture of experts",
        given.translation,
        switch_transformers=(
            "SwitchTransformersForConditionalGeneration",
            {**_T5, "num_experts": 4, "num_sparse_encoder_layers": 1, "num_sparse_decoder_layers": 1},
        ),
    ),
    **_rows(
        "state space",
        given.language,
        mamba=("MambaForCausalLM", _MAMBA),
        falcon_mamba=("FalconMambaForCausalLM", _MAMBA),
        mamba2=(
            "Mamba2ForCausalLM",
            {**_MAMBA, "num_heads": 4, "head_dim": 16, "n_groups": 1, "chunk_size": 4},
        ),
        jamba=(
            "JambaForCausalLM",
            {
                **_EXPERTS,
                "num_experts": 2,
                "expert_layer_offset": 1,
                "expert_layer_period": 2,
                "attn_layer_offset": 1,
                "attn_layer_period": 2,
                "mamba_d_state": 4,
                "mamba_dt_rank": 2,
                "use_mamba_kernels": False,
            },
        ),
        recurrent_gemma=(
            "RecurrentGemmaForCausalLM",
            {
                **_LLAMA,
                "lru_width": 32,
                "attention_window_size": 8,
                "block_types": ["recurrent", "attention"],
            },
        ),
        rwkv=(
            "RwkvForCausalLM",
            {**_WORDS, "hidden_size": 32, "attention_hidden_size": 32, "num_hidden_layers": 2},
        ),
    ),
    **_rows(
        "vision",
        given.image_classes,
        vit=("ViTForImageClassification", _VIT),
        deit=("DeiTForImageClassification", _VIT),
        beit=("BeitForImageClassification", _VIT),
        dinov2=("Dinov2ForImageClassification", {**_DEEP, "image_size": IMAGE, "patch_size": PATCH}),
        swin=(
            "SwinForImageClassification",
            {
                "image_size": IMAGE,
                "patch_size": 4,
                "embed_dim": 16,
                "depths": [2, 1],
                "num_heads": [2, 2],
                "window_size": 4,
            },
        ),
        convnext=("ConvNextForImageClassification", {**_STAGES, "num_stages": 2}),
        resnet=("ResNetForImageClassification", {**_STAGES, "embedding_size": 16}),
        regnet=("RegNetForImageClassification", {**_STAGES, "embedding_size": 16, "groups_width": 8}),
        mobilenet_v2=("MobileNetV2ForImageClassification", {"image_size": IMAGE, "depth_multiplier": 0.25}),
        mobilevit=(
            "MobileViTForImageClassification",
            {
                "image_size": IMAGE,
                "hidden_sizes": [16, 16, 16],
                "neck_hidden_sizes": [8, 8, 8, 8, 8, 8, 16],
                "num_attention_heads": 2,
            },
        ),
        poolformer=(
            "PoolFormerForImageClassification",
            {**_STAGES, "num_encoder_blocks": 2, "patch_sizes": [7, 3], "strides": [4, 2], "padding": [2, 1]},
        ),
    ),
    **_rows(
        "vision",
        given.image_segments,
        segformer=(
            "SegformerForSemanticSegmentation",
            {
                **_STAGES,
                "num_encoder_blocks": 2,
                "sr_ratios": [2, 1],
                "patch_sizes": [7, 3],
                "strides": [4, 2],
                "num_attention_heads": [1, 2],
                "mlp_ratios": [2, 2],
                "decoder_hidden_size": 16,
            },
        ),
    ),
    **_rows(
        "vision and text", given.image_and_text, clip=("CLIPModel", _PAIR), siglip=("SiglipModel", _PAIR)
    ),
    **_rows(
        "audio",
        given.wave,
        wav2vec2=("Wav2Vec2ForCTC", _SOUND),
        hubert=("HubertForCTC", _SOUND),
        wavlm=("WavLMForCTC", _SOUND),
        sew=("SEWForCTC", {**_SOUND, "squeeze_factor": 1}),
    ),
    **_rows(
        "audio",
        given.spectrogram,
        audio_spectrogram_transformer=(
            "ASTForAudioClassification",
            {
                **_BODY,
                "patch_size": PATCH,
                "frequency_stride": PATCH,
                "time_stride": PATCH,
                "max_length": FRAMES,
                "num_mel_bins": MELS,
            },
        ),
    ),
    **_rows(
        "audio",
        given.speech,
        whisper=(
            "WhisperForConditionalGeneration",
            {
                **_TRANSLATE,
                "num_mel_bins": MELS,
                "max_source_positions": FRAMES // 2,
                "max_target_positions": 16,
            },
        ),
    ),
    **_rows(
        "audio",
        given.speech_frames,
        speech_to_text=(
            "Speech2TextForConditionalGeneration",
            {
                **_TRANSLATE,
                "input_feat_per_channel": MELS,
                "conv_channels": 32,
                "max_source_positions": FRAMES,
            },
        ),
    ),
    **_rows(
        "time series",
        given.series,
        patchtst=(
            "PatchTSTForPrediction",
            {
                "num_input_channels": 2,
                "context_length": 32,
                "prediction_length": 4,
                "patch_length": 8,
                "patch_stride": 8,
                "d_model": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "ffn_dim": 48,
            },
        ),
    ),
}
