"""The lines on which tokenizers are compared: written sentences, then deterministic mixes of their parts; the text of
a block of characters; the hash by which ids are compared."""

import re

SENTENCES = r"""
The quick brown fox jumps over the lazy dog; it didn't stop, and we'll see why they've left.
I'm sure you'd say IT'S, WE'RE, I'LL, HE'D, THEY'VE and Don'T are the same, aren't they? 'tis 'twas ’s ’re
Dr. Smith's e-mail (smith@example.org) was sent on 2024-02-29 at 23:59:59.999 UTC, cost $1,234,567.89 or 12 %.
À l'été, l'œuvre de Zoë coûtait déjà 3 € ; naïveté, garçon, Noël, où, çà et là.
Die Straße führt über Größe, Äpfel, Öl und Übermut; „Zitat“ – 1.000,50 € kosteten früher weniger.
El niño comió piñas y pingüinos en la cigüeña: ¿qué pasó? ¡Nada! Años después volvió.
O coração não esqueceu as lições de ação, pão, avó e avô; você também não.
Però la città è più bella così, perché l'università c'è già.
Zażółć gęślą jaźń. Pchnąć w tę łódź jeża lub ośm skrzyń fig.
Příliš žluťoučký kůň úpěl ďábelské ódy. Nechť již hříšné saxofony ďáblů rozezvučí síň.
Árvíztűrő tükörfúrógép, jó foxim és don Quijote húszwattos lámpánál ülve.
Pijamalı hasta yağız şoföre çabucak güvendi. İstanbul'da ılık ÇAY, IŞIK ve ağaç.
Flygande bäckasiner söka hwila på mjuka tuvor; blåbærsyltetøj og rødgrød med fløde, þú ætlar það.
Hyvää yötä! Törkylempijävongahdus, Õhtu jões, ģimene, ķīlis, ļoti, Šeši šąlantys žvirbliai.
Съешь же ещё этих мягких французских булок, да выпей чаю. Ёлки-палки, объём 5 м³.
Жебракують філософи при ґанку церкви в Гадячі, ще й шатро їхнє п'яне знаємо. Їжак, єнот.
Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. Ἐν ἀρχῇ ἦν ὁ λόγος, καὶ ὁ λόγος ἦν πρὸς τὸν θεόν.
דג סקרן שט בים מאוכזב ולפתע מצא חברה. שָׁלוֹם עֲלֵיכֶם וּבְרָכָה
نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر. السَّلَامُ عَلَيْكُمْ ١٢٣٤٥٦٧٨٩٠ ، ؟
ہر انسان آزاد پیدا ہوا ہے۔ گاؤں میں کیا ہے؟ پرندے می‌خواهم بنویسم ۱۲۳۴۵
ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश करने वाले विष्णुवतार। क़िला ज़रूर १२३
আমি বাংলায় গান গাই, আমি বাংলার গান গাই। কোথাও ড়াল ঢাকা য়াম ১২৩
யாமறிந்த மொழிகளிலே தமிழ்மொழி போல் இனிதாவது எங்கும் காணோம். கொண்டு போ ௧௨௩
తెలుగు భాష ద్రావిడ భాషా కుటుంబానికి చెందినది. ಕನ್ನಡ ಭಾಷೆ ಮೊದಲು. മലയാളം ഭാഷ കൊള്ളാം.
ગુજરાતી ભાષા, ਪੰਜਾਬੀ ਬੋਲੀ ਖ਼ੁਸ਼, ଓଡ଼ିଆ ଭାଷା, සිංහල භාෂාව ශ්‍රී ලංකා.
เป็นมนุษย์สุดประเสริฐเลิศคุณค่า กว่าบรรดาฝูงสัตว์เดรัจฉาน น้ำ ก็ ๑๒๓ ບໍ່ເປັນຫຍັງ ໑໒໓
မြန်မာဘာသာ စကား၊ ၁၂၃ ភាសាខ្មែរ ១២៣ བོད་ཡིག་གི་སྐད་ ༡༢༣ ᠮᠣᠩᠭᠣᠯ ᠬᠡᠯᠡ
我能吞下玻璃而不伤身体。「漢字」是一種文字，第１２３號：三百六十五天！龍龜鬱，𠮷野家𩸽。
いろはにほへと ちりぬるを。カタカナとひらがなが混在するテキスト、ｶﾀｶﾅ半角ガギグ。１０月２０日（水）
다람쥐 헌 쳇바퀴에 타고파. 키스의 고유조건은 입술끼리 만나야 하고 특별한 기술은 필요치 않다. ㄱㄴㄷ ㅏㅑ 각 가
ყველა ადამიანი იბადება თავისუფალი. Բոլոր մարդիկ ծնվում են ազատ: ሰው ሁሉ ነጻ ሆኖ ይወለዳል። ፩፪፫
Tất cả mọi người sinh ra đều được tự do, nhân phẩm và quyền lợi. Nghiêng nước nghiêng thành ở đâu?
ᚠᛇᚻ᛫ᛒᛦᚦ᛫ᚠᚱᚩᚠᚢᚱ 𐌼𐌰𐌲 𐌲𐌻𐌴𐍃 𝕋𝕙𝕚𝕤 𝖎𝖘 𝓂𝒶𝓉𝒽 𝟏𝟐𝟑 𝟘𝟙 Ⅳ ⅷ ½ ¾ ② ㉓ ㊿ ¹²³ ₄₅₆ 〇 〡 ↁ
👩‍👩‍👧‍👦 👨🏽‍💻 🏳️‍🌈 🇩🇪🇫🇷🇯🇵 👍🏿 ❤️‍🔥 1️⃣ #️⃣ 🧑🏻‍🤝‍🧑🏿 😀😃🤣 ☺️ ☺ 🏴󠁧󠁢󠁳󠁣󠁴󠁿 🫠🪿
Zo\u0308e cafe\u0301 A\u030a\u0323 a\u0323\u030a \u212b \u2126 \u1100\u1161\u11a8 \u0915\u093c \u0958 \ufb01 \uf900 \u0344 q\u0307\u0323 e\u0301\u0301 \u03b1\u0345\u0313
int main(int argc, char **argv) { return argc > 1 ? printf("%s\\n", argv[1]) : 0x1F; } /* c */ // 0b1010 1e-9
def f(x: int = 3, *args, **kw) -> dict[str, list[int]]:\n\tif x != 0 and not kw:\n\t    return {"k": [i**2 for i in range(x)]}\n\n\n    # end\r\n
for (let i = 0; i < n; ++i) { a[i] = b?.c ?? d; } const s = `tpl ${x}`; x === y && z !== w || !q;
SELECT id, COUNT(*) AS n FROM "t" WHERE a<>'it''s' AND b>=10 GROUP BY 1 HAVING n>5 ORDER BY n DESC;
<!DOCTYPE html>\n<html lang="en"><body class='x y'>&nbsp;&amp;<br/></body></html>\n\n
{"name": "get_weather", "arguments": {"city": "Zürich", "days": 7, "unit": null, "ok": true, "x": [1.5e3, -2]}}
#!/bin/sh\nset -eu; for f in *.c; do cc -O2 -o "${f%.c}" "$f" 2>&1 | tee log_$(date +%s).txt; done
https://www.example.com/path/to?a=1&b=two%20words#frag-ment_3 C:\\\\Windows\\\\System32 ~/.bashrc ../../x
$$\\int_{0}^{\\infty} e^{-x^2}\\,dx = \\frac{\\sqrt{\\pi}}{2}$$ ∀x∈ℝ: ⌈x⌉ ≠ −⌊−x⌋ ⇒ α∧β→γ ≈ 3.14159…
<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|endoftext|>
<|im_start|> <|im_start <|im_end|>> <<|im_end|> < |im_end|> <|IM_END|> |im_end|> <|endoftext|><|endoftext|>x
<think>\nHmm, 2+2 is 4.\n</think>\n\n4 <think></think> <thinking> <think <tool_call>{"a":1}</tool_call> @@ @@@ @@@@@
  leading, trailing  \n   two   three    four     \t\ttabs\t \t\r\n\r\n\n\n\n end
\u00a0nbsp\u00a0\u00a0x\u2003em\u2003\u2009thin\u3000全角\u3000\u3000 \u200bzwsp\u200b \ufeffbom \u180emvs \u0085nel\u2028ls\u2029ps\u1680ogham\u205f\u202fnn
\u0000nul\u0001\u0002\u0003\u0004\u0005\u0006\u0007\u0008\u000b\u000c\u000e\u0013\u0014\u0016\u001b[31m\u001c\u001d\u001e\u001f\u007f\u0080\u009f\u00ad
1 12 123 1234 12345 123456 1234567890 3.14 1,000 0xDEADBEEF 1e10 +49-170/123 192.168.0.1 ٣٤٥ 1½ 2² ⅣⅤ １２ 5th 3D
'S 'T 'RE 'VE 'M 'LL 'D 'ſ 'K 's't're've'm'll'd ''s '' ' 'x don''t l'l 'l 'r 'v'e \u2019s x's1 1's _'s 's_ 'sx 'll2
a.b,c;d:e!f?g"h'i(j)k[l]m{n}o<p>q/r\\\\s|t@u#v$w%x^y&z*0-1_2+3=4~5`6 ... !!! ??? --- === ### **bold** __init__ ->
aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
                                                                                                    x
CamelCaseIdentifierHTTPServerError2 snake_case_name_v3 SCREAMING_SNAKE kebab-case-name iPhone12Pro macOS10.15 x86_64
Internationalization, antidisestablishmentarianism, pneumonoultramicroscopicsilicovolcanoconiosis, and tokenization.
"""


