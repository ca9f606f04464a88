"""A method's trained policies, loaded and asked for responses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lightning_moa.data.batching import prompt_batch
from lightning_moa.data.configs import CONFIGS, DataConfig
from lightning_moa.data.encoding import Encoded, EncodingRules, encode
from lightning_moa.deployments import Deployed
from lightning_moa.errors import UserError, warn
from lightning_moa.inference.found import chosen
from lightning_moa.inference.preferences import as_preference
from lightning_moa.inference.sources import Source, Tracked, class_of, deployment_of, of_folder, of_study
from lightning_moa.inference.watching import watching
from lightning_moa.policies import Policy, generate
from lightning_moa.runs.loading import load_base
from lightning_moa.runs.measuring import EVALUATION, check_deployed
from lightning_moa.task_files import SIDECAR


def load(
    folder: str | Path,
    method: str | None = None,
    *,
    seed: int | None = None,
    runs: str | Path | None = None,
    own: Sequence[type] = (),
    device: str | None = None,
) -> Loaded:
    """What a study has trained, on its base model.

    Args:
        folder: the study's results; or one of its policies, `runs/<run>/policy`.
        method: which of the study's; None: the only one.
        seed: None: its first.
        runs: the folder of the study's runs; None: where its run.yaml says.
        own: classes from outside of this package that the method is made of: what a folder names is never imported by
            its own word.
        device: `cpu` or `cuda`; None: a GPU where there is one.

    Raises:
        UserError: nothing there, several that it could be, runs that are not on this machine, or a class from outside
            that `own` does not hold.
    """
    if (Path(folder) / SIDECAR).is_file():
        return Loaded(of_folder(Path(folder)), own, device)
    return Loaded(of_study(chosen(folder, method, seed, runs)), own, device)


def noise_of(sample_seed: int) -> int:
    """The seed that responses are drawn with where `evaluation.sample_seed` is this: apart from those of trainings.

    Raises:
        UserError: below 0.
    """
    if sample_seed < 0:
        raise UserError(f"sample seed {sample_seed}: allowed are whole numbers of at least 0")
    return EVALUATION + sample_seed


@dataclass(frozen=True)
class Opened:
    """A policy that is ready to be asked."""

    deployed: Deployed
    preference: torch.Tensor | None
    """(m,) float64 that it is given: the one asked for, or its own that lies nearest; None: it knows none."""
    distance: float = 0.0
    """Between both, Euclidean."""

    @property
    def policy(self) -> Policy:
        return self.deployed.policy


class Loaded:
    """A method's trained policies on their base, of which one at a time is in the model.

    Args:
        source: what is loaded.
        own, device: as for `load`.
    """

    def __init__(self, source: Source, own: Sequence[type], device: str | None) -> None:
        self.source = source
        self.spec = source.spec
        self.objectives: tuple[str, ...] = tuple(source.spec["objectives"])
        self._deployment = deployment_of(source, own)
        class_of(source.spec["policy"], own, Policy)
        hardware = {**source.spec["hardware"], "accelerator": accelerator_of(device)}
        self.base, self.tokenizer = load_base(source.inputs["base"], hardware)
        self._opened: Deployed | None = None
        self._is_the_only_one = False
        """Of its deployment: where there are others, another may be nearer to the next preference."""
        self._tracked: Tracked | None = None

    @property
    def decoding(self) -> dict[str, Any]:
        """How the study sampled: `max_new_tokens`, `temperature`, `top_p` and `seed`.

        With its noise the prompts that it measured, in their order, get the responses that it measured."""
        data, said = self.spec["data"], self.spec.get("evaluation", {})
        longest = said.get("max_new_tokens", data["max_response_length"])
        return {
            "max_new_tokens": longest,
            "temperature": said.get("temperature", 1.0),
            "top_p": said.get("top_p", 1.0),
            "seed": noise_of(said.get("sample_seed", 0)),
        }

    def generate(
        self,
        prompts: Sequence[str] | str,
        preference: Any = None,
        *,
        policy: str | None = None,
        batch_size: int = 32,
        **decoding: Any,
    ) -> list[str]:
        """A response to each prompt.

        Args:
            prompts: as a user writes them; the study's template is put around them.
            preference: objective to weight, or m weights in the objectives' order (list, array or tensor), on the
                simplex. A method whose policies are trained for one preference each answers with the nearest.
            policy: which of the method's, by name, where it has several that know no preference (`head 0`).
            batch_size: prompts answered at a time.
            decoding: instead of `self.decoding`'s.

        Raises:
            UserError: as for `open`; a prompt that does not fit; or decoding out of range.
        """
        opened = self.open(preference, policy)
        texts = [prompts] if isinstance(prompts, str) else list(prompts)
        return self.answer(opened, texts, batch_size, **decoding)

    @torch.no_grad()
    def answer(
        self,
        opened: Opened,
        prompts: Sequence[str],
        batch_size: int = 32,
        *,
        watch: Callable[[list[str]], None] | None = None,
        **decoding: Any,
    ) -> list[str]:
        """Responses of what `open` gave, until something else is opened.

        Args:
            watch: is told a batch's responses so far, at each token; what it raises ends the sampling.
        """
        unknown = set(decoding) - set(self.decoding)
        if unknown:
            raise UserError(f"{sorted(unknown)[0]}: decoding knows {', '.join(self.decoding)}")
        settings = {**self.decoding, **{key: value for key, value in decoding.items() if value is not None}}
        if batch_size < 1:
            raise UserError(f"batch_size={batch_size}: must be at least 1")
        encoded = self._encoded(opened, prompts, settings["max_new_tokens"])
        for what, count in encoded.changed.items():
            warn(f"{what}: {count} of {len(prompts)}")
        model = opened.policy.model
        found: list[str] = []
        for start in range(0, len(prompts), batch_size):
            rows = np.arange(start, min(start + batch_size, len(prompts)))
            batch = prompt_batch(encoded, rows, int(self.tokenizer.pad_token_id))
            preference = (
                None if opened.preference is None else opened.preference.float().expand(len(rows), -1)
            )
            with nullcontext() if watch is None else watching(opened.policy, self._told(watch)):
                sampled = generate(
                    opened.policy,
                    batch.input_ids.to(model.device),
                    batch.attention_mask.to(model.device),
                    preference=preference,
                    row_keys=batch.index,
                    room=batch.room,
                    **settings,
                )
            kept = [
                tokens[mask] for tokens, mask in zip(sampled.tokens.cpu(), sampled.mask.cpu(), strict=True)
            ]
            found += self.tokenizer.batch_decode(kept, skip_special_tokens=True)
        return found

    def shown(self, opened: Opened, prompt: str) -> str:
        """As much of a prompt as its answer's policy is given: of what is too long, the end."""
        return self._encoded(opened, [prompt], self.decoding["max_new_tokens"]).shown[0]

    def _encoded(self, opened: Opened, prompts: Sequence[str], max_new_tokens: int) -> Encoded:
        for number, prompt in enumerate(prompts, 1):
            if not prompt.isascii() and prompt.encode(errors="ignore") != prompt.encode(errors="replace"):
                raise UserError(
                    f"prompt {number}: holds half a character (a lone surrogate), which is no text"
                )
        rewrite = opened.deployed.rewrite
        rewritten = None if rewrite is None else lambda _, prompt: rewrite(prompt)
        encoded = encode(self.tokenizer, list(prompts), None, self._rules(max_new_tokens), rewritten)
        if len(encoded) < len(prompts):
            place = next(i for i in range(len(prompts)) if i not in set(encoded.index.tolist()))
            raise UserError(
                f"prompt {place + 1}: {next(iter(encoded.dropped))}; allowed is one that fits data.max_length"
            )
        return encoded

    def _told(self, watch: Callable[[list[str]], None]) -> Callable[[torch.Tensor], None]:
        def tell(tokens: torch.Tensor) -> None:
            watch(self.tokenizer.batch_decode(tokens.cpu(), skip_special_tokens=True))

        return tell

    def open(self, preference: Any = None, policy: str | None = None) -> Opened:
        """The policy that serves a preference, loaded; the one before it is put away.

        Args:
            preference, policy: as for `generate`.

        Raises:
            UserError: a preference that is none, one that is missing, or policies that it cannot choose among.
        """
        asked = None if preference is None else torch.from_numpy(as_preference(preference, self.objectives))
        if asked is not None and self._takes_any(policy):
            assert self._opened is not None
            return Opened(self._opened, asked)
        offers = [_offer(deployed, asked) for deployed in self._deployed(asked)]
        name = _choose(offers, asked, policy)
        for deployed in self._deployed(asked):
            if deployed.name == name:
                self._opened, self._is_the_only_one = deployed, len(offers) == 1
                return _offer(deployed, asked)
        raise UserError(f"{name}: its deployment gives other policies each time")

    def close(self) -> None:
        """Take the policy that is loaded out of the base again."""
        self._opened = None
        if self._tracked is not None:
            self._tracked.put_away()

    def _takes_any(self, policy: str | None) -> bool:
        """Whether what is open takes any preference, in its network and not in the prompt."""
        opened = self._opened
        if (
            opened is None
            or not self._is_the_only_one
            or opened.rewrite is not None
            or policy not in (None, opened.name)
        ):
            return False
        return bool(opened.policy.m)

    def _deployed(self, asked: torch.Tensor | None) -> Iterator[Deployed]:
        """Every policy at its end of training, one at a time in the model."""
        self.close()
        spec, deployment = dict(self.spec), self._deployment
        if asked is not None:
            spec["grid"] = [asked.tolist()]
            deployment = deployment.asked(spec["grid"])
        self._tracked = Tracked(
            spec, self.source.inputs, self.objectives, self.tokenizer, self.base, type(deployment).sections
        )
        for deployed in deployment.policies(self._tracked):
            check_deployed(deployed, len(self.objectives), type(deployment).__name__)
            if deployed.step is None:
                yield deployed

    def _rules(self, max_new_tokens: int) -> EncodingRules:
        """The template of the prompts that were measured on, and the room that was left for a response; for one of such
        a length, where that is longer than what was measured."""
        data = self.spec.get("prompts") or self.spec["data"]
        if max_new_tokens >= data["max_length"]:
            raise UserError(
                f"max_new_tokens={max_new_tokens}: must be below {data['max_length']}, the most tokens that a prompt "
                "and its response may have (data.max_length)"
            )
        kind = CONFIGS.get(data["name"], DataConfig)
        config = kind(**{each.name: data[each.name] for each in fields(kind) if each.name in data})
        rules = EncodingRules.of(config)
        known = max_new_tokens <= self.decoding["max_new_tokens"]
        return rules if known else replace(rules, response_room=max_new_tokens)


