"""Tunes the sentence embedding to examples: low-rank changes of MiniLM's dense layers (LoRA, Hu et al. 2021), learnt
together with a linear head on its vectors. Needs the embedding's package.

The same examples give the same changes on the same machine; about ten minutes for 5,000 questions on two cores.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from agents.embedding import SIZE, model_files, tokenizer

RANK = 8
EPOCHS, BATCH = 7, 32
RATE, RATE_OF_HEAD, WARM_UP = 2e-3, 3e-3, 0.06  # of AdamW; the rate rises over the warm-up and then falls to zero
DROPOUT, HIDDEN_WORDS, WEIGHT_DECAY = 0.1, 0.1, 0.01
_MASK = "[MASK]"


@dataclass(frozen=True)
class Tuned:
    """``changes``: of each dense layer, by its name in the model, (RANK, inputs) and (outputs, RANK), whose product is
    added to its weights; ``head``: (SIZE, targets) and ``bias``: (targets,), the log odds of a vector."""

    changes: Mapping[str, tuple[np.ndarray, np.ndarray]]
    head: np.ndarray
    bias: np.ndarray


def tune(
    texts: Sequence[str],
    target: np.ndarray,
    counts: np.ndarray,
    seed: int = 0,
    epochs: int = EPOCHS,
    tell: Callable[[str], None] = lambda line: None,
) -> Tuned:
    """Learn from ``texts`` with their targets, 0 or 1, where ``counts`` is 1; both (texts, targets)."""
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
    from transformers import BertModel

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    bert = BertModel.from_pretrained(model_files(), add_pooling_layer=False, hidden_dropout_prob=DROPOUT)
    layers = ["query", "key", "value", "dense"]
    bert = get_peft_model(bert, LoraConfig(r=RANK, lora_alpha=RANK, target_modules=layers))
    head = torch.nn.Linear(SIZE, target.shape[1])
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.constant_(head.bias, -2.0)  # few types are needed
    changed = [parameter for parameter in bert.parameters() if parameter.requires_grad]
    rates = [{"params": changed, "lr": RATE}, {"params": head.parameters(), "lr": RATE_OF_HEAD}]
    optimizer = torch.optim.AdamW(rates, weight_decay=WEIGHT_DECAY)
    words = [tokenizer().encode(text).ids for text in texts]
    mask = tokenizer().token_to_id(_MASK)
    target, counts = torch.tensor(target, dtype=torch.float32), torch.tensor(counts, dtype=torch.float32)
    steps = epochs * -(-len(words) // BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step / steps))
    bert.train()
    for epoch in range(epochs):
        total = 0.0
        for rows in _batches(words, rng):
            hidden = [
                [mask if 0 < i < len(words[row]) - 1 and rng.random() < HIDDEN_WORDS else word
                 for i, word in enumerate(words[row])]
                for row in rows
            ]  # fmt: skip
            z = head(torch.nn.functional.dropout(_vectors(bert, hidden), DROPOUT))
            loss = (counts[rows] * binary_cross_entropy_with_logits(z, target[rows], reduction="none")).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_([*changed, *head.parameters()], 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item() * len(rows)
        tell(f"epoch {epoch + 1} of {epochs}: loss {total / len(words):.3f}")
    return Tuned(_changes(get_peft_model_state_dict(bert)), _array(head.weight).T, _array(head.bias))


def _rate(part: float) -> float:
    return min(1.0, part / WARM_UP) * max(0.0, 1.0 - part)


def _batches(words: Sequence[Sequence[int]], rng: np.random.Generator) -> list[list[int]]:
    """Texts of like length together, in another order each time."""
    length = np.array([len(one) for one in words]) + rng.random(len(words)) * 6
    order = np.argsort(length, kind="stable").tolist()
    batches = [order[k : k + BATCH] for k in range(0, len(order), BATCH)]
    return [batches[i] for i in rng.permutation(len(batches))]


def _vectors(bert: torch.nn.Module, words: Sequence[Sequence[int]]) -> torch.Tensor:
    """(texts, SIZE), as ``Embedding`` makes them."""
    tokens = torch.nn.utils.rnn.pad_sequence([torch.tensor(one) for one in words], batch_first=True)
    there = torch.nn.utils.rnn.pad_sequence([torch.ones(len(one)) for one in words], batch_first=True)
    out = bert(input_ids=tokens, attention_mask=there).last_hidden_state
    return (out * there[:, :, None]).sum(1) / there.sum(1, keepdim=True)


def _changes(state: Mapping[str, torch.Tensor]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    found = {}
    for name, down in state.items():
        if name.endswith(".lora_A.weight"):
            up = state[name.replace("lora_A", "lora_B")]
            found[name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")] = (_array(down), _array(up))
    return found


def _array(value: torch.Tensor) -> np.ndarray:
    return value.detach().cpu().numpy()
