"""The languages of the demonstration: parts of sentences, and how each language puts them together."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Final

from pattern_stream.quick_dataclass import dataclass

Parts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Language:
    """A sentence is one of each of `parts`, with `space` between them and one of `ends` after them.

    The parts are so many and so long that a sentence has about as many bytes of UTF-8 in every language: databases in
    several languages can then be compared.
    """

    parts: tuple[Parts, ...]
    ends: Parts
    space: str = " "

    def make(self, chosen: random.Random, count: int) -> list[str]:
        """So many sentences."""
        return [self._sentence(chosen) for _ in range(count)]

    def _sentence(self, chosen: random.Random) -> str:
        parts = [chosen.choice(words) for words in self.parts]
        text = self.space.join(parts) + chosen.choice(self.ends)
        return text[0].upper() + text[1:]

    def join(self, sentences: list[str]) -> str:
        """Sentences as one paragraph."""
        return self.space.join(sentences)


PLAIN: Final = Language(
    (
        (
            "the heron by the weir", "Odalys", "our neighbour with the ladder", "the choir", "Bram from the bakery",
            "the tall clerk", "whoever left the umbrella", "the allotment committee", "Ingrid", "my brother's band",
            "the ferry crew", "the woman who tunes pianos", "Tomasz", "the night bus driver",
            "a very patient librarian", "the kids next door", "Señora Ibáñez", "the cartographer", "the repair café",
            "old Wendell",
        ),
        (
            "promised to mend", "forgot about", "keeps asking after", "drew a map of", "traded two jars of honey for",
            "wrote a short poem on", "measured twice and still misjudged", "rescued", "wants to borrow", "returned",
            "painted over", "put aside", "is quietly proud of", "will collect", "tripped over", "made a list about",
            "lost the receipt for", "took apart", "showed me", "cannot stop talking about",
        ),
        (
            "the green rowing boat", "a crate of winter pears", "the stubborn gate hinge", "that letter from Ghent",
            "the clock without hands", "three borrowed chairs", "the spare key to the greenhouse",
            "a half-knitted scarf", "the recipe with the burnt corner", "the lantern we used in October",
            "an accordion nobody plays", "the seed packets", "the crooked shelf", "a box of unlabelled slides",
            "the minutes of the last meeting", "the blue enamel kettle", "a jigsaw of the harbour", "the tax form",
            "the sourdough called Marguerite", "the 日記",
        ),
        (
            "before the rain came", "on the way to the dentist", "while the soup was still warm",
            "right after breakfast", "between two phone calls", "as soon as the shop opens",
            "for the third time this week", "without saying why", "when the light was already going",
            "during the long meeting", "after a good night's sleep", "at the last minute",
            "because nobody else would", "although it was not their turn", "and it took eleven minutes",
        ),
    ),
    (".", ".", ".", "!", ", I think.", ", as ever."),
)  # fmt: skip
"""English as people type it."""

ASCII: Final = replace(PLAIN, parts=tuple(tuple(filter(str.isascii, words)) for words in PLAIN.parts))

ENGLISH: Final = replace(
    PLAIN, ends=(*[".", ".", "!"] * 3, "…", " — I’m nearly sure.", ", as they’d say.", ": “never again”.", " – twice.")
)
"""English as models write it: curly quotes, dashes, ellipses."""

FRENCH: Final = Language(
    (
        (
            "la voisine à l’échelle", "le facteur zélé", "Hélène", "l’orchestre du théâtre", "un élève très rêveur",
            "la bibliothécaire", "le garçon d’à côté", "Noëlle", "l’équipe du marché", "mon frère aîné",
        ),
        (
            "a réparé", "a oublié", "réclame encore", "a dessiné", "voudrait emprunter", "a enfin rangé",
            "a peint en vert", "préfère garder", "a échangé contre du miel", "a égaré",
        ),
        (
            "la clé de la forêt", "un gâteau brûlé", "la boîte à thé", "les chaussures mouillées", "le vélo bleuâtre",
            "une lettre de Besançon", "la bouilloire émaillée", "trois chaises prêtées", "la fenêtre du grenier",
        ),
        (
            "avant la pluie", "dès l’aube", "sans dire où", "après le dîner", "à la dernière minute", "l’été passé",
            "pendant la réunion", "malgré le gel", "comme prévu",
        ),
    ),
    (".", ".", " !", "…", ", je crois.", " — c’est sûr.", ", « comme toujours »."),
)  # fmt: skip

RUSSIAN: Final = Language(
    (
        (
            "соседка с лестницей", "наш хор", "старый Ефим", "водитель автобуса", "Зоя", "мой брат", "почтальон",
            "учитель черчения", "та женщина", "библиотекарь",
        ),
        ("чинит", "ищет", "рисует", "просит", "прячет", "красит", "хвалит", "уносит", "разбирает", "берёт"),
        (
            "синий чайник", "ключ от сада", "ящик груш", "письмо из Пскова", "три стула", "кривую полку",
            "рецепт хлеба", "зелёную лодку", "старый фонарь", "счёт за свет",
        ),
        ("утром", "до дождя", "дважды", "опять", "весь день", "молча"),
    ),
    (".", ".", ".", "!", "…", ", да.", " — «как всегда»."),
)  # fmt: skip

ARABIC: Final = Language(
    (
        (
            "جارنا سليم", "ساعي البريد", "أمين المكتبة", "الخباز العجوز", "أخي الأكبر", "المعلم هاني", "سائق الحافلة",
            "الطبيب الشاب",
        ),
        ("نسي", "يبحث عن", "رسم", "أعاد", "يريد", "أصلح", "اشترى", "وجد", "كتب عن", "ترك"),
        (
            "الإبريق الأزرق", "مفتاح الحديقة", "رسالة من طنجة", "صندوق التفاح", "ثلاثة كراسي", "الساعة القديمة",
            "وصفة الخبز", "القارب الأخضر", "فانوس الشتاء",
        ),
        ("قبل المطر", "صباحًا", "بعد العشاء", "مرتين", "كعادته", "بهدوء"),
    ),
    (".", ".", ".", "!", "، كما أظن.", "، أليس كذلك؟", " — «كالعادة»."),
)  # fmt: skip

CHINESE: Final = Language(
    (
        (
            "隔壁的王老师", "修钟表的老人", "图书馆的小陈", "我哥哥的乐队", "面包店的阿姨", "夜班车司机",
            "楼下的孩子们", "邮递员", "合唱团",
        ),
        (
            "下雨之前", "吃完早饭以后", "在去看牙的路上", "趁着汤还热", "不知为什么", "开会的时候", "这星期第三次",
            "天快黑的时候",
        ),
        (
            "修好了", "又忘记了", "想借走", "画了一张图说明", "用两罐蜂蜜换来了", "悄悄收起了", "重新漆了", "一直在找",
        ),
        (
            "那只蓝色的搪瓷水壶", "温室的备用钥匙", "一箱冬天的梨", "从根特寄来的信", "三把借来的椅子", "歪了的书架",
            "没有指针的钟", "没人拉的手风琴",
        ),
    ),
    ("。", "。", "！", "……", "，大概吧。", "，说是“照旧”。"),
    "",
)  # fmt: skip

JAPANESE: Final = Language(
    (
        (
            "隣のおばあさんは", "図書館の人は", "パン屋の佐伯さんは", "兄のバンドは",
            "夜行バスの運転手は", "ピアノの調律師は", "合唱団は", "地図を描く人は",
        ),
        (
            "雨が降る前に", "朝ごはんのあとで", "歯医者へ行く途中で", "今週三度目に", "だれにも言わず",
            "会議のあいだに", "暗くなってから",
        ),
        (
            "青いヤカンを", "温室の合鍵を", "冬の梨をひと箱", "針のない時計を", "借りた椅子を三つ", "傾いた棚を",
            "古いランタンを", "レシピのメモを",
        ),
        (
            "直しました", "また忘れました", "借りたいそうです", "塗り直しました", "探しています", "片づけました",
            "返しました",
        ),
    ),
    ("。", "。", "！", "……", "、たぶん。", "、「いつも通り」と。"),
    "",
)  # fmt: skip

LANGUAGES: Final = {
    "ascii": ASCII, "english": ENGLISH, "french": FRENCH, "russian": RUSSIAN, "arabic": ARABIC, "chinese": CHINESE,
    "japanese": JAPANESE,
}  # fmt: skip
"""By name: ASCII alone, English with typographic signs, accented Latin, Cyrillic, Arabic, Chinese, Japanese."""

SHARES: Final = {"english": 70, "french": 9, "russian": 7, "arabic": 4, "chinese": 5, "japanese": 5}
"""Exchanges in each language, in percent."""

EMOJI: Final = ("🙂", "👍🏽", "👩‍💻", "🏳️‍🌈", "🇨🇭", "☕", "✅", "🧵", "🫖", "❤️", "✨", "👨‍👩‍👧")