ESCAPES = {"\\\\": "\\", "\\n": "\n", "\\r": "\r", "\\t": "\t"}


def unescape(s):
    return re.sub(r"\\u[0-9a-f]{4}|\\.", lambda m: ESCAPES.get(m[0]) or chr(int(m[0][2:], 16)), s)


class Lcg:
    """Our own generator, so that the lines never depend on a library's version."""

    def __init__(self, seed):
        self.state = seed

    def below(self, n):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 33) % n

    def of(self, items):
        return items[self.below(len(items))]


SPACES = [" "] * 12 + ["  ", "   ", "\n", "\n\n", "\r\n", "\t", " \n", "\n ", "\u00a0", "\u3000", "\u2003", "\u0085", "\u2028", ""]
MARKS = list("'’\".,;:!?-_/\\()[]{}<>@#$%^&*+=|~`") + ["'s", "'re", "'LL", "...", "<|im_end|>", "<|im_start|>", "<think>", "</think>", "@@", "<|"]
RANGES = [(0x00, 0x7F), (0x80, 0x24F), (0x250, 0x36F), (0x370, 0x52F), (0x590, 0x6FF), (0x900, 0xDFF), (0xE00, 0xFFF),
          (0x1100, 0x11FF), (0x1E00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x24FF), (0x2500, 0x27BF), (0x3000, 0x30FF),
          (0x3400, 0x9FFF), (0xA640, 0xABFF), (0xAC00, 0xD7A3), (0xF900, 0xFFFD), (0x10000, 0x10FFF), (0x11000, 0x12FFF),
          (0x16000, 0x18FFF), (0x1D100, 0x1D7FF), (0x1E000, 0x1EFFF), (0x1F000, 0x1FAFF), (0x20000, 0x323AF), (0xE0001, 0xE01EF)]