def _offer(deployed: Deployed, asked: torch.Tensor | None) -> Opened:
    """A policy at that of its preferences that lies nearest to the one asked for."""
    rows = deployed.preferences
    if rows is None:
        return Opened(deployed, None)
    rows = rows.to(torch.float64)
    if asked is None:
        return Opened(deployed, rows[0])
    distances = (rows - asked).norm(dim=-1)
    place = int(distances.argmin())
    return Opened(deployed, rows[place], float(distances[place]))


def _choose(offers: Sequence[Opened], asked: torch.Tensor | None, policy: str | None) -> str:
    """The name of what serves the preference."""
    names = [each.deployed.name for each in offers]
    if policy is not None:
        if policy not in names:
            raise UserError(f"policy {policy!r}: there is none of that name; there are {', '.join(names)}")
        names = [policy]
    mine = [each for each in offers if each.deployed.name in names]
    steered = [each for each in mine if each.preference is not None]
    if asked is not None and steered:
        return min(steered, key=lambda each: each.distance).deployed.name
    if len(mine) != 1:
        raise UserError(
            f"several policies{'' if asked is None else ', none of which knows a preference'}: "
            f"{', '.join(names)}; choose one by its name (--policy){' or by a preference' if steered else ''}"
        )
    rows = mine[0].deployed.preferences
    if asked is None and rows is not None and len(rows) > 1:
        raise UserError("a preference is needed (--preference): this policy serves all of them")
    return mine[0].deployed.name


def accelerator_of(device: str | None) -> str:
    """Lightning's name for `cpu`, `cuda`, or, for None, a GPU where there is one.

    Raises:
        UserError: another device, or a GPU where there is none.
    """
    if device not in (None, "cpu", "cuda"):
        raise UserError(f"device={device}: allowed are cpu, cuda")
    there = torch.cuda.is_available()
    if device == "cuda" and not there:
        raise UserError("device=cuda: there is no GPU here")
    return "gpu" if there and device != "cpu" else "cpu"
