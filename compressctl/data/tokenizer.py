"""The tokenizer of a model, as Hugging Face's `tokenizers` saves it, and what the files beside it say of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compressctl.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

TOKENIZER = "tokenizer.json"
_UNBOUNDED = 10**6  # transformers writes 10^30 for a tokenizer without a limit
_PADS = ("[PAD]", "<pad>", "<|pad|>", "<|padding|>", "<|endoftext|>", "</s>")
_ENDS = ("<|endoftext|>", "</s>", "<|end_of_text|>", "<eos>", "<|im_end|>", "[SEP]")


@dataclass(frozen=True)
class TextModel:
    """The files beside a model that say how it reads texts.

    Attributes:
        file: the tokenizer.
        tokenizer: tokenizer_config.json, or nothing.
        config: config.json, or nothing.
    """

    file: Path
    tokenizer: Mapping[str, Any]
    config: Mapping[str, Any]

    @property
    def classes(self) -> dict[str, int]:
        """The indices of classes by their names, as the configuration has them."""
        found = self.config.get("label2id")
        return {str(name): int(index) for name, index in found.items()} if isinstance(found, dict) else {}

    @property
    def embeds(self) -> bool:
        """Whether the configuration says that the model has no head, so that it embeds texts."""
        kinds = self.config.get("architectures") or ()
        return bool(kinds) and all(str(kind).endswith("Model") for kind in kinds)


def folders(beside: Path | None, data: Path) -> list[Path]:
    """Return the folders that are searched for a tokenizer: the model's, that above `onnx/`, and that of the data."""
    found = [] if beside is None else [beside if beside.is_dir() else beside.parent]
    found += [folder.absolute().parent for folder in found if folder.absolute().name == "onnx"]
    return [*found, data.parent]


def find_tokenizer(named: str | None, where: Sequence[Path]) -> Path:
    """Return the file of a tokenizer: the one that is named, by itself or its folder, or the first that is found.

    Raises:
        DataError: there is none.
    """
    if named is not None:
        path = Path(named)
        path = path / TOKENIZER if path.is_dir() else path
        if not path.is_file():
            raise DataError(f"there is no tokenizer {path}", "tokenizer= takes the tokenizer.json of the model")
        return path
    found = next((folder / TOKENIZER for folder in where if (folder / TOKENIZER).is_file()), None)
    if found is None:
        places = " and ".join(dict.fromkeys(str(folder) for folder in where))
        raise DataError(
            f"texts need the model's tokenizer, and there is no {TOKENIZER} in {places}", "add tokenizer=FILE"
        )
    return found


def text_model(file: Path, where: Sequence[Path]) -> TextModel:
    """Return what the folder of a tokenizer, and then those of the model and the data, say.

    Raises:
        DataError: a file there is damaged.
    """
    every = [file.parent, *where]
    return TextModel(file, _settings("tokenizer_config.json", every), _settings("config.json", every))


def settings_files(file: Path, where: Sequence[Path]) -> list[Path]:
    """Return the files that `text_model` reads, the tokenizer first."""
    found = [_first(name, [file.parent, *where]) for name in ("tokenizer_config.json", "config.json")]
    return [file, *(path for path in found if path is not None)]


class TextEncoder:
    """Texts to token ids.

    Args:
        model: its files.
        longest: the most tokens that the model's inputs take; None: any number.
        asked: the most tokens that the user wants of a text; None: as many as the files say.

    Attributes:
        longest: the most tokens of a text, special ones among them; None: any number.
        pad_id: what texts are filled up with.
        pad_left: whether they are filled up in front.
        padded_to: the length to which the tokenizer fills all texts up, if it does.

    Raises:
        MissingExtraError: tokenizers is not installed.
        DataError: the file is no tokenizer.
    """

    def __init__(self, model: TextModel, longest: int | None, asked: int | None) -> None:
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise MissingExtraError("a table of texts", "text") from error
        try:
            self._tokenizer: Tokenizer = Tokenizer.from_file(str(model.file))
        except Exception as error:  # the library raises bare Exceptions
            reason = " ".join(str(error).split())
            raise DataError(f"{model.file} is no tokenizer: {reason}", "a tokenizer.json is wanted") from error
        self._model = model
        own_truncation, own_padding = self._tokenizer.truncation or {}, self._tokenizer.padding or {}
        limits = (
            *(own_truncation.get("max_length"), model.tokenizer.get("model_max_length")),
            *(model.config.get("max_position_embeddings"), longest),
        )
        said = [int(limit) for limit in limits if isinstance(limit, int | float) and 0 < limit < _UNBOUNDED]
        if asked is not None:
            said = [asked, *([longest] if longest is not None else [])]
        self.longest = min(said, default=None)
        self.pad_id = self._id(own_padding.get("pad_id"), "pad_token", _PADS) or 0
        side = own_padding.get("direction", model.tokenizer.get("padding_side", "right"))
        self.pad_left = side == "left"
        length = own_padding.get("length")
        self.padded_to = (
            int(length) if length is not None and (self.longest is None or length <= self.longest) else None
        )
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.added = self._tokenizer.num_special_tokens_to_add(False), self._tokenizer.num_special_tokens_to_add(True)
        if self.longest is not None:
            if self.longest <= max(self.added):
                raise DataError(f"{model.file} adds {max(self.added)} tokens to texts, so {self.longest} are too few")
            self._tokenizer.enable_truncation(
                self.longest,
                strategy=own_truncation.get("strategy", "longest_first").lower(),
                direction=own_truncation.get("direction", "right").lower(),
            )

    @property
    def end(self) -> int | None:
        """The id of the token that ends a document; None: there is none."""
        return self._id(self._model.config.get("eos_token_id"), "eos_token", _ENDS)

    @property
    def begin(self) -> list[int]:
        """The id of a token that is put before a text, where that is all that is added to one."""
        added = list(self._tokenizer.encode("").ids)
        return added if len(added) == 1 and added[0] != self.end else []

    def encode(self, texts: Sequence[str | tuple[str, ...]]) -> list[Encoding]:
        """Return the tokens of texts, or of pairs of texts that make one sequence each.

        Where a text was cut, its encoding has `overflowing` ones.
        """
        return self._tokenizer.encode_batch_fast(list(texts))

    def plain(self, text: str) -> list[int]:
        """Return the tokens of a text of any length, and no special ones."""
        self._tokenizer.no_truncation()
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def token(self, index: int) -> str:
        """Return the token of an id, in quotes."""
        return repr(self._tokenizer.id_to_token(index))

    def _id(self, said: object, key: str, usual: Sequence[str]) -> int | None:
        if isinstance(said, list) and said:
            said = said[0]
        if isinstance(said, int):
            return said
        named = self._model.tokenizer.get(key)
        named = named.get("content") if isinstance(named, dict) else named
        for name in ([named] if isinstance(named, str) else []) + list(usual):
            if (found := self._tokenizer.token_to_id(name)) is not None:
                return int(found)
        return None


def _first(name: str, where: Sequence[Path]) -> Path | None:
    return next((folder / name for folder in where if (folder / name).is_file()), None)


def _settings(name: str, where: Sequence[Path]) -> dict[str, Any]:
    path = _first(name, where)
    if path is None:
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise DataError(f"{path} is no JSON object")
    return found