def mixed(rng, words):
    out = ""
    for _ in range(1 + rng.below(6)):
        kind = rng.below(16)
        if kind < 8:
            out += rng.of(words)
        elif kind < 10:
            out += str(rng.below(10 ** (1 + rng.below(7))))
        elif kind < 13:
            out += rng.of(MARKS)
        else:
            low, high = rng.of(RANGES)
            out += "".join(chr(low + rng.below(high - low + 1)) for _ in range(1 + rng.below(3)))
        out += rng.of(SPACES)
    return out


def corpus():
    sentences = [unescape(s) for s in SENTENCES[1:-1].split("\n")]
    words = sorted({w for s in sentences for w in s.split()})
    rng = Lcg(2024)
    lines = list(sentences)
    seen = set(lines)
    while len(lines) < 10400:
        line = mixed(rng, words)
        if line not in seen:
            seen.add(line)
            lines.append(line)
    return lines


def character_text(block):
    """Each character of the block after and before a letter, after a digit and a space, and doubled."""
    chars = [chr(c) for c in range(block * 1024, block * 1024 + 1024) if not 0xD800 <= c < 0xE000]
    return "".join(f"a{c}a1{c} {c}{c}\n" for c in chars)


def fnv(numbers):
    """FNV-1a over 32-bit numbers, folded to 24 bits."""
    h = 2166136261
    for n in numbers:
        for byte in n.to_bytes(4, "little"):
            h = (h ^ byte) * 16777619 % 2**32
    return f"{(h ^ h >> 24) & 0xFFFFFF:06x}"
