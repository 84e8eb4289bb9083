"""Trains a small BERT on the CSV files of the channel `training`, with columns `label` and `text`.

Vocabulary and model are made here, so nothing is downloaded. To fine-tune a model of yours, put it
into a channel and call `from_pretrained` with its directory.
"""

import argparse
import csv
import os
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def read_rows(channel):
    rows = []
    for path in sorted(channel.glob("*.csv")):
        with path.open(newline="") as file:
            rows += csv.DictReader(file)
    return rows


def make_tokenizer(texts):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106 - not a password
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(texts, trainers.WordPieceTrainer(special_tokens=SPECIAL))
    ends = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, ends)
    names = dict(zip(("pad", "unk", "cls", "sep", "mask"), SPECIAL, strict=True))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **{f"{name}_token": text for name, text in names.items()}
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=0.001)
    options, others = parser.parse_known_args()
    if others:  # the SDKs may add --model_dir
        print("ignored:", *others, flush=True)

    torch.manual_seed(0)
    rows = read_rows(Path(os.environ["SM_CHANNEL_TRAINING"]))
    names = sorted({row["label"] for row in rows})
    tokenizer = make_tokenizer(row["text"] for row in rows)
    encoded = tokenizer([row["text"] for row in rows], padding=True, return_tensors="pt")
    labels = torch.tensor([names.index(row["label"]) for row in rows])

    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        id2label=dict(enumerate(names)),
        label2id={name: number for number, name in enumerate(names)},
    )
    model = BertForSequenceClassification(config)
    optimizer = torch.optim.AdamW(model.parameters(), options.learning_rate)
    order = torch.randperm(len(rows))
    held_out, training = order[: len(rows) // 5], order[len(rows) // 5 :]
    for epoch in range(1, options.epochs + 1):
        model.train()
        for batch in training[torch.randperm(len(training))].split(options.batch_size):
            inputs = {name: values[batch] for name, values in encoded.items()}
            loss = model(**inputs, labels=labels[batch]).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.inference_mode():
            scores = model(**{name: values[held_out] for name, values in encoded.items()}).logits
        accuracy = (scores.argmax(dim=1) == labels[held_out]).float().mean()
        print(
            f"epoch={epoch}; train_loss={loss:.4f}; validation_accuracy={accuracy:.4f};",
            flush=True,
        )
    for part in (model, tokenizer):
        part.save_pretrained(os.environ["SM_MODEL_DIR"])


if __name__ == "__main__":
    main()
