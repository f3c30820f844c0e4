"""Embeds texts by llama.cpp's C interface alone: what test_embedder_gguf.py runs in the tools tree.

    embed_texts.py GGUF < texts.json > [{"tokens": ..., "vector": ...}, ...]

Not for: how the worker does it (agentd/model/embedder.py).
"""

import json
import sys

from llama_cpp import llama_cpp as c

PIECES = 254  # and [CLS] and [SEP]: what sentence-transformers lets through
CONTEXT = 512


def main(gguf: str) -> None:
    """Print the number of tokens and the unit vector of each text."""
    c.llama_backend_init()
    model = c.llama_model_load_from_file(gguf.encode(), c.llama_model_default_params())
    vocabulary = c.llama_model_get_vocab(model)
    options = c.llama_context_default_params()
    options.n_ctx = options.n_batch = options.n_ubatch = CONTEXT
    options.embeddings = True
    context = c.llama_init_from_model(model, options)
    first, last = c.llama_vocab_bos(vocabulary), c.llama_vocab_sep(vocabulary)
    told = []
    for text in json.load(sys.stdin):
        raw = text.encode()
        room = (c.llama_token * (len(raw) + 8))()
        count = c.llama_tokenize(vocabulary, raw, len(raw), room, len(room), False, False)
        tokens = [first, *room[: min(count, PIECES)], last]
        array = (c.llama_token * len(tokens))(*tokens)  # the batch holds only a pointer to it
        assert c.llama_encode(context, c.llama_batch_get_one(array, len(tokens))) == 0
        vector = c.llama_get_embeddings_seq(context, 0)[: c.llama_model_n_embd(model)]
        length = sum(x * x for x in vector) ** 0.5
        told.append({"tokens": len(tokens), "vector": [x / length for x in vector]})
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
