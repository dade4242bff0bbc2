"""Parses texts: objects, attributes, actions, proper nouns, noun phrases, complexity.

In: texts. Out: their parses. Paper sections 4.2 and 5.2: spaCy's part-of-speech tags and dependency
tree, read with simple rules. The paper does not print its rules. We read it this way:

- An object is a NOUN that does not modify another noun. A proper noun is a PROPN and is counted on
  its own.
- An attribute is an ADJ that does not stand for a noun, a NUM, a singular NOUN that modifies
  another one ("brick" in "brick wall"), or a VERB that only modifies a noun ("mirrored walls").
- An action is any other VERB except "be".
- The complexity of a token is its degree in the undirected dependency tree: the number of its
  children, plus one if it has a head. A text without an action has an action complexity of 0.
- Tokens are counted without punctuation and white space.

Means over the 200 captions of 40 COCO photos, beside the paper's brief texts (Table 3). The other
columns are other readings: (a) every NOUN is an object; (b) a DET is an attribute, too;
(c) adverbs, possessives and the prepositions of nouns are attributes, too.

    per text            paper   ours    (a)    (b)    (c)
    tokens               7.95  10.82  10.82  10.82  10.82
    objects              3.23   3.26   3.74   3.26   3.26
    attributes           2.80   1.43   0.96   3.61   2.75
    actions              0.58   0.88   0.88   0.88   0.88
    proper nouns         1.10   0.04   0.04   0.04   0.04
    object complexity    2.80   2.70   2.52   2.70   2.70
    action complexity    1.14   2.30   2.30   2.30   2.30

The rule for nouns that modify nouns brings objects and their complexity to the paper's values. Its
number of attributes is reached only with words such as "on" or "the". These say nothing about an
object, so we leave them out. Proper nouns and actions depend on the texts: COCO's annotators name
no places and write sentences, while part of the paper's texts come from the web.

We judged 50 noun phrases of these captions by eye: all had the right ends, and 46 named a thing in
the picture.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, ClassVar, Literal

from pipeline.schema import Annotations, NounPhrase, Parse, Text
from stages.base import Batch, Result, Sample
from stages.filters.parser_model import COPY, package_of

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc, Token

# The rules do not need these; without them spaCy is more than twice as fast.
UNUSED_PIPES = ("ner", "lemmatizer", "senter")
# Dependencies of a noun that modifies a noun.
MODIFIERS = ("compound", "nmod")
COPULAS = ("is", "are", "was", "were", "be", "been", "being")
# Dependencies in which an adjective stands for a noun, as in "each other".
NOUN_PLACES = ("pobj", "dobj", "nsubj", "nsubjpass")

Role = Literal["object", "attribute", "action", "proper"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParseConfig:
    model: str = COPY
    """An installed spaCy package. With the default, the official `en_core_web_sm` is taken where it
    is installed: it holds the same model. The files of both are checked before they are loaded."""

    texts_per_batch: int = 256
    """Texts that spaCy parses at once."""


@cache
def load(model: str) -> Language:
    """spaCy with the pipes that the rules need; a process loads it once for all its stages.

    Raises:
        ValueError: the model is not installed, or one of its files was changed.
    """
    import spacy

    nlp = spacy.load(package_of(model), exclude=UNUSED_PIPES)
    # The model lives as long as the process, so the garbage collector need not visit it again.
    gc.collect()
    gc.freeze()
    return nlp


def degree(token: Token) -> int:
    """The number of the token's edges in the undirected dependency tree; the root has no head."""
    has_head = token.head.i != token.i
    return token.n_lefts + token.n_rights + int(has_head)


def role(token: Token, pos: str) -> Role | None:
    """The role of a token with the part of speech `pos` in its text; None if it has none."""
    if pos == "NOUN":
        return _noun_role(token)
    if pos == "VERB":
        if token.dep_ == "amod":
            return "attribute"
        return None if token.lower_ in COPULAS else "action"
    if pos == "ADJ":
        return None if token.dep_ in NOUN_PLACES else "attribute"
    if pos == "X":
        # spaCy takes some rare adjectives for foreign words.
        return "attribute" if token.dep_ == "amod" else None
    if pos == "NUM":
        return "attribute"
    return "proper" if pos == "PROPN" else None


