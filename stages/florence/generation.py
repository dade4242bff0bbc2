"""Questions, answers and the tokens between them: the values that the search algorithms share."""

from __future__ import annotations

from dataclasses import dataclass, field

from stages.florence.grammar import GrammarState, repeating_tokens
from stages.florence.tasks import AnswerKind
from stages.florence.tokenizer import BOS, EOS, START


@dataclass(frozen=True, slots=True)
class Question:
    """One prompt to one image."""

    image: int
    """Number of the image among those that were encoded together."""

    prompt: str
    """What the model is asked."""

    answer_kind: AnswerKind | None = None
    """Kind of answer, which chooses the grammar; None decodes freely."""

    max_tokens: int = 128
    """Most tokens of the answer, the end token included."""

    min_tokens: int = 0
    """Fewest tokens of the answer, the end token included."""

    no_repeat: int = 0
    """No sequence of so many tokens comes twice; 0 is off. The published settings have 3. Leave it
    off for regions: it would forbid regions that share three coordinates in a row."""


@dataclass(slots=True)
class GeneratedTokens:
    """The tokens of an answer after `<s>`, with their probabilities under the model itself."""

    ids: list[int] = field(default_factory=list)
    """Token ids; the end token is the last if the answer ended by itself."""

    log_probs: list[float] = field(default_factory=list)
    """Log-probability of each token, in nats, before any grammar."""

    beliefs: list[float] = field(default_factory=list)
    """The same, but of a location the log-probability of all locations near it. A thousand bins
    share the probability of one edge, so only this tells how sure the model is of a box."""

    def append(self, token: ScoredToken) -> None:
        self.ids.append(token.id)
        self.log_probs.append(token.log_prob)
        self.beliefs.append(token.belief)


@dataclass(frozen=True, slots=True)
class ScoredToken:
    """A token that was chosen or is given."""

    id: int
    """Its id in the vocabulary."""

    kind: int
    """Its kind in the grammar."""

    log_prob: float
    """Its log-probability, in nats."""

    belief: float
    """Its log-probability with that of near locations, in nats; see `GeneratedTokens.beliefs`."""


@dataclass(slots=True)
class Draft:
    """An answer under way."""

    question: Question
    """What is answered."""

    tokens: GeneratedTokens
    """The tokens so far."""

    state: GrammarState | None
    """Where the answer stands in its grammar; None decodes freely."""

    @classmethod
    def empty(cls, question: Question) -> Draft:
        """Start the answer to a question."""
        state = None
        if question.answer_kind is not None:
            state = GrammarState(question.answer_kind)
        return cls(question, GeneratedTokens(), state)

    def push(self, token: ScoredToken) -> None:
        """Take the next token."""
        self.tokens.append(token)
        if self.state is not None:
            self.state.push(token.kind)

    @property
    def done(self) -> bool:
        ids = self.tokens.ids
        if not ids:
            return False
        return ids[-1] == EOS or len(ids) >= self.question.max_tokens

    def forbidden(self) -> list[int]:
        """Return the tokens that may not come next whatever the grammar says.

        They are the end of an answer that is still too short, and what would repeat an n-gram. The
        start tokens count as part of the answer, as in `transformers`.
        """
        ids = self.tokens.ids
        repeating = repeating_tokens([START, BOS, *ids], self.question.no_repeat)
        if len(ids) + 1 < self.question.min_tokens:
            return [EOS, *repeating]
        return repeating
