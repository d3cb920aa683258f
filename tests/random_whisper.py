"""A tiny random Whisper in the hub's layout, with a tokenizer of its own; what it says means nothing."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from tests.random_owsm import SENTENCES

WINDOW_S = 4
MELS, WIDTH, HEADS, LAYERS = 16, 32, 4, 2
POSITIONS = 64  # of the decoder
CODES = ("en", "nl", "de")


def write_tokenizer(path: Path) -> dict[str, int]:
    """Write tokenizer.json; return the ids of its controls, and the size with times as `vocabulary`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=256 + 60, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    names = ["endoftext", "startoftranscript", *CODES, "translate", "transcribe", "startoflm"]
    names += ["startofprev", "nospeech", "notimestamps"]
    tokenizer.add_special_tokens([f"<|{name}|>" for name in names])
    tokenizer.save(str(path))
    ids = {name: int(tokenizer.token_to_id(f"<|{name}|>")) for name in names}
    return {**ids, "vocabulary": ids["notimestamps"] + 1 + round(WINDOW_S / 0.02) + 1}


def write_random_whisper(folder: Path, *, multilingual: bool = True, seed: int = 1) -> Path:
    """Write a checkpoint and return its folder. Its weights are large, so that tokens vary."""
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    folder.mkdir(parents=True)
    ids = write_tokenizer(folder / "tokenizer.json")
    frames = WINDOW_S * 100
    config = WhisperConfig(
        vocab_size=ids["vocabulary"], num_mel_bins=MELS, d_model=WIDTH,
        encoder_layers=LAYERS, decoder_layers=LAYERS, encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS, encoder_ffn_dim=4 * WIDTH, decoder_ffn_dim=4 * WIDTH,
        max_source_positions=frames // 2, max_target_positions=POSITIONS, init_std=0.3,
        bos_token_id=ids["endoftext"], eos_token_id=ids["endoftext"], pad_token_id=ids["endoftext"],
        decoder_start_token_id=ids["startoftranscript"], suppress_tokens=None, begin_suppress_tokens=None,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = WhisperForConditionalGeneration(config)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if name.endswith("bias"):  # 0 otherwise, where nothing would show that it is used
                    parameter.normal_(std=0.1)
    generation = {
        "alignment_heads": [[1, 0], [1, 2]],
        "begin_suppress_tokens": [220, ids["endoftext"]],
        "suppress_tokens": [3, 4, ids["startoftranscript"], ids["startofprev"], ids["nospeech"]],
        "bos_token_id": ids["endoftext"], "eos_token_id": ids["endoftext"], "pad_token_id": ids["endoftext"],
        "decoder_start_token_id": ids["startoftranscript"], "prev_sot_token_id": ids["startofprev"],
        "no_timestamps_token_id": ids["notimestamps"], "is_multilingual": multilingual,
        "max_initial_timestamp_index": 50, "max_length": POSITIONS, "return_timestamps": False,
    }  # fmt: skip
    if multilingual:
        generation["lang_to_id"] = {f"<|{code}|>": ids[code] for code in CODES}
        generation["task_to_id"] = {name: ids[name] for name in ("transcribe", "translate")}
    features = {"feature_size": MELS, "n_fft": 400, "hop_length": 160, "chunk_length": WINDOW_S}
    features |= {"sampling_rate": 16_000, "feature_extractor_type": "WhisperFeatureExtractor"}
    network.save_pretrained(folder)
    (folder / "generation_config.json").write_text(json.dumps(generation))
    (folder / "preprocessor_config.json").write_text(json.dumps(features))
    return folder