def _noun_role(token: Token) -> Role:
    if is_misread_verb(token):
        return "action"
    # Only a singular noun counts as a modifier: plurals seldom modify, and in "two dogs chase a
    # cat" the tagger may take "chase" for a noun.
    if token.dep_ in MODIFIERS and token.tag_ == "NN" and not is_misread_verb(token.head):
        return "attribute"
    return "object"


def is_misread_verb(token: Token) -> bool:
    """Whether a plural noun is really a verb.

    Short captions mislead the tagger: in "A brown dog runs." it takes "runs" for a plural noun. A
    plural cannot follow "a" and a singular noun that modifies it, but a verb can.
    """
    if token.tag_ != "NNS" or token.i == 0:
        return False
    before = token.nbor(-1)
    if before.tag_ != "NN" or before.head.i != token.i:
        return False
    return any(word.lower_ in ("a", "an") for word in (*token.lefts, *before.lefts))


def noun_phrases(doc: Doc) -> list[NounPhrase]:
    """spaCy's noun chunks, each of which ends in its head; a head that is a verb is left out."""
    phrases = []
    text = doc.text
    # The iterator gives positions, while `doc.noun_chunks` would create an object for each chunk.
    # spaCy's type stub lacks it.
    for first, last, _ in doc.noun_chunks_iterator(doc):  # type: ignore[attr-defined]
        head = doc[last - 1]
        if is_misread_verb(head):
            head = head.nbor(-1)
        start = doc[first].idx
        end = head.idx + len(head)
        phrases.append(NounPhrase(text=text[start:end], start=start, end=end))
    return phrases


def parse_doc(doc: Doc) -> Parse:
    """The parse of a text that spaCy has read."""
    by_role: dict[Role | None, list[Token]] = {
        "object": [],
        "attribute": [],
        "action": [],
        "proper": [],
        None: [],
    }
    tokens = 0
    for token in doc:
        pos = token.pos_
        if pos not in ("PUNCT", "SPACE"):
            tokens += 1
            by_role[role(token, pos)].append(token)
    object_degrees = [degree(token) for token in by_role["object"]]
    action_degrees = [degree(token) for token in by_role["action"]]
    return Parse(
        tokens=tokens,
        objects=[token.text for token in by_role["object"]],
        attributes=[token.text for token in by_role["attribute"]],
        actions=[token.text for token in by_role["action"]],
        proper_nouns=[token.text for token in by_role["proper"]],
        object_complexity=max(object_degrees, default=0),
        action_complexity=max(action_degrees, default=0),
        object_complexity_mean=_mean(object_degrees),
        action_complexity_mean=_mean(action_degrees),
        noun_phrases=noun_phrases(doc),
    )


def _mean(values: Sequence[int]) -> float:
    return sum(values) / len(values) if values else 0.0


def parse(texts: Iterable[str], config: ParseConfig | None = None) -> list[Parse]:
    """One parse for each text, in order; equal texts are parsed once."""
    config = config or ParseConfig()
    texts = list(texts)
    distinct = list(dict.fromkeys(texts))
    docs = load(config.model).pipe(distinct, batch_size=config.texts_per_batch)
    parses = {text: parse_doc(doc) for text, doc in zip(distinct, docs, strict=True)}
    return [parses[text] for text in texts]


class ParseTexts:
    """Sets `Text.parse` of the fresh texts that have none."""

    version: ClassVar[int] = 2
    reads_images: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ("texts",)
    gives: ClassVar[tuple[str, ...]] = ("parsed_texts",)
    revises: ClassVar[tuple[str, ...]] = ("texts",)

    @classmethod
    def check(cls, config: ParseConfig) -> None:
        """Check the files of the model without loading it; see `stages.base.Stage`.

        Raises:
            ValueError: it is not installed, or one of its files was changed.
        """
        package_of(config.model)

    def __init__(self, config: ParseConfig) -> None:
        self.config = config
        # Loaded now, so that a missing model fails before any sample is read.
        load(config.model)

    def __call__(self, batch: Batch) -> list[Result]:
        unparsed = [self._unparsed(sample) for sample in batch]
        # All texts of the batch go to spaCy together, which is much faster than one by one.
        strings = [text.text for texts in unparsed for text in texts]
        parses = iter(parse(strings, self.config))
        results: list[Result] = []
        for texts in unparsed:
            parsed = [replace(text, parse=next(parses)) for text in texts]
            results.append(Annotations(texts=parsed))
        return results

    def _unparsed(self, sample: Sample) -> list[Text]:
        texts = sample.annotations.texts
        return [text for text in texts if sample.fresh(text) and text.parse is None]
