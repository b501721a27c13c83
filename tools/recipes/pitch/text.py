"""Things to say: sentences drawn from small word lists, for speech whose words do not matter."""

from __future__ import annotations

import numpy as np

_SUBJECTS = [
    "the old captain",
    "a young doctor",
    "my neighbour",
    "our teacher",
    "the quiet engineer",
    "every passenger",
    "the judge",
    "one of them",
    "her older brother",
    "nobody in the village",
    "the woman by the window",
    "a stranger",
    "the whole family",
    "his little daughter",
    "the new driver",
    "an honest lawyer",
    "the choir",
    "each of the farmers",
    "the boy with the yellow hat",
    "someone upstairs",
]
_VERBS = [
    "wanted to see",
    "had never heard of",
    "was looking for",
    "carefully repaired",
    "could not remember",
    "quickly sold",
    "finally understood",
    "would rather avoid",
    "often talked about",
    "was afraid of",
    "gave away",
    "is going to measure",
    "kept asking about",
    "pulled out",
    "painted over",
    "chose",
    "waited an hour for",
    "argued about",
    "laughed at",
    "threw away",
]
_OBJECTS = [
    "the broken bicycle",
    "a bowl of warm soup",
    "those five green bottles",
    "the longest river in the country",
    "an unusual piece of music",
    "the letter from Vienna",
    "the weather in July",
    "a very large onion",
    "both of the keys",
    "the price of the journey",
    "that noisy machine",
    "a house with a view of the harbour",
    "twelve jars of honey",
    "the question of the day",
    "an umbrella",
    "the missing page",
    "her favourite question",
    "the yellow moon",
    "a thousand reasons",
    "the theory of numbers",
]
_ENDINGS = [
    "",
    "yesterday evening",
    "before anyone arrived",
    "in the middle of the night",
    "without saying why",
    "for nearly thirty years",
    "while the rain was falling",
    "as far as we know",
    "on the way to the station",
    "although it was too late",
    "again and again",
    "because of the fog",
    "until the bell rang",
    "with both hands",
    "under the bridge",
]
_QUESTIONS = [
    "Are you really sure about that?",
    "Why did nobody tell me?",
    "How much would it cost?",
    "Where is the nearest pharmacy?",
    "Oh no, not again!",
    "Well, what do you think?",
    "Come here, quickly!",
    "Wow, that is amazing!",
    "Do we have to go now?",
    "Mm, I am not so sure.",
    "Hello? Is anybody there?",
    "Yes, of course, why not?",
    "Hey, wait for me!",
    "No. Never.",
]

_KANA_SUBJECTS = [
    "わたしは",
    "あなたは",
    "あのひとは",
    "せんせいは",
    "いもうとが",
    "となりのいえの犬が",
    "だれかが",
    "みんなが",
    "むらのひとは",
]
_KANA_OBJECTS = [
    "あたらしい本を",
    "おおきな船を",
    "あおい海を",
    "ふるい歌を",
    "おいしいりんごを",
    "とおい山を",
    "てがみを",
    "にわの花を",
    "ゆめの話を",
    "でんしゃの音を",
]
_KANA_VERBS = [
    "ゆっくり読みました。",
    "よろこんで見ています。",
    "まだおぼえています。",
    "きのう買いました。",
    "どうしても忘れません。",
    "いつも聞いています。",
    "さがしているのですか\uff1f",
    "あしたも待っています。",
    "もう知っていますよ\uff01",
]


def english(rng: np.random.Generator) -> str:
    """One or two English sentences, 3 to 9 s of speech."""
    subject, verb, thing, ending = (str(rng.choice(words)) for words in (_SUBJECTS, _VERBS, _OBJECTS, _ENDINGS))
    sentence = f"{subject} {verb} {thing} {ending}".strip().capitalize() + "."
    return f"{sentence} {rng.choice(_QUESTIONS)}" if rng.random() < 0.4 else sentence


def japanese(rng: np.random.Generator) -> str:
    """One or two Japanese sentences, 3 to 7 s of speech."""
    count = 1 + int(rng.random() < 0.5)
    parts = (_KANA_SUBJECTS, _KANA_OBJECTS, _KANA_VERBS)
    return "".join(str(rng.choice(words)) for _ in range(count) for words in parts)
