"""What the language model writes about an image: the structured line, the description, answers, comparisons.

Greedy, so the same question gives the same answer. Each sentence is checked against the structured result before it
is given out: a contradiction is rewritten once, and if that fails replaced by a sentence from the result itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from medq_vlm import vocab
from medq_vlm.language import choices, facts, forms, guard, prompt, scope, topics, unassessed
from medq_vlm.language import line as lines
from medq_vlm.language import pair as pairs
from medq_vlm.language.decode import Decoder, Mark, Stop
from medq_vlm.language.features import ImageFeatures
from medq_vlm.language.line import Item, Line
from medq_vlm.language.model import LanguageModel, Part
from medq_vlm.language.terms import notes_for, plain
from medq_vlm.schema import Assessment

MOST_FINDINGS = 6
LONGEST_ANSWER, LONGEST_DESCRIPTION = 120, 220  # tokens
REMEMBERED = 3  # earlier exchanges that an answer reads


@dataclass
class Tally:
    """How often the guard had to act."""

    sentences: int = 0
    caught: int = 0
    rewritten: int = 0  # and right the second time
    replaced: int = 0
    lines: int = 0
    lines_corrected: int = 0


@dataclass(frozen=True)
class Check:
    """What a sentence must not contradict, and what is said when it does twice."""

    wrong: Callable[[str], guard.Contradiction | None]
    instead: str
    polished: Callable[[str], str] = guard.polished

    @classmethod
    def of(cls, line: Line, modality: str) -> Check:
        wrong, polished = partial(guard.contradiction, line=line, modality=modality), partial(guard.polished, line=line)
        return cls(wrong, guard.replacement(line), polished)

    def to(self, question: str, instead: str) -> Check:
        """The same for an answer to `question`."""

        def polished(sentence: str) -> str:
            return self.polished(guard.unled(sentence, question))

        return replace(self, instead=f"{guard.RESULT} {instead}", polished=polished)

    def answering(self) -> Check:
        """The same for a question that must not be declined."""

        def wrong(sentence: str) -> guard.Contradiction | None:
            declined = scope.DECLINES.search(sentence)
            if declined:
                return guard.Contradiction(0, declined.group(), "the question is about quality")
            return self.wrong(sentence)

        return replace(self, wrong=wrong)


@dataclass(frozen=True)
class Subject:
    """One image to talk about."""

    assessment: Assessment
    features: ImageFeatures | None  # None: nothing of the image is read (not assessable, or an ablation)
    # the context of the last answer, which the next one goes on from: image and line are read once
    kept: list[Decoder] = field(default_factory=list, init=False, compare=False, repr=False)

    @property
    def modality(self) -> str:
        return str(self.assessment.modality.value)


class Talker:
    """Writes; holds weights and a tally, nothing of any image."""

    def __init__(self, model: LanguageModel, guarded: bool = True) -> None:
        self.model = model
        self.guarded = guarded
        self.tally = Tally()

    def line(self, subject: Subject) -> Line:
        """The line as the model writes it from the soft tokens, unchecked."""
        decoder = Decoder(self.model)
        return self._write_line(decoder, subject)

    def describe(self, subject: Subject, stop: Stop | None = None) -> Iterator[str]:
        """The description, sentence by sentence, after the model's own line has been checked."""
        if not subject.assessment.assessable:
            yield unassessed.told(subject.assessment)
            return
        decoder = Decoder(self.model)
        line = self.checked_line(decoder, subject)
        decoder.read(prompt.after_line(line, subject.modality), prompt.turn(prompt.DESCRIBE, []))
        yield from self._sentences(decoder, Check.of(line, subject.modality), LONGEST_DESCRIPTION, stop)

    def answer(
        self, subject: Subject, question: str, history: Sequence[tuple[str, str]] = (), stop: Stop | None = None
    ) -> Iterator[str]:
        """An answer, sentence by sentence; `history` holds earlier questions and answers.

        What the result alone can answer is quoted from it (topics.py); the model writes the rest.
        """
        asked = prompt.neutral(question, self.model.special, prompt.LONGEST_QUESTION)
        if quoted := self._quoted(subject, asked, history):
            if stop is None or not stop():
                yield quoted
            return
        with self._context(subject) as decoder:
            if not subject.assessment.assessable:
                decoder.begin(*self._before_refusal(subject), prompt.turn(asked, []))
                yield from self._plain(decoder, LONGEST_ANSWER, stop)
                return
            line = lines.from_assessment(subject.assessment)  # the line that stood after its check
            earlier = [
                (prompt.neutral(q, self.model.special, prompt.LONGEST_QUESTION), self._neutral_answer(a))
                for q, a in list(history)[-REMEMBERED:]
            ]
            decoder.begin(*self._conversation(subject, line, earlier, asked))
            stem, options = choices.asked(asked)
            if options and self.guarded:
                yield self._chosen(decoder, choices.agreeing(stem, options, line, subject.modality), line)
                return
            case = facts.Case(subject.assessment, plain(asked), history)
            check = Check.of(line, subject.modality).to(asked, facts.instead(case))
            foreign = self.guarded and topics.foreign(asked)
            if foreign and not any(forms.ENGLISH_ONLY in a for _, a in history):
                yield f"{forms.ENGLISH_ONLY} "
            if self.model.scope is not None and self.guarded:
                outside = self.model.scope.outside(self.model, asked)
                if outside or foreign:
                    yield scope.REFUSAL if outside else f"About the quality of the image: {facts.summary(case)}"
                    return
                if known := topics.let_in(subject.assessment, asked, history):
                    yield known
                    return
                check = check.answering()
            yield from map(subject.assessment.hedged, self._sentences(decoder, check, LONGEST_ANSWER, stop))

    def _quoted(self, subject: Subject, asked: str, history: Sequence[tuple[str, str]]) -> str:
        """The answer that the result alone gives, "" where the model has to answer."""
        if self.guarded and not subject.assessment.assessable:
            return unassessed.told(subject.assessment, asked)
        if not self.guarded or choices.asked(asked)[1]:
            return ""
        return topics.told(subject.assessment, asked, history)

    @contextmanager
    def _context(self, subject: Subject) -> Iterator[Decoder]:
        """The context that the last answer about `subject` left, or a new one; kept when nothing went wrong."""
        try:
            decoder = subject.kept.pop()  # whoever asks at the same time finds none and reads anew
        except IndexError:
            decoder = Decoder(self.model)
        if decoder.model is not self.model:
            decoder = Decoder(self.model)
        yield decoder
        subject.kept[:] = [decoder]

    def _before_refusal(self, subject: Subject) -> list[Part]:
        """Up to the question about an image that was not assessed."""
        return [f"{prompt.opening()} none{prompt.after_image('')}{prompt.refused(subject.assessment)}{prompt.END}\n"]

    def _conversation(
        self, subject: Subject, line: Line, earlier: Sequence[tuple[str, str]], asked: str
    ) -> Iterator[Part]:
        """Image, line, earlier exchanges and the question, up to its answer; all neutral already."""
        yield from (*self._before_line(subject), line.text(), prompt.after_line(line, subject.modality))
        before = ""
        for q, a in earlier:
            yield prompt.turn(q, notes_for(q, before, line, subject.modality))
            yield from (a + prompt.END, "\n")
            before = f"{q} {a}"
        yield prompt.turn(asked, notes_for(asked, before, line, subject.modality))

    def _chosen(self, decoder: Decoder, options: Sequence[choices.Option] | None, line: Line) -> str:
        """The model's choice among `options`, which do not contradict the structured result; None: it decides none."""
        if options is None:
            told = guard.replacement(line)
            return f"I can only speak about the quality of the image; the result decides none of these. {told}"
        if not options:
            return f"None of these. {guard.replacement(line)}"
        return decoder.choose([option.text for option in options])

    def compare(self, a: Subject, b: Subject, stop: Stop | None = None) -> Iterator[str]:
        """Which of two assessable images is better, by how much, why; of different things, what each is alone."""
        first, second = [lines.from_assessment(subject.assessment) for subject in (a, b)]
        if apart := pairs.not_comparable(a.assessment, b.assessment, ("A", "B")):
            yield f"{apart} {pairs.each(first, second)}"
            return
        if plain := pairs.without_findings(first, second):
            yield plain
        else:
            yield from self._contrasted(a, b, stop)
        if unsure := pairs.certainty(a.assessment, b.assessment):
            yield f" {unsure}"

    def _contrasted(self, a: Subject, b: Subject, stop: Stop | None) -> Iterator[str]:
        """The model's comparison of two images, checked."""
        decoder = Decoder(self.model)
        pair = [lines.from_assessment(subject.assessment) for subject in (a, b)]
        for letter, subject, line in zip("AB", (a, b), pair, strict=True):
            parts = [subject.features] if subject.features is not None else []
            decoder.read(
                prompt.pair_opening(letter), *parts, prompt.after_pair_image(), line.text() + prompt.END + "\n"
            )
        decoder.read(prompt.turn(prompt.COMPARE, [prompt.pair_note(*pair)]))
        modalities = (a.modality, b.modality)
        check = Check(
            partial(guard.pair_contradiction, pair=pair, modalities=modalities),
            guard.pair_replacement(*pair),
            pairs.better_first,
        )
        yield from self._sentences(decoder, check, LONGEST_ANSWER, stop)

    def checked_line(self, decoder: Decoder, subject: Subject) -> Line:
        """The model's line when it agrees with the structured result, otherwise the result's own; read either way."""
        line = self._write_line(decoder, subject)
        truth = lines.from_assessment(subject.assessment)
        self.tally.lines += 1
        same = {(i.kind, i.severity) for i in line.items} == {(i.kind, i.severity) for i in truth.items}
        if same or not self.guarded:
            return line
        self.tally.lines_corrected += 1
        decoder.begin(*self._before_line(subject), truth.text())
        return truth

    def _before_line(self, subject: Subject) -> list[Part]:
        text = prompt.neutral(subject.assessment.acquisition, self.model.special, prompt.LONGEST_ACQUISITION)
        image: list[Part] = [subject.features] if subject.features is not None else []
        return [prompt.opening(), *image, prompt.after_image(text)]

    def _write_line(self, decoder: Decoder, subject: Subject) -> Line:
        """Read the image, then let the model choose kinds and degrees; everything else is quoted."""
        base = replace(lines.from_assessment(subject.assessment), items=())
        known = {item.kind: item for item in lines.from_assessment(subject.assessment).items}
        decoder.begin(*self._before_line(subject), base.head())
        rest = {
            kind: known.get(kind, Item(kind, lines.EVERYWHERE, "", "mild"))
            for kind in vocab.kinds_for(subject.modality)
        }
        chosen: list[Item] = []
        while len(chosen) < MOST_FINDINGS:
            comma = "," if chosen else ""
            options = {comma + item.opening(): item for item in rest.values()}
            text = decoder.choose(["]", *options])
            if text == "]":
                break
            item = options[text]
            decoder.read(item.quoted())
            closings = {replace(item, severity=word).closing(): word for word in vocab.SEVERITIES[1:]}
            chosen.append(replace(item, severity=closings[decoder.choose(list(closings))]))
            del rest[item.kind]
        else:
            decoder.read("]")
        line = replace(base, items=tuple(chosen))
        decoder.read(line.tail())
        return line

    def _neutral_answer(self, text: str) -> str:
        return prompt.neutral(text, self.model.special, 2 * prompt.LONGEST_QUESTION)

    def _plain(self, decoder: Decoder, limit: int, stop: Stop | None) -> Iterator[str]:
        """Text as it comes, for what has nothing to contradict."""
        ids: list[int] = []
        shown = ""
        for token in decoder.write(limit, stop):
            ids.append(token)
            text = self.model.tokenizer.decode(ids)
            if not text.endswith("\ufffd"):  # half a character waits for its other half
                yield text[len(shown) :]
                shown = text

    def _sentences(self, decoder: Decoder, check: Check, limit: int, stop: Stop | None) -> Iterator[str]:
        """Checked sentences, none of them twice."""
        left = limit
        given: list[str] = []
        while left > 0:
            start = decoder.mark()
            ids, ended = self._sentence(decoder, left, stop)
            text = self.model.tokenizer.decode(ids)
            if text.strip():
                self.tally.sentences += 1
                wrong = check.wrong(text) if self.guarded else None
                if wrong is not None:
                    text, ids, ended = self._again(decoder, start, ids, wrong, check, left, stop)
                if self.guarded:
                    text = check.polished(text)
                if text.strip() not in ("", *given):
                    yield text if not given or text[:1].isspace() else f" {text}"
                    given.append(text.strip())
            left -= max(1, len(ids))
            if ended:
                return

    def _sentence(
        self, decoder: Decoder, limit: int, stop: Stop | None, banned: int | None = None, before: Sequence[int] = ()
    ) -> tuple[list[int], bool]:
        """Token ids up to the end of a sentence, and whether the answer ended with it."""
        ids = list(before)
        for token in decoder.write(limit, stop, banned):
            ids.append(token)
            # "1." may go on as "1.7": a sentence ends where the next token would start with a space
            if self.model.tokenizer.decode(ids).endswith((".", "!", "?")):
                following = decoder.likeliest()
                if self.model.tokenizer.decode([following])[:1].isspace():
                    return ids, False
        return ids, True

    def _again(
        self, decoder: Decoder, start: Mark, ids: list[int], wrong: guard.Contradiction, check: Check, left: int,
        stop: Stop | None,
    ) -> tuple[str, list[int], bool]:  # fmt: skip
        """Rewrite a sentence once from where it went wrong; replace it when that fails."""
        self.tally.caught += 1
        keep = 0  # tokens before the wrong word
        while keep < len(ids) and len(self.model.tokenizer.decode(ids[: keep + 1])) <= wrong.start:
            keep += 1
        decoder.back(start)
        if keep:
            decoder.feed(ids[:keep])
        second, ended = self._sentence(decoder, left, stop, ids[keep] if keep < len(ids) else None, ids[:keep])
        text = self.model.tokenizer.decode(second)
        if text.strip() and check.wrong(text) is None:
            self.tally.rewritten += 1
            return text, second, ended
        self.tally.replaced += 1
        decoder.back(start)
        return check.instead, ids, True
