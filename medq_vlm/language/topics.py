"""Which questions are answered from the structured result alone: one literal table, the first match answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from medq_vlm.language import aspects, facts, figures, forms, given, itself, limits, objection, suppose, weighing
from medq_vlm.language.case import Case
from medq_vlm.language.guard import polished
from medq_vlm.language.terms import plain
from medq_vlm.schema import Assessment

STRANGE = (
    "der die das ist wie wo warum was bild bitte und nicht ich sind gut deutsch auf hat kann soll muss artefakt "
    "welche welcher le la les est quel quelle pourquoi image-ci et une un dans probleme comment je vous il "
    "el los las que por qué cual imagen como es una "
    "il lo gli della del dimmi perché qualità per con non sono questa questo dove het een wat waarom niet beeld van "
    "deze "
    "os da qual não uma porque onde jest jak czy obraz dlaczego dlaczego nie neden var den det och inte hur varför"
)
USUAL = "the is are what why how this image and of it which where does can"
FOREIGN, ENGLISH = frozenset(STRANGE.split()), frozenset(USUAL.split())
PEOPLE = (
    "(?:the |my |our |a )?(?:techs?|techno|technologists?|technicians?|mtra?|radiographers?|sonographers?|operators?)"
)
FINDINGS = "(?:findings?|problems?|artefacts?|degradations?|issues?|faults?|defects?)"
THE = "(?:the |its |your |my |this |a |an |overall |total |quality |image |90 ?%? )*"
ORGAN = "head|brain|chest|lungs?|heart|abdomen|liver|spine|hip|pelvis|knee|breast|retina|eye|skin|hand|foot"
LATIN = 0x24F  # the last letter of Latin script
LONGEST = 15  # words: a longer question asks for more than one thing
CLINICAL = re.compile(
    r"\b(?:cancer\w*|tumou?rs?|diseases?|diagnos(?:e|is) (?:is|of|for)|(?:your|the) diagnosis|prognosis"
    r"|malignan\w*|benign|melanoma|pregnan\w*|fetal|weight"
    r"|heparin|drugs?|apixaban|tamoxifen|ablation|injections?|screening|colonoscop\w*|biops\w+|aspects|fazekas|bi-?rads"
    r"|an(?:a)?esth\w*|ti-?rads|pi-?rads|deauville|wells|agatston|girl|boy|baby|euro|poem|joke|antibiotic\w*"
    r"|surgery|he has|she has|does (?:he|she)|metasta\w*|buy\w*|purchas\w*"
    r"|follow-?up (?:in|after)|word for word|name of|whose)\b"
)  # words that no quoted sentence answers: scope.py decides


@dataclass(frozen=True)
class Topic:
    """Questions whose plain words match `pattern`, unless they match `but`."""

    pattern: str
    answer: Callable[[Case], str]
    whole: bool = False  # the pattern is the whole question, but for politeness
    but: str = r"(?!)"


TOPICS: tuple[Topic, ...] = (
    Topic(r"list (?:them|those|these|all)(?: (?:all|again))?", facts.listing, True),
    Topic(r"(?:hello|hi|hey|good (?:morning|evening|afternoon|day)|greetings)(?: there| medq)?", facts.hello, True),
    Topic(r"(?:help|help me|what can you do|what can i ask(?: you)?)", facts.helped, True),
    Topic(r"(?:ok|okay|fine|alright|all right|got it|i see|understood|great|cool)", facts.noted, True),
    Topic(r"(?:|(?:asdf|qwer|zxcv|hjkl|yxcv|jkl)\w*|[\d.]+)", facts.unclear, True),
    Topic(r"(?:(?:repeat|say) (?:that|your answer|yourself|the answer)(?: again| once more)?|say again|pardon"
          r"|come again)", facts.again, True),
    Topic(r"^(?:but )?(?:the|your|its) score (?:says|is|was) \d", facts.claimed_score, but=r"^what"),
    Topic(r"^(?:is|was|were|did|has|any|what|which|with)\b.*\bcontrast (?:agent|medium|media)\b"
          r"|\b(?:was|is|were) (?:any |iv |a )?contrast (?:agent )?(?:given|used"
          r"|administered|injected)\b|^(?:is|was) (?:it|this|that|the \w+) (?:done |made )?(?:with|without)(?: iv)?"
          r" contrast$|\b(?:contrast|non-?contrast)[ -]?enhanced\b", given.contrast_agent,
          but=r"\b(?:help\w*|better|improve\w*|should|would|more|dose|reaction|allerg\w*|kidney\w*|safe|give"
          r"|need\w*|metformin|egfr|creatinine|why|how|when|which|phase|timing)\b"),
    Topic(r"^(?:what|which) (?:(?:kind|type|sort) of )?(?:mr |mri |pulse )?sequence\b", given.sequence,
          but=r"\b(?:better|should|would|recommend|use next)\b"),
    Topic(r"\b(?:ap or pa|pa or ap|frontal or lateral|lateral or frontal)\b|^(?:what|which) (?:view|projection)\b",
          given.view),
    Topic(r"^(?:is|was|were|did|has|have)\b.*\bgrid\b", given.grid, but=r"\bgrid ?lines?\b|\bgrid (?:cut|art|pat)"
                                                                        r"|\bwrong\b"),
    Topic(r"what (?:else )?(?:did you|have you|do you|was|were|is|did it) f(?:i|ou)nd|what are "
          r"(?:the|your) " + FINDINGS, facts.listing, True),
    Topic(r"^(?:is|was) (?:it|this|that|the (?:image|picture|photo\w*|retina|slide|scan))(?: image| picture)?"
          r"(?: in|(?: well| properly| correctly| sharply| really)?)?(?: good| sharp)? focus(?:s?ed)?$", given.focus),
    Topic(rf"^how (?:sure|certain|confident) are you (?:that )?(?:it|this|that)(?: image| scan)? is (?:a |an |the )?"
          rf"(?:{ORGAN}|ct|mr|mri|pet|x-?ray|radiograph|ultrasound|mammogram)\b", facts.anatomy),
    Topic(r"\b(?:sharpness|contrast|noise|exposure|coverage|artefacts?) (?:partial )?scores?\b|\bpartial scores?\b",
          given.attribute, but=r"\b(?:why|how|change|raise|if|or)\b"),
    Topic(r"^(?:is|was|are|were)\b.*\d", given.checked, but=r"\b(?:score|of 4|cm|lesion\w*|nodule\w*|mass)\b"),
    Topic(r"^(?:can|could|may) (?:i|we) use (?:it|this|that)(?: image| scan)? (?:for|to) ", facts.fitness,
          but=r"\b(?:train\w*|he|she|patient|treat\w*|surgery|legal|court|teach\w*|report|log)\b"),
    Topic(r"^(?:and )?what(?:s| is| are) (?:the|your) (?:scale|range|levels?)$", facts.scale),
    Topic(r"\bscore(?: of)? [0-4](?:\.\d)? mean|\bmeans? a score of|(?:what does|explain|how does) " + THE +
          r"(?:score|scale|number) (?:mean|work)|\bscore\b.* what it means|what (?:does|do) " + THE + r"scores? mean",
          facts.scale),
    Topic(r"(?:what(?:s| is| was)?|give(?: me)?|tell(?: me)?|show(?: me)?|how (?:high|good) is|and)? ?" + THE +
          r"scores?(?: for| of)?(?: " + THE + r"(?:scan|study|picture|image))?|what score did it get|quality grade"
          r"|(?:what is |whats )?the number", facts.score, True),
    Topic(r"\b(?:in |with )?(?:just )?one word\b|^(?:is (?:it|this(?: image)?) )?good or bad$", facts.one_word),
    Topic(r"(?:what(?:s| is| was)?|give(?: me)?|tell(?: me)?)? ?" + THE + r"verdict(?: then)?", facts.verdict, True),
    Topic(r"\b(?:thresholds?|cut-?offs?|limits?|bounds?|borders?) (?:for|of|between) " + THE +
          r"(?:verdicts?|reject\w*|usable|good)\b|\bdifference between (?:good|usable|reject)\b"
          r"|\bwhat (?:does|do you mean by) (?:good|usable|reject(?:ed)?)(?: mean)?$"
          r"|\bmeaning of (?:good|usable|reject)$|\bwhen (?:is|do you|would you) .*\breject", facts.limits),
    Topic(r"\b(?:probability|chance|likelihood|percent\w*|odds|how likely)\b.*\breject", facts.chance),
    Topic(r"\b(?:90 ?%? )?(?:confidence )?interval\b|^(?:and )?how (?:sure|confident|certain"
          r"|reliable) (?:are you|is (?:it|that|"
          + THE + r"(?:score|number|result|judge?ment|verdict|assessment)))\b|\bhow (?:certain|sure|reliable) is your\b"
          r"|\buncertaint(?:y|ies)\b of " + THE + r"score|\bpercentage are you sure|\berror bars?\b"
          r"|\byour assessment (?:is|be) wrong|\bmake you change your mind\b"
          r"|^is (?:this|the|that) finding certain", facts.interval,
          but=r"\b(?:interval between|inter-slice|time interval|interval cancer|follow)"),
    Topic(r"\bpercentile\b|\b(?:better|worse|higher|lower) than (?:most|others|usual|normal|typical|the rest"
          r"|an? (?:usual|"
          r"typical|average|normal)|(?:the )?average)|\bcompared? (?:to|with) (?:others|other (?:images|scans)|the "
          r"(?:average|reference)|an? (?:typical|average|usual|normal) (?:\w+ )?(?:image|scan|picture|one|study)\b)"
          r"|\bhow does (?:it|this(?: image)?) (?:rank|compare)$", facts.rank),
    # what is asked about MedQ itself
    Topic(r"^(?:which|what)(?: is|s)? (?:the |your )?(?:software |model |program )?version\b|\bmodel version\b"
          r"|^(?:which|what) model (?:made|scored|was used|did you use)\b", itself.version),
    Topic(r"\bwere you trained\b|\byour training data\b|^what (?:data|images) (?:did you learn|have you seen)"
          r"|\b(?:use|keep|store)\b.*\b(?:my|our|this) (?:image|scan|data|picture)s? (?:for|to) train", itself.learnt),
    Topic(r"\bheat ?maps?\b.*\b(?:mean|show|reliable|accurate|trust|correct|right)\b"
          r"|\b(?:trust|rely on|read|interpret) " + THE + r"heat ?map\b", itself.heat_map),
    Topic(r"\b(?:radiologists?|readers?|experts?|humans?) (?:also )?(?:agree|think the same|score it|rate it)\b"
          r"|\bagree\w* with (?:a |the )?(?:radiologists?|human|readers?|experts?)\b", itself.readers),
    Topic(r"\bdifference (?:between|of|from)\b.*\b(?:meaningful|significant|real|relevant|matter)\b",
          itself.difference),
    Topic(r"\b(?:resiz|rescal|rotat|flipp?|mirror|padd|upsampl|enlarg)(?:e|ed|ing|s)?\b.*\b(?:score|result|verdict)\b",
          itself.reshaped),
    Topic(r"\b(?:burn(?:ed|t)-?in|text|markers?|labels?|annotations?|overlays?|letters)\b.*\b(?:score|result"
          r"|verdict)\b", itself.burned_in, but=r"\b(?:report|training|tell|say)\b"),
    Topic(r"\bfalse (?:alarms?|positives?|negatives?)\b|\bhow often are you (?:wrong|right)\b|\byour (?:accuracy"
          r"|error rate|sensitivity|specificity)\b|^how accurate are you\b", itself.wrong),
    Topic(r"^(?:is|are|do|does|can|will)\b.*\b(?:reports?|results?|assessment|output)\b.*\b(?:anonym\w+"
          r"|de-?identified|patients? (?:name|id|identity)|identif\w+|(?:personal|private) data)\b"
          r"|\bdo you (?:see|read|store|know) the patients? (?:name|identity)\b", itself.identity),
    Topic(r"^how (?:did you |do you |was |is |were |are )?(?:you )?(?:" + THE + r")?(?:\w+[ -]?){1,4}\b(?:measured?"
          r"|computed?|calculated?|determined?)$|^how (?:did|do) you (?:measure|compute|calculate|determine)\b",
          itself.method),
    Topic(r"\b(?:tag|header|field)\b.*\bmodality\b|^how (?:do|did) you (?:know|recogni[sz]e|tell)\b.*\b(?:modality|body"
          r" part|anatomy|organ|mr|ct|x-?ray)\b", itself.recognised),
    Topic(r"\b(?:better|worse) than (?:the )?(?:last|previous|prior|other|earlier|first|one before)\b", itself.single,
          but=r"\bothers\b"),
    Topic(r"\b(?:bullet points?|as bullets|bulleted|as a (?:list|table))\b", weighing.listed),
    Topic(r"\b(?:noise|sharpness|contrast|exposure|blur)\b.*\bor\b.*\b(?:noise|sharpness|contrast|exposure|blur)\b.*"
          r"\b(?:score|worse|verdict|problem)\b", weighing.between),
    Topic(r"\b(?:flag|reason|entry|text|sentence|line|note|comment|write)\b.*\b(?:qa|qc|quality|incident|error)[ -]"
          r"(?:log|report|form|book|record|system)\b", facts.summary),
    Topic(r"^who (?:has to|should|must|needs? to|can)\b.*\b(?:act|fix|change|repair|do)\b", facts.remedy,
          but=r"\b(?:surgery|operate|patient|treat\w*)\b"),
    Topic(r"\b(?:over|on|in|inside|within|near|touch\w*) (?:the |my |our )?(?:region of interest|roi"
          r"|area of interest)\b", facts.hidden),
    Topic(r"^(?:explain|describe|what is|whats)\b.*\b(?:causes?|physics)\b", facts.cause,
          but=r"\b(?:pain|symptoms?|bleeding|swelling|fever|death)\b"),
    Topic(r"\b(?:real|true|genuine)\b.*\bor (?:is it |is that )?(?:an? |just |only )*(?:artefact"
          r"|noise)\b", limits.real),
    Topic(r"\b(?:have been|be|been) (?:avoided|prevented)\b|\b(?:advice|tips?) (?:for|on) (?:the )?(?:next"
          r"|scan\w*|image|quality|operator)\b", facts.remedy,
          but=r"\b(?:treat\w*|medical|legal|exposure to)\b"),
    Topic(r"^what (?:would|should|do|shall|can|could) (?:you|i|we) (?:tell|say to|write to|reply to) (?:the |my |a )?"
          r"(?:\w+ )?(?:doctor|physician|clinician|colleague|boss|referrer|radiologist|surgeon)$", facts.summary),
    Topic(r"^(?:which|what) parts?\b.*\b(?:read|usable|used|trust\w*|reliable|fine|ok)\b"
          r"|\b(?:affect|cover|concern|spread)\w*\b.*\b(?:whole|entire)\b.*\b(?:image|picture|scan)\b", facts.place),
    Topic(r"^(?:is|was) (?:it|this|that) (?:the |my |our |your )?\w+ (?:fault|mistake|error)$", limits.blame),
    Topic(r"^(?:is|was|were) (?:it|this|that) (?:due to|because of|caused by|the patients? (?:size|fault|habitus))\b"
          r"|\bwrong (?:settings?|parameters?|protocol|technique|kernel|coil|sequence)\b", limits.blame),
    Topic(r"^how (?:would|could|can|do|should|to) (?:(?:you|i|we) )?(?:improve|increase|raise|get|reduce|lower"
          r"|decrease|fix) (?:" + THE + r")?(?:sharpness|contrast|noise|exposure)$|^what (?:limits|lowers|reduces|hurts"
          r"|affects) " + THE +
          r"(?:sharpness|contrast|noise|exposure)$", weighing.attribute),
    Topic(r"^(?:is|does|would|do|are|can)\b.*\b(?:acr|iec|aapm|nema|efomp|iso|european|national|official)\b.*"
          r"\b(?:standards?|criteria|requirements?|guidelines?|limits?)\b", limits.standard, but=r"\bappropriate\w*\b"),
    Topic(r"\bdose (?:is |was )?(?:too |high |low )?(?:low|high|ok|okay|enough|sufficient|right|adequate)\b|\b(?:enough"
          r"|too little|too much|sufficient) (?:dose|radiation)\b|\bis (?:that|it|this) (?:the |because of the "
          r"|due to the )?dose$", limits.dose),
    Topic(r"\bhow (?:far|close|near)\b.*\b(?:good|usable|reject\w*|pass\w*)\b", limits.distance),
    Topic(r"\b(?:score|number|value) (?:is |do i |would be |does it )?(?:needed|required|necessary|need)\b.*"
          r"\b(?:good|usable|pass|accepted?)\b", facts.limits),
    Topic(r"\bkeywords?\b", weighing.keywords),
    Topic(r"^(?:is|are|how)\b.*\b(?:finding|artefact|problem|this|that|it)s?\b.* ?\b(?:common|rare|frequent|unusual)$",
          limits.frequency),
    Topic(r"\b(?:confidence|certainty) (?:of|in|for) " + THE + r"(?:\w+ )?" + FINDINGS + r"\b", weighing.confidences),
    Topic(r"^(?:can|could|would|will|please)? ?(?:you )?(?:please )?(?:mark|outline|circle|highlight|point (?:to|at)"
          r"|show) (?:me )?(?:it|them|where it is|the " + FINDINGS + r")(?: (?:in|on) the image)?$", itself.marked),
    Topic(r"^(?:would|could|does|do|will|can) (?:an? |the |more )?(?:\w+ )?(?:\w+ )?(?:scan|dose|time|coil|protocol"
          r"|kernel|sequence|exposure|averag\w+|contrast (?:medium|agent|media)|filter|grid) (?:have )?(?:help\w*"
          r"|improved?|made|make|fix|fixed|be better|been better)\b|^should i average\b", limits.helping),
    Topic(r"\bexposure (?:is |was )?(?:too (?:low|high|much|little)|right|correct|ok|okay"
          r"|adequate)\b", weighing.attribute),
    Topic(r"\b(?:position(?:ed|ing)|position the patient)\b.*\b(?:correct\w*|right|good|wrong\w*|ok|well|proper\w*)$",
          limits.positioned),
    Topic(r"^(?:grade|rate|score) (?:the |this |my )?(?:image|scan|picture|it)\b", facts.scale),
    Topic(r"^(?:what|which|whats)\b.*\b(?:second|next) (?:most |biggest |worst )?(?:\w+ "
          r")?" + FINDINGS + "$", weighing.ranking),
    Topic(r"^how (?:large|big|wide|much)\b.*\b(?:affected|area|region|artefact)\b|^is the (?:left|right|upper|lower|top"
          r"|bottom|middle)\b.*\b(?:ok|okay|fine|good|usable|affected)$", facts.place, but=r"\b(?:lesion|mass"
          r"|nodule)\b"),
    Topic(r"^should (?:i|we|they) use (?:a|an|the|another|more|less) \w+(?: \w+)?$", limits.helping),
    Topic(r"\b(?:sharp|clear|crisp) enough (?:for|to)\b", facts.fitness, but=r"\b(?:fracture|acute|call it|line)\b"),
    Topic(r"\b(?:same|as good)(?: quality)? as (?:a |the )?(?:normal|typical|usual|average|other)\b", facts.rank),
    Topic(r"\bany hope for (?:this|the) (?:image|scan|picture)\b", weighing.treatment),
    Topic(r"\b(?:make|get|bring|push) (?:the |its )?score (?:go )?(?:up|higher|better)\b", facts.remedy),
    Topic(r"\b(?:note|message|feedback|comment|sentence) (?:to|for) (?:the |our |my )?(?:radiologist|doctor|reader"
          r"|physicist|referrer|colleague)s?$", facts.summary),
    # what weighs the findings: before "would", "should" and numbers are read as asking for a setting
    Topic(r"\b(?:rank|order|sort|prioriti[sz]e)\b (?:all )?" + THE + FINDINGS, weighing.ranking),
    Topic(r"^(?:which|what)\b.*\b" + FINDINGS + r"\b.*\b(?:matters?|counts?|weighs?|important|serious|(?:most|more)"
          r" severe)\b|^(?:which|what)(?: is|s)? (?:the |your )?(?:main|biggest|worst|most \w+) " + FINDINGS + "$",
          weighing.foremost, but=r"\b(?:slices?|patholog\w+|clinical\w*|abnormal\w*|medical)\b"),
    Topic(r"\bsomething (?:else|other) than (?:what )?you\b|\b(?:finding|artefact|noise|blur|streaks?) be (?:mistaken"
          r"|(?:something|anything) else)\b|\bother explanations? for (?:the|this|that|your|it) ?" + FINDINGS +
          r"?$|\byou (?:have )?(?:mistaken?|mistook|confused?)\b", weighing.resembling),
    Topic(r"\bseverit(?:y|ies)\b.*\b(?:mean|scale|defined|range|[0-4](?:\.\d)?)\b|\b(?:scale|range|definition) of "
          + THE + r"severit|^what (?:does|do you mean by) (?:mild|moderate|severe)(?: mean)?$", weighing.severity),
    Topic(r"\bif\b.*\b(?:fix|solve|remove|correct|repair)\w*\b.*\bscore|\bscore\b.*\b(?:without (?:the|this|that|it)\b"
          r"|after (?:fix|correct|repair|remov|restor)\w*|if (?:i|we|you|the|it|there)\b.*\b(?:fix|remov|gone|solv"
          r"|correct|repair|was not|wasnt|were not|werent|were no|was no)\w*)", weighing.foretold),
    Topic(r"\b(?:window(?:ing)?|window level)\b.*\b(?:help|better|change|matter|affect|improve|influence|score)\b"
          r"|\b(?:change|adjust\w*|another|other|different)\b.*\bwindow(?:ing)?\b", weighing.windowed,
          but=r"\btime window\b"),
    Topic(r"\bfindings?\b.*\b(?:independent|related|connected|(?:same|common) cause)\b|\b(?:is|are) (?:one|they|these)"
          r" (?:\w+ )*(?:the )?(?:cause|result|consequence) of (?:the|an|each) ?other\b", weighing.related),
    Topic(r"^(?:what|how|describe|show)\b.*\b(?:perfect|ideal|flawless)\b", weighing.perfect),
    Topic(r"^(?:what|can|could|should|would|if|does|will)\b.*\bcrop(?:ped|ping|s)?\b", weighing.cropped),
    Topic(r"^(?:which|what) (?:\w+ )?(?:parameters?|settings?)\b.*\b(?:change|adjust|tweak|optimi[sz]e)\b",
          facts.remedy),
    Topic(r"\b(?:can|could|does|will|would) (?:(?:the|your|a) )?(?:restor\w+|software)(?: \w+)?"
          r" (?:fix|help|remove|improve|repair|correct)\b|^(?:can|could|will|would|is)\b.*\b(?:fix|repair|correct|remov"
          r"|improv|restor|rescu|clean|salvag)\w*\b.*\b(?:post-?process\w*|software|afterwards|filter\w*|algorithms?)\b"
          r"|^(?:would|can|could|will) post-?processing\b", weighing.treatment),
    Topic(r"\b(?:lower|reduce|cut|halve|less|decrease)\w* " + THE + r"(?:radiation |ct )?dose\b", facts.less_dose,
          but=r"\bnoise\b.*\bdose noise"),
    Topic(r"\b(?:raise|increase|lower|reduce|higher|more|less|would|should|by how much)\b", facts.advice),
    Topic(r"\b(?:gate|threshold|limit|cut-?off|criterion|minimum|score|above|below|over|under|at least|pass\w*"
          r"|reach\w*|meet)\b.* [0-4](?:\.\d+)?(?: (?:of|out of) 4)?$", limits.against,
          but=r"\b(?:mm|cm|hu|ms|mas?|kvp?|mgy|t|tesla|db|slices?|findings?|mean|if|what|add|plus)\b"),
    Topic(r"\b(?:whole|all|entire|complete|everything|anything)\b.*\b(?:anatomy|organ|covered|field of view|fov|cut off"
          r"|in the (?:image|picture))\b(?! worst)|\bfield of view (?:complete|large enough)\b", limits.covered,
          but=r"\b(?:noise|artefacts?|wrong|fault|find)\b"),
    Topic(r"\bmean and (?:standard deviation|sd)\b|\bnumbers you (?:used|measured)\b|^(?:what|which) evidence\b"
          r".*\b(?:did you measure|(?:do|did) you (?:have|use|find)$|is (?:it|this|that) based on$)", facts.numbers),
    Topic(r".*", facts.measured),
    Topic(r"^(?:give|show|tell|what are|list)?(?: me| us)?(?: all)? ?(?:the |your )?(?:numbers?|measurements"
          r"|measured values|metrics)"
          r"(?: behind it)?$|^(?:what|which) (?:did you measure|(?:else )?was measured|(?:measurements|numbers|values)"
          r" (?:are|stand|lie|were|did you)\b)", facts.numbers),
    Topic(r".*", facts.setting),
    Topic(r"\b(?:list|name|enumerate)\b.*\b(?:findings?|problems?|artefacts?|degradations?|issues?|defects?"
          r"|everything you"
          r" found)\b|^how many (?:of (?:the |these |your )?)?(?:findings|problems|artefacts|degradations|issues"
          r"|defects)|^list everything", facts.listing,
          but=r"\b(?:types|able|patholog\w+|clinical|medical|differential|abnormal\w*)\b"),
    Topic(r"\b(?:which|what|whats|the)\b.*\b(?:slices?|frames?)\b.*\b(?:worst|best|poorest|bad|trust)\b"
          r"|\b(?:worst|best|poorest) (?:slice|frame)\b", facts.slices),
    Topic(r"\b(?:missing|lost) slices?\b|\bslices? (?:are |is )?(?:missing|lost)\b|\bslices? .*\bmissing$"
          r"|\b(?:any|the|what) warnings?\b|^warnings?$|\bis (?:it|the (?:series|volume"
          r"|stack)) complete$", facts.warnings),
    Topic(r"\b(?:tell|say to|inform|instruct|advise) " + PEOPLE + r"\b|\b(?:should|can|could|must) " + PEOPLE +
          r" (?:do|chn?ange|improve)|\b" + PEOPLE + r" (?:should|could|can) (?:do|change)", facts.remedy,
          but=r"\bpatient has|diagnos"),
    Topic(r"^(?:should|shld|must|do|does|would|shall|is)\b.*\b(?:repeat(?:ed)?|rescan(?:ned)?|retake"
          r"|redo)\b(?: " + THE +
          r"(?:scan|image|study|sequence|exam|acquisition|pt|patient|it))?|^(?:repeat|rescan|retake|redo)(?: it)?$"
          r"|\bi (?:need to |have to )?come (?:back|again)$",
          facts.repeat, but=r"\b(?:biops\w+|psa|test\w*|troponin|culture|blood|mammogram|screening|year\w*"
          r"|weeks?|months?"
          r"|next time|better|how|ecg|lab|follow|treatment|surgery|dilation|contrast|dose|healing|drug)\b"),
    Topic(r"^(?:please |can you )?(?:summari[sz]e(?: (?:it|this|that|the (?:result|assessment|quality)))?"
          r"|sum (?:it )?up|tldr|in short|in brief|(?:one sentence )?summary)(?: (?:in|with) (?:one|a|two"
          r"|few) sentences?)?$", facts.summary),
    Topic(rf"\b(?:note|message|feedback|e-?mail|report) (?:to|for) {PEOPLE}\b", facts.summary),
    Topic(r"^(?:and |but |so )?(?:does|do|is|could|can|will|would)\b.*\b(?:artefact\w*|noise|motion|streaks?|it"
          r"|blur|implants?)\b.*\b(?:hide|hides|hiding|obscure|mask|cover|spoil\w*|ruin\w*|disturb\w*|allow)\b"
          r"|\b(?:does|do|will) the \w+ (?:allow|permit) (?:it|that|this)\b",
          facts.hidden, but=r"\b(?:tumou?r|cancer|disease|ask|find)\b"),
    Topic(r"\bgood enough (?:for|to) (?!.*\brepaired)|\b(?:can|could) (?:i|we) (?:still )?(?:see|measure|look for) .*\b"
          r"(?:mm|nodules?|microcalc\w*|here|on this|in th\w*s?)\b|\bgood enough to\b|^(?:so )?(?:is )?(?:it|this)"
          r"(?: image| scan)? (?:is )?(?:of )?diagnostic\b|\bfit for \w+ ?\w*$", facts.fitness,
          but=r"\b(?:repaired|surgery|drive|he|she|patient|operate|fleischner|f/u|diagnos\w+ of|tell me)\b"),
    Topic(r"\bwrong (?:body part|organ|anatomy|modality)\b|^(?:which|what) (?:body part|organ|anatomy|modality"
          r"|part of the body)"
          rf"\b|^is (?:it|this) (?:a |an |the )?(?:{ORGAN})(?: or (?:a |an |the )?(?:{ORGAN}))?$"
          rf"|^are you sure (?:it|this|that)"
          rf"(?: is|s) (?:a |an |the )?(?:{ORGAN})\b", facts.anatomy, but=r"\b(?:affected|involved|tissue)\b"),
    Topic(r"^(?:(?:is|are) there (?:any |an |a |some )?|any )[\w-]+(?: [\w-]+)?(?: (?:in it|in (?:it|this"
          r"|the)(?: image)?|here|present|visible))?$", facts.presence, but=r"\b(?:or|and|else|other|artefacts?)\b"),
    Topic(r"^(?:and |but |so )?why (?:is (?:it|the score) )?not (?:even )?(?:lower|worse)\b"
          r"|^whats? (?:is )?good about\b|^(?:what are )?(?:the |its )?strengths$|^anything good\b", facts.strengths),
    Topic(r"\bworst (?:region|area|part|spot|place|location)\b|\b(?:left|right|upper|lower|top|bottom) (?:side"
          r"|half|part) "
          r"(?:worse|better)\b|^is the (?:upper|lower|left|right)(?: left| right)? (?:\w+ )?affected", facts.place),
    Topic(r"\b(?:usual|typical|likely|common) (?:causes?|reasons?) (?:of|for) (?:this|that|it|these|them)\b"
          r"|\b(?:scanner|machine|coil|tube|detector|probe|equipment) (?:\w+ )?(?:broken|defect\w*|faulty|damaged"
          r"|at fault)\b", facts.cause, but=r"\b(?:lesion|mass|pain|swelling|shadow|fluid)\b"),
    Topic(r"\b(?:says?|said|thinks?|claims?)\b.* (?:agree|right|correct|true)$", facts.presence),
    Topic(r"^what window\b|\bcontrast agent help|^(?:which|what) (?:scanner|vendor|coil|software"
          r"|machine) (?:was|took|made)\b|\bmsv too (?:much|high)\b",
          facts.unknown),
    Topic(r"^(?:explain|describe|tell|say|put|give|in)\b.*\b(?:(?:simple|plain|easy|laymans?) (?:words|english|language"
          r"|terms)|as if i (?:was|were) a|(?:to|for|like) (?:a (?:patient|layman|child|beginner)"
          r"|(?:the |a |his |her )?(?:patients )?(?:family|relatives|parents)))\b", limits.simply),
    Topic(r"^(?:tell me )?(?:what|waht|wat)s?(?: is)? w?rong(?: (?:with|in|on) (?:it|this|that|the)"
          r"(?: image| scan| picture| one)?)?$", facts.instead),
    # what the rows above leave: to these the model answers with the verdict whatever was asked
    Topic(r"^where (?:(?:in|on) (?:the|this) (?:image|picture|scan) )?(?:is|are) (?:it|they|the (?:artefacts?|noise"
          r"|blur)) (?:the )?worst$", facts.place),
    Topic(r"^how (?:severe|bad|strong) (?:is|are) (?:the|this|that) (?:\w+ )?(?:artefacts?|findings?|noise|blur)\b",
          limits.degree),
    Topic(rf"^(?:is|was|did|could) (?:it )?.*\b(?:machine|detector|monitor|patient or|{PEOPLE})\b"
          r".*\b(?:wrong|spoil\w*|problem|or|fault|mistake)\b|^did i move\b"
          r"|\b(?:hardware|operator|technical|human|user) (?:fault|error|mistake|failure|problem)s?\b", limits.blame),
    Topic(r"\bhow (?:was|is|do you) " + THE + r"(?:score|verdict) (?:computed|made|calculated)|\bheader or\b"
          r"|\bonly the pixels\b", limits.made),
    Topic(r"\bnot (?:known|check\w*)\b|\bcould(?:nt| not)? you (?:not )?(?:check|measure)|\btolerance\b"
          r"|\bfindings? (?:could|may|might) be wrong\b", limits.unchecked),
    Topic(r"\brestor\w+\b.*\b(?:change|bring|safe|diagnostic|read)\b|\bread the restored\b", weighing.treatment),
    Topic(r"^(?:is|can|could|should|would|leave|keep|exclude|use)\b.* "
          r"(?:training set|reader study|radiomics|segmentation|acceptance|gate)\b",
          facts.fitness, but=r"\b(?:he|she|thin|because)\b"),
    Topic(r"^(?:so|anything else|what else|and now|what now)$", facts.instead, True),
)  # fmt: skip
# a question of few words goes on from the answer before: what it asks for of the same findings
FOLLOW_UPS: tuple[Topic, ...] = (
    Topic(
        r"(?:why|how come|where from|why (?:does|did) (?:that|it|this) happen|why (?:that|this) one)",
        weighing.why,
        True,
    ),
    Topic(r"how (?:much|bad|severe|strong)(?: is (?:it|that))?|is (?:that|it) (?:a lot|much|bad)", limits.degree, True),
    Topic(r"(?:which side|where(?: exactly)?|in which part)", facts.place, True),
    Topic(r"(?:can|could) (?:it|that|this) be (?:repaired|fixed|corrected|restored)", weighing.treatment, True),
    Topic(r"what (?:should|can|could) (?:we|i) do(?: differently| better)?", facts.remedy, True),
    Topic(r"why not (?:more|surer|higher)", facts.interval, True),
)
POLITE = re.compile(
    r"^(?:(?:please|pls|and|so|but|could you|can you|would you|well|then|now) )+|(?: (?:please|pls|then|now))+$"
)


# what is asked of a finding comes before what is asked of the image: the table knows no second finding
AHEAD = (forms.told, objection.told, suppose.told, figures.told, aspects.told)
LET_IN = (
    objection.let_in,
    aspects.usable,
    figures.let_in,
    aspects.let_in,
)  # of any words, once scope.py has let the question pass


def told(assessment: Assessment, question: str, history: Sequence[tuple[str, str]] = ()) -> str:
    """The answer to a question of the table, "" for any other. The assessment must be assessable."""
    asked = plain(question)
    if CLINICAL.search(asked) or len(asked.split()) > LONGEST:
        return ""
    bare = POLITE.sub("", asked)
    case = Case(assessment, asked, history)
    rows = (*(FOLLOW_UPS if history else ()), *(Topic("", tell) for tell in AHEAD), *TOPICS)
    for topic in rows:
        if topic.whole:
            hit = re.fullmatch(topic.pattern, bare) or re.fullmatch(topic.pattern, asked)
        else:
            hit = re.search(topic.pattern, bare)
        if hit and not re.search(topic.but, asked) and (answer := topic.answer(case)):
            return polished(answer)
    return ""


def let_in(assessment: Assessment, question: str, history: Sequence[tuple[str, str]] = ()) -> str:
    """The answer to a question that is known to be about quality, "" where the model has to answer."""
    case = Case(assessment, plain(question), history)
    return polished(next((answer for tell in LET_IN if (answer := tell(case))), ""))


def foreign(question: str) -> bool:
    """Whether a question is in another language than English, by its script or its commonest words."""
    letters = [char for char in question if char.isalpha()]
    if sum(ord(char) > LATIN for char in letters) * 2 > len(letters) > 0:  # Cyrillic, Arabic, Chinese ...
        return True
    words = plain(question).split()
    strange = sum(word in FOREIGN for word in words)
    return strange >= 2 and strange > sum(word in ENGLISH for word in words)
