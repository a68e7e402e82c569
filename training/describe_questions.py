# ruff: noqa: E501  a sentence with its alternatives reads best on one line
"""Questions about one image with answers that follow from its structured line."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from medq_vlm import vocab
from medq_vlm.language.line import Item, Line
from medq_vlm.language.terms import SYNONYMS
from training.describe_grammar import article, be, capital, expand, listed, named, pick, where

Pair = tuple[str, str]
TASKS = (
    "nodule detection", "a routine follow-up", "measuring the lesion", "surgical planning", "screening", "segmentation",
    "radiotherapy planning", "fracture assessment", "an AI model", "teaching", "counting cells", "grading",
    "vessel analysis", "volumetry", "detecting small lesions", "a second opinion", "publication", "low-contrast lesions",
)  # fmt: skip


def why(rng: np.random.Generator, line: Line, modality: str) -> Pair:
    question = pick(rng, (
        "Why is <this|the> <image|scan|picture> <poor|bad|not good|of low quality|only {v}>?",
        "<What is|What's> <wrong|the problem|the matter> <with <it|this image|this scan>|here>?", "Why this <score|verdict>?",
        "<What|Which problem> <limits|lowers|reduces|degrades> the <quality|score>?", "Why <only |>{s}?",
        "<Reason|reasons> for the <low score|verdict|rating>?", "<How come|Why> the score is <so low|not higher>?",
        "What made <you|it> <reject it|give this score|say {v}>?",
    )).format(v=line.verdict, s=vocab.score_text(line.score))  # fmt: skip
    return question, because(rng, line, modality)


def because(rng: np.random.Generator, line: Line, modality: str) -> str:
    """Why the image has its score."""
    if not line.items:
        return clean(rng, line)
    first = line.items[0]
    _, effect, _ = vocab.text_for(first.kind, modality)
    more = f", <besides|followed by|along with> {listed([named(i) for i in line.items[1:3]])}" if line.items[1:] else ""
    return expand(
        rng,
        f"<Mainly because of|The main reason is|Above all because of> {named(first)} {where(first)}{more}: {effect}. "
        f"<The verdict is {line.verdict}, with a score of {vocab.score_text(line.score)} of 4.|The score is {vocab.score_text(line.score)} of 4, "
        f"{line.verdict}.|>",
    )


def clean(rng: np.random.Generator, line: Line) -> str:
    """There is nothing to complain of."""
    return expand(
        rng,
        f"<No degradation was found|I found no degradation|Nothing was found that degrades it>: the score is "
        f"{vocab.score_text(line.score)} of 4 and the verdict is {line.verdict}.",
    )


def overall(rng: np.random.Generator, line: Line, modality: str) -> Pair:
    question = pick(rng, (
        "How <good|bad> is <this|the> <image|scan>?", "<What is|Tell me> the <score|quality|verdict|rating>?",
        "Is <this|the> <image|scan|one> <good|ok|acceptable|usable|any good|of good quality|poor>?", "<Rate|Judge|Score> this <image|scan>.",
        "<Can I|Can we|Should I> <use|keep|read|accept> <it|this|this image>?", "<Good enough|Acceptable|OK> <to read|>?",
        "Do <I|we> <have to|need to> <repeat|redo|retake> <it|the scan|this>?", "quality?", "<Repeat|Reject> it?",
    ))  # fmt: skip
    reason = f"mainly {named(line.items[0])} {where(line.items[0])}" if line.items else "no degradation was found"
    advice = {
        "good": "<It can be read.|No repeat is needed.|>", "usable": "<It can be read with limits.|>",
        "reject": "<It should be repeated or corrected.|It should be repeated.|>",
    }[line.verdict]  # fmt: skip
    answer = f"The verdict is {line.verdict}, with a score of {vocab.score_text(line.score)} of 4: {reason}. {advice}"
    return question, pick(rng, (answer,)).strip()


def severity(rng: np.random.Generator, line: Line, modality: str) -> Pair:
    item = one(rng, line)
    question = pick(rng, (
        f"How <bad|severe|strong|serious> is the {said(rng, item.kind)}?", f"Is the {said(rng, item.kind)} <severe|bad|serious|mild>?",
        f"<What is the|Give the> <severity|degree> of the {said(rng, item.kind)}.", f"{said(rng, item.kind)}: how much?",
    ))  # fmt: skip
    evidence = " It was measured: EVIDENCE." if item.evidence and rng.random() < 0.6 else ""
    verb = be(item)
    answer = f"The {item.plain} {verb} {item.severity}< {where(item)}|>.{evidence}"
    return question, pick(rng, (answer,)).replace("EVIDENCE", item.evidence)


def place(rng: np.random.Generator, line: Line, modality: str) -> Pair:
    if rng.random() < 0.35 and line.items:
        question = pick(rng, ("Where <is it|exactly|do you see it|are the problems>?", "Where <is|are> the <worst|main> <problem|artefact|defect>?",
                              "<Which part|Which region> is affected?", "<Show|Tell> me where."))  # fmt: skip
        item = line.items[0]
    else:
        item = one(rng, line)
        question = pick(rng, (f"Where is the {said(rng, item.kind)}?", f"<Where|In which part> do you see <the |>{said(rng, item.kind)}?",
                              f"Which <slices|region|part> <show|shows> <the |>{said(rng, item.kind)}?"))  # fmt: skip
    return question, pick(rng, (f"The {item.severity} {item.plain} {be(item)} <seen|present|> {where(item)}.",))


def worst(rng: np.random.Generator, line: Line, modality: str) -> Pair:
    question = pick(rng, (
        "<Which|What> is the <worst|main|biggest|most serious|dominant> <problem|artefact|degradation|finding|issue>?",
        "What <bothers|disturbs> <most|the most>?", "<Which|What> <problem|degradation> is worst?", "worst <problem|thing>?",
    ))  # fmt: skip
    if not line.items:
        return question, clean(rng, line)
    first = line.items[0]
    evidence = " Measured: EVIDENCE." if first.evidence and rng.random() < 0.5 else ""
    answer = pick(rng, (f"The <worst|main> <problem|finding> is {named(first)} {where(first)}.{evidence}",))
    return question, answer.replace("EVIDENCE", first.evidence)


def remedy(rng: np.random.Generator, line: Line, modality: str) -> Pair:
    general = (
        "What <should I|can I|can we|should we|to> <change|do> <at the scanner|next time|to improve it|about it|>?",
        "How <can|could|do> <I|we> <fix|improve|avoid|correct> <this|it|that>?", "<What is the|Any> <remedy|advice|fix>?",
        "How do I get a better <image|scan>?", "What <settings|parameters> <should|would> I change?", "how to fix?",
    )  # fmt: skip
    if line.items and rng.random() < 0.5:
        item = one(rng, line)
        question = pick(rng, (f"How <can|do|could> <I|we> <reduce|avoid|remove|fix|get rid of> the {said(rng, item.kind)}?",
                              f"What <helps|can I do> against <the |>{said(rng, item.kind)}?"))  # fmt: skip
    else:
        question = pick(rng, general)
        if not line.items:
            return question, expand(
                rng, "No degradation was found, so <nothing has to be changed|no change is needed>."
            )
        item = line.items[0]
    _, _, fix = vocab.text_for(item.kind, modality)
    return question, pick(
        rng,
        (
            f"<Against|To reduce|For> the {item.plain}: {fix}.",
            f"{capital(fix)}. <This acts on|That reduces> the {item.plain}.",
        ),
    )


def cause(rng: np.random.Generator, line: Line, modality: str) -> Pair:
    item = one(rng, line)
    source, _, _ = vocab.text_for(item.kind, modality)
    word = said(rng, item.kind)
    question = pick(rng, (f"<What caused|What is the cause of|Where does> the {word}< come from|>?", f"Why is there <so much |>{word}?",
                          f"Why <do I see|did we get> {word}?", f"What <went wrong|happened> to give <this |>{word}?"))  # fmt: skip
    verb = "come" if be(item) == "are" else "comes"
    return question, pick(rng, (f"The {item.severity} {item.plain} <most likely|probably|> {verb} from {source}.",))


def effect(rng: np.random.Generator, line: Line, modality: str) -> Pair:
    item = one(rng, line)
    _, impact, _ = vocab.text_for(item.kind, modality)
    question = pick(rng, (f"What does the {said(rng, item.kind)} <hide|do|mean for reading|affect>?", "What <could|might> I miss?",
                          "What does <it|this> mean for <reading|the reader|diagnosis>?", "Does it matter <clinically|for reading>?"))  # fmt: skip
    if (
        "the " + item.plain not in question
        and item.kind != line.items[0].kind
        and not any(form in question for form in (item.plain, *SYNONYMS[item.kind]))
    ):
        item = line.items[0]
        _, impact, _ = vocab.text_for(item.kind, modality)
    return question, pick(
        rng, (f"With {named(item)}, {impact}.", f"{capital(impact)}, <because of|due to> the {named(item)}.")
    )


def task(rng: np.random.Generator, line: Line, modality: str) -> Pair:
    aim = str(rng.choice(TASKS))
    question = pick(rng, (f"Is <it|this|this image> <fit|good enough|suitable|ok|adequate> for {aim}?", f"Can I use <it|this> for {aim}?",
                          f"<Good|Enough|ok> for {aim}?", f"Would you <trust|use> it for {aim}?"))  # fmt: skip
    if line.verdict == "good":
        lead = f"<Yes|In terms of quality, yes>: the quality is good ({vocab.score_text(line.score)} of 4)"
    elif line.verdict == "usable":
        lead = f"<With limits|Only with limits>: the quality is usable ({vocab.score_text(line.score)} of 4)"
    else:
        lead = f"<No|Better not>: the verdict is reject ({vocab.score_text(line.score)} of 4)"
    if not line.items:
        return question, expand(rng, f"{lead}, and no degradation was found.")
    first = line.items[0]
    _, impact, _ = vocab.text_for(first.kind, modality)
    return question, expand(rng, f"{lead}. With {named(first)}, {impact}.")


def present(rng: np.random.Generator, line: Line, modality: str) -> Pair:
    """Yes or no, half of the kinds found and half not."""
    found = {item.kind: item for item in line.items}
    kind = one(rng, line).kind if found and rng.random() < 0.5 else absent(rng, line, modality)
    word = said(rng, kind)
    question = pick(rng, (f"Is there <any |>{word}?", f"<Do|Can> you see <any |>{word}?", f"Does <it|the image> <show|have|suffer from> {word}?",
                          f"<Any|> {word}?", f"{word} present?", f"Is {word} visible?", f"What about {word}?"))  # fmt: skip
    plain = vocab.KIND[kind].plain
    if kind in found:
        return question, pick(
            rng, (f"Yes, {named(found[kind])} {be(found[kind])} <present|seen|> {where(found[kind])}.",)
        )
    return question, pick(rng, (f"No, {plain} was not found<.| in this image.>",))


def false_premise(rng: np.random.Generator, line: Line, modality: str) -> Pair:
    kind = absent(rng, line, modality)
    word = said(rng, kind)
    plain = vocab.KIND[kind].plain
    question = pick(rng, (
        f"Why is the {word} so <bad|strong|severe>?", f"Where <exactly |>is the {word}?", f"How can I <fix|remove|reduce> the {word}?",
        f"What caused the {word}?", f"The {word} <is terrible|bothers me|looks bad>, <why|what can I do>?", f"How severe is the {word}?",
        f"Why is there so much {word}?", f"Since there is {word}, should I repeat <it|the scan>?", f"explain the {word} here",
    ))  # fmt: skip
    start = f"<There is no {plain}|I see no {plain}|No {plain} was found> <in this image|here>"
    if line.items:
        return question, expand(
            rng, f"{start}. <What was found:|Found instead:|The main finding is> {named(line.items[0])}."
        )
    return question, expand(rng, f"{start}; no degradation was found, and the verdict is {line.verdict}.")


def false_verdict(rng: np.random.Generator, line: Line, modality: str) -> Pair:
    """A question that takes the opposite verdict for granted."""
    if line.verdict == "good":
        question = pick(
            rng,
            (
                "Why <was it rejected|is it a reject|is it so bad|is the quality so poor>?",
                "Why is <the score|it> so low?",
            ),
        )
        tail = "no degradation was found" if not line.items else f"the only limit is {named(line.items[0])}"
        return question, expand(
            rng,
            f"It is not <poor|bad>: the verdict is good, with a score of {vocab.score_text(line.score)} of 4; {tail}.",
        )
    question = pick(
        rng,
        (
            "Why is <it|this image> so good?",
            "Great <image|quality>, <right|isn't it>?",
            "So it is perfect?",
            "No problems, <right|correct>?",
        ),
    )
    reason = f"because of {named(line.items[0])}" if line.items else "although no single degradation was named"
    return question, expand(
        rng,
        f"<It is not good|Not quite>: the verdict is {line.verdict}, with a score of {vocab.score_text(line.score)} of 4, {reason}.",
    )


def which(rng: np.random.Generator, line: Line, modality: str) -> Pair:
    question = pick(rng, ("<Which|What> <artefacts|degradations|problems|findings|defects|issues> <are there|do you see|did you find>?",
                          "List <all|the> <problems|artefacts|findings>.", "What did you find?", "What <can you see|do you see>?",
                          "<Any|Are there any> <artefacts|problems|other problems|defects>?", "What <types|kinds> of degradation?"))  # fmt: skip
    if not line.items:
        return question, clean(rng, line)
    number = {1: "One finding", 2: "Two findings", 3: "Three findings", 4: "Four findings"}.get(
        len(line.items), "Found"
    )
    names = listed([named(i) for i in line.items])
    return question, pick(rng, (f"{number}: {names}.", f"<I see|I found|There is> {names}."))


def attribute(rng: np.random.Generator, line: Line, modality: str) -> Pair:
    entries = line.overall.split(", ")
    entry = entries[int(rng.integers(len(entries)))]
    name, _, value = entry.partition(" ")
    question = pick(
        rng, (f"How is the {name}?", f"<What about|And> the {name}?", f"How would you rate <the |>{name}?", f"{name}?")
    )
    return question, pick(rng, (f"The {name} is {value}.", f"<Overall|Globally>, the {name} is {value}."))


def certainty(rng: np.random.Generator, line: Line, modality: str) -> Pair:
    low, high = line.interval
    question = pick(rng, ("How <sure|certain|confident> are you?", "<What is the|How large is the> <uncertainty|interval|confidence>?",
                          "Can I trust <this|the> score?", "<Are you|> sure?"))  # fmt: skip
    return question, pick(
        rng,
        (
            f"The score is {vocab.score_text(line.score)}, and it <most likely lies|lies> between {low:.1f} and {high:.1f} of 4.",
        ),
    )


def scene(rng: np.random.Generator, line: Line, modality: str) -> Pair:
    question = pick(rng, ("What <image|kind of image|modality|type of scan> is <this|it>?", "What <am I looking at|does it show|is shown>?",
                          "Which <modality|body part|anatomy> is <this|it>?"))  # fmt: skip
    return question, pick(rng, (f"<This is|It is> {article(line.image)} {line.image}.",))


def measured(rng: np.random.Generator, line: Line, modality: str) -> Pair:
    question = pick(rng, ("What <did you measure|was measured>?", "<What is the|Any|Which> evidence <do you have|for that|>?",
                          "On what <do you base|is> this <based|>?", "<Give|Show> me <the |>numbers.", "How do you know?"))  # fmt: skip
    shown = [item for item in line.items if item.evidence][:2]
    if not shown:
        if line.items:
            return question, expand(
                rng, f"No measurement <backs|stands behind> the {line.items[0].plain}; it comes from the image model."
            )
        return question, clean(rng, line)
    return question, "Measured: " + "; ".join(f"{item.evidence} for the {item.plain}" for item in shown) + "."


def choice(rng: np.random.Generator, line: Line, modality: str) -> Pair:
    """Multiple choice: kind, verdict or severity."""
    roll = rng.random()
    if roll < 0.5:
        stem = pick(rng, ("Which <degradation|artefact|problem> <is present|does the image show|affects this image <most|>>?",
                          "What is the main <degradation|problem>?", "Which of these was found?"))  # fmt: skip
        right = line.items[0].plain if line.items else "no degradation"
        pool = [vocab.KIND[k].plain for k in vocab.kinds_for(modality) if k not in {i.kind for i in line.items}]
        wrong = list(dict.fromkeys(str(x) for x in rng.permutation(pool)))[:3]
        if line.items and rng.random() < 0.3:
            wrong[0] = "no degradation"
    elif roll < 0.75:
        stem = pick(rng, ("What is the <verdict|overall quality>?", "How <good is|would you rate> the image?"))
        right, wrong = line.verdict, [v for v in vocab.VERDICTS if v != line.verdict]
    elif line.items:
        item = one(rng, line)
        stem = pick(rng, (f"How severe is the {item.plain}?", f"<What is the|The> severity of the {item.plain}?"))
        right, wrong = item.severity, [s for s in vocab.SEVERITIES if s != item.severity]
    else:
        kind = absent(rng, line, modality)
        stem = f"How severe is the {vocab.KIND[kind].plain}?"
        right, wrong = "none", ["mild", "moderate", "severe"]
    options = [str(o) for o in rng.permutation([right, *dict.fromkeys(wrong)])]
    style = ("{}) ", "{}. ", "{}: ", "({}) ")[int(rng.integers(4))]
    letters = "ABCD" if rng.random() < 0.85 else "abcd"
    shown = " ".join(style.format(letter) + option for letter, option in zip(letters, options, strict=False))
    letter = letters[options.index(right)].upper()
    return f"{stem} {shown}", f"{letter}) {right}"


def one(rng: np.random.Generator, line: Line) -> Item:
    """A finding, the worst most often."""
    return line.items[0] if rng.random() < 0.5 else line.items[int(rng.integers(len(line.items)))]


def absent(rng: np.random.Generator, line: Line, modality: str) -> str:
    """A kind of the modality that was not found, nor anything that shares its everyday word."""
    found = {item.kind for item in line.items}
    taken = {form for kind in found for form in (*SYNONYMS[kind], vocab.KIND[kind].plain)}
    pool = [k for k in vocab.kinds_for(modality) if k not in found and not taken & {*SYNONYMS[k], vocab.KIND[k].plain}]
    return str(rng.choice(pool or [k for k in vocab.kinds_for(modality) if k not in found]))


def said(rng: np.random.Generator, kind: str) -> str:
    """The kind's plain name, or one of the nouns people use."""
    plain = vocab.KIND[kind].plain
    nouns = [form for form in SYNONYMS[kind] if not form.endswith(("y", "ed", "ous")) and "too " not in form]
    return plain if not nouns or rng.random() < 0.6 else str(rng.choice(nouns))


Form = Callable[[np.random.Generator, Line, str], Pair]
ALWAYS: tuple[tuple[Form, float], ...] = (
    (why, 2), (overall, 2.5), (worst, 1.2), (remedy, 2), (task, 1.5), (present, 3), (false_premise, 2.5), (which, 1.5),
    (attribute, 1), (certainty, 0.6), (scene, 0.5), (measured, 0.8), (choice, 3), (false_verdict, 1.2),
)  # fmt: skip
WITH_FINDINGS: tuple[tuple[Form, float], ...] = ((severity, 1.5), (place, 1.8), (cause, 1.8), (effect, 1.2))
