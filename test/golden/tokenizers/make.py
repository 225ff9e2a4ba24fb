"""
Makes cases.json: what transformers 4.57 makes of tokenizer folders, one setting changed at a time, and wordpiece/ and
bytelevel/, the small vocabularies that some of them begin with.

  python make.py            with transformers 4.57: writes cases.json
  python make.py compare    with transformers 5: adds to each case where that version differs

A case: the folder it begins with, then what is changed in which file (a path into the JSON and its new value, null in
place of the change to delete), and the ids of all texts, whole and cut to 7 (`error`: transformers refuses the folder).
"""
import copy, json, os, pathlib, shutil, sys, tempfile
os.environ["HF_HUB_OFFLINE"] = "1"
import transformers
from transformers import AutoTokenizer
transformers.logging.set_verbosity_error()

HERE = pathlib.Path(__file__).parent
BASES = {
    "xlmr": HERE.parent / "model",
    "wordpiece": HERE / "wordpiece",
    "bytelevel": HERE / "bytelevel",
}
FILES = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "sentencepiece.bpe.model", "vocab.txt", "vocab.json", "merges.txt", "config.json"]

TEXTS = [
    "", " ", "Hello world", "  two  spaces at each   place  ", "was ist dawntune? Ein Schraubendreher!",
    "dawntune", "xdawntunex", "DAWNTUNE Dawntune dawntune's", "a <mask> b", "a<mask>b  <mask>  c", "a [MASK] b", "[MASK][SEP]x [CLS]",
    "<s> x </s> <pad> <unk>", "Äpfel über Straße, CAFÉ naïve", "ÄPFEL".lower().upper(), "e\u0301tude \u1e9b\u0323",
    "東京に行きます。 中文字", "한국어 \u1112\u1161\u11ab", "don't stop; it's 12,345.67", "tab\tnew\nline\r\nend", "\u00a0nbsp\u3000ideographic",
    "مرحبا بالعالم", "नमस्ते दुनिया", "ไทย", "emoji 👍🏽 👩‍👩‍👧", "▁mark a▁b ▁", "ﬁ ﬀ ① ½", "İstanbul ΣΊΣΥΦΟΣ", "x\u00ady \u200b z\ufeff",
    "\u0000\u0001 control\u0007", "ঽ\u09fd \u2e43 a\u0afeb \u1886", "the quick brown fox jumps over the lazy dog and runs away from the hunter",
    "<new> <new>\u0020<new>", "foofoo foo, foo", "  FOO bar  foo ", "foo  bar\tfoo",
]

def token(content, **flags):
    return {"content": content, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": False} | flags

def added(id, content, **flags):
    return {"id": id} | token(content, **flags)

def typed(content, **flags):
    return {"__type": "AddedToken"} | token(content, **flags)

C, T, S, A, M = "tokenizer_config.json", "tokenizer.json", "special_tokens_map.json", "added_tokens.json", "config.json"
sp_only = {T: None}
PRECOMPILED = "KEEP"  # stands for the base's own Precompiled normalizer
sp = lambda **k: {"type": "Sequence", "normalizers": [*k["steps"]]}
strip_replace = [{"type": "Strip", "strip_left": False, "strip_right": True}, {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"}]
meta = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}

def cases():
    x, w, b = "xlmr", "wordpiece", "bytelevel"
    yield "as it is", x, {}
    yield "sentencepiece only", x, sp_only
    yield "sentencepiece only, no settings", x, {T: None, C: None, S: None}
    yield "no settings", x, {C: None, S: None}
    yield "no settings, config.json names the class", x, {C: None, S: None, M: {"tokenizer_class": "XLMRobertaTokenizer"}}
    yield "added_tokens.json, sentencepiece only", x, {T: None, A: {"dawntune": 4000, "Schraubendreher": 4001}}
    yield "added_tokens.json beside tokenizer.json", x, {A: {"dawntune": 4000, "Schraubendreher": 4001}}
    yield "added_tokens.json in the other order", x, {A: {"Schraubendreher": 4001, "dawntune": 4000}}
    yield "added_tokens.json with a hole", x, {A: {"dawntune": 4000, "Schraubendreher": 4005}}
    yield "added_tokens.json far beyond", x, {A: {"dawntune": 4000000000}}
    yield "added_tokens.json of the vocabulary", x, {A: {"<mask>": 3999}}
    yield "added_tokens.json of the vocabulary, other id", x, {A: {"▁die": 3999}}
    yield "added_tokens.json, word of the vocabulary", x, {A: {"world": 4000}}
    yield "added_tokens.json, special", x, {A: {"dawntune": 4000}, S: {"additional_special_tokens": ["dawntune"]}}
    yield "added_tokens.json and a decoder", x, {A: {"dawntune": 4000}, C: {"added_tokens_decoder": {"4000": token("foo")}}}
    for flags in [{}, {"lstrip": True}, {"rstrip": True}, {"normalized": True}, {"single_word": True}, {"special": True}, {"special": True, "normalized": True}, {"lstrip": True, "rstrip": True, "normalized": True}]:
        yield f"added_tokens_decoder {flags}", x, {C: {"added_tokens_decoder": {"4000": token("dawntune", **flags), "4001": token("foo", **flags)}}}
        yield f"wordpiece added_tokens_decoder {flags}", w, {C: {"added_tokens_decoder": {"300": token("dawntune", **flags), "20": token("foo", **flags)}}}
    yield "added_tokens_decoder without the flags", x, {C: {"added_tokens_decoder": {"4000": {"content": "dawntune"}}}}
    yield "added_tokens_decoder, normalized uppercase", w, {C: {"added_tokens_decoder": {"300": token("FOO x", normalized=True), "301": token("DawnTune"), "302": token("dâwn", normalized=True)}}}
    yield "added_tokens_decoder of known tokens, other flags", x, {C: {"added_tokens_decoder": {"0": token("<s>", special=True), "3999": token("<mask>", special=True)}}}
    yield "added_tokens_decoder of known tokens, mask not special", x, {C: {"added_tokens_decoder": {"3999": token("<mask>", lstrip=True, rstrip=True, normalized=True)}}}
    yield "added_tokens_decoder, wrong ids", x, {C: {"added_tokens_decoder": {"5000": token("dawntune")}}}
    yield "added_tokens_decoder with a string", x, {C: {"added_tokens_decoder": {"4000": "dawntune"}}}
    yield "added_tokens_decoder hides special_tokens_map.json", x, {C: {"added_tokens_decoder": {"4000": token("dawntune")}}, S: {"additional_special_tokens": ["foo"]}}
    yield "added_tokens_decoder of a piece", x, {C: {"added_tokens_decoder": {"88": token("▁was"), "2336": token("▁world", normalized=True)}}}
    yield "added_tokens_decoder, sentencepiece only", x, {T: None, C: {"added_tokens_decoder": {"4000": token("dawntune"), "4001": token("foo", normalized=True, lstrip=True)}}}
    yield "added_tokens_decoder, sentencepiece only, all of it", x, {T: None, C: {"added_tokens_decoder": {str(i): token(c, special=True, lstrip=c == "<mask>") for i, c in [(0, "<s>"), (1, "<pad>"), (2, "</s>"), (3, "<unk>"), (3999, "<mask>"), (4000, "dawntune")]}}}
    yield "additional_special_tokens", x, {C: {"additional_special_tokens": ["dawntune", "foo"]}}
    yield "additional_special_tokens as objects", x, {C: {"additional_special_tokens": [typed("dawntune", lstrip=True), "foo"]}}
    yield "additional_special_tokens, untyped objects", x, {C: {"additional_special_tokens": [token("dawntune")]}}
    yield "additional_special_tokens in the map", x, {S: {"additional_special_tokens": ["dawntune", token("foo", rstrip=True)]}}
    yield "additional_special_tokens in both", x, {C: {"additional_special_tokens": ["dawntune"]}, S: {"additional_special_tokens": ["foo"]}}
    yield "additional_special_tokens is no list", x, {C: {"additional_special_tokens": "dawntune"}}
    yield "additional_special_tokens, sentencepiece only", x, {T: None, C: {"additional_special_tokens": ["dawntune"]}}
    yield "extra_special_tokens", x, {C: {"extra_special_tokens": {"image_token": "foo"}}}
    yield "extra_special_tokens as a list", x, {C: {"extra_special_tokens": ["foo"]}}
    yield "another cls_token", x, {C: {"cls_token": "<new>"}, S: None}
    yield "another mask_token", x, {C: {"mask_token": "<new>"}, S: None}
    yield "another mask_token in the map", x, {S: {"mask_token": "<new>"}}
    yield "a mask_token of another kind in the map", x, {S: {"mask_token": token("<mask>")}}
    yield "another mask_token as an object", x, {C: {"mask_token": typed("<new>", rstrip=True)}, S: None}
    yield "mask_token as an untyped object", x, {C: {"mask_token": token("<new>")}, S: None}
    yield "another pad_token", x, {C: {"pad_token": "foo"}, S: None}
    yield "bos_token null", x, {C: {"bos_token": None}, S: None}
    yield "cls_token null", x, {C: {"cls_token": None}, S: None}
    yield "cls_token a number", x, {C: {"cls_token": 5}, S: None}
    yield "another sep_token, sentencepiece only", x, {T: None, C: {"sep_token": "<new>"}, S: None}
    yield "another unk_token", x, {C: {"unk_token": "foo"}, S: None}
    yield "wordpiece, another unk_token", w, {C: {"unk_token": "foo"}}
    yield "wordpiece, another cls_token, vocab.txt", w, {T: None, C: {"cls_token": "foo"}}
    yield "truncation_side left", x, {C: {"truncation_side": "left"}}
    yield "truncation_side middle", x, {C: {"truncation_side": "middle"}}
    yield "truncation_side left, wordpiece", w, {C: {"truncation_side": "left"}}
    yield "padding_side left", x, {C: {"padding_side": "left"}}
    yield "padding_side middle", x, {C: {"padding_side": "middle"}}
    yield "truncation block", x, {T: {"truncation": {"direction": "Left", "max_length": 5, "strategy": "LongestFirst", "stride": 1}}}
    yield "truncation block against the settings", x, {T: {"truncation": {"direction": "Left", "max_length": 5, "strategy": "LongestFirst", "stride": 0}}, C: {"truncation_side": "right"}}
    yield "padding block", x, {T: {"padding": {"strategy": {"Fixed": 12}, "direction": "Left", "pad_to_multiple_of": None, "pad_id": 1, "pad_type_id": 0, "pad_token": "<pad>"}}}
    yield "model_max_length 5", x, {C: {"model_max_length": 5}}
    yield "split_special_tokens", x, {C: {"split_special_tokens": True}}
    yield "split_special_tokens, wordpiece", w, {C: {"split_special_tokens": True}}
    yield "from_slow", x, {C: {"from_slow": True}}
    yield "legacy false", x, {C: {"legacy": False}}
    yield "legacy false, sentencepiece only", x, {T: None, C: {"legacy": False}}
    yield "fix_mistral_regex", x, {C: {"fix_mistral_regex": True}}
    yield "add_prefix_space false", x, {C: {"add_prefix_space": False}}
    yield "add_prefix_space true", x, {C: {"add_prefix_space": True}}
    yield "add_prefix_space false, sentencepiece only", x, {T: None, C: {"add_prefix_space": False}}
    yield "add_prefix_space false in an old Metaspace", x, {T: {"pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "add_prefix_space": False}}}
    yield "add_prefix_space true in an old Metaspace", x, {T: {"pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}}}
    yield "prepend_scheme first", x, {T: {"pre_tokenizer": meta | {"prepend_scheme": "first"}}}
    yield "prepend_scheme never", x, {T: {"pre_tokenizer": meta | {"prepend_scheme": "never"}}}
    yield "metaspace without split", x, {T: {"pre_tokenizer": meta | {"split": False}}}
    yield "clean_up_tokenization_spaces", x, {C: {"clean_up_tokenization_spaces": True}}
    yield "do_lower_case, XLM-R", x, {C: {"do_lower_case": True}}
    yield "sp_model_kwargs", x, {C: {"sp_model_kwargs": {"enable_sampling": True, "nbest_size": -1, "alpha": 0.1}}}
    yield "sp_model_kwargs, sentencepiece only", x, {T: None, C: {"sp_model_kwargs": {"enable_sampling": True, "nbest_size": -1, "alpha": 0.1}}}
    yield "tokenizer_file null", x, {C: {"tokenizer_file": None}}
    yield "tokenizer_file null, added", x, {C: {"tokenizer_file": None}, A: {"dawntune": 4000}}
    yield "tokenizer_file elsewhere", x, {C: {"tokenizer_file": "/somewhere/tokenizer.json"}}
    yield "vocab_file elsewhere", x, {C: {"vocab_file": "/somewhere/sentencepiece.bpe.model"}}
    yield "fast_tokenizer_files", x, {C: {"fast_tokenizer_files": ["tokenizer.json", "tokenizer.4.0.0.json"]}}
    yield "fast_tokenizer_files, the plain one", x, {C: {"fast_tokenizer_files": ["tokenizer.json"]}}
    yield "an unknown key", x, {C: {"something": [1, {"a": None}]}}
    for name in ["XLMRobertaTokenizerFast", "PreTrainedTokenizerFast", "PreTrainedTokenizer", "BertTokenizer", "CamembertTokenizer", "RobertaTokenizer", "Unheard", "LlamaTokenizer", "T5Tokenizer", "BartphoTokenizer", "DistilBertTokenizer", "TokenizersBackend", "MPNetTokenizer", "XLMTokenizer"]:
        yield f"tokenizer_class {name}", x, {C: {"tokenizer_class": name}, S: None}
    for name in ["BertTokenizerFast", "PreTrainedTokenizerFast", "XLMRobertaTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "RobertaTokenizer", "MPNetTokenizer", "BertJapaneseTokenizer", "TokenizersBackend"]:
        yield f"wordpiece, tokenizer_class {name}", w, {C: {"tokenizer_class": name}}
    yield "tokenizer_class in config.json only", x, {C: {"tokenizer_class": "DELETE"}, M: {"tokenizer_class": "PreTrainedTokenizerFast"}}
    yield "bert model, XLM-R's files, no class", x, {C: None, S: None, M: {"model_type": "bert"}}
    yield "added_tokens_decoder empty", x, {C: {"added_tokens_decoder": {}}}
    yield "added_tokens_decoder null", x, {C: {"added_tokens_decoder": None}}
    yield "added_tokens_decoder, a name that is no id", x, {C: {"added_tokens_decoder": {"x": token("dawntune")}}}
    yield "added_tokens_decoder, a flag that is a number", x, {C: {"added_tokens_decoder": {"4000": token("dawntune", lstrip=1)}}}
    yield "added_tokens_decoder, out of order", x, {C: {"added_tokens_decoder": {"4001": token("dawntune"), "4000": token("foo")}}}
    yield "added_tokens_decoder, two that overlap", x, {C: {"added_tokens_decoder": {"4000": token("tune"), "4001": token("dawn", normalized=True), "4002": token("wntu", normalized=True)}}}
    yield "added_tokens_decoder, spaces within", x, {C: {"added_tokens_decoder": {"4000": token("was ist", normalized=True), "4001": token("ist dawn"), "4002": token("foo bar")}}}
    yield "added_tokens_decoder, single words", x, {C: {"added_tokens_decoder": {"4000": token("Hello", single_word=True), "4001": token("👩", single_word=True), "337": token("ist", single_word=True, lstrip=True, rstrip=True), "4002": token("دن", single_word=True)}}}
    yield "added_tokens_decoder, accents", w, {C: {"added_tokens_decoder": {"176": token("é", normalized=True), "190": token("É"), "300": token("naïve", normalized=True, single_word=True)}}}
    yield "added_tokens_decoder, nothing after normalisation", w, {C: {"added_tokens_decoder": {"300": token("\u0301", normalized=True)}}}
    yield "added_tokens.json empty", x, {A: {}}
    yield "added_tokens.json, an id that is a text", x, {A: {"dawntune": "4000"}}
    yield "added_tokens.json, normalised", w, {A: {"DawnTune": 300, "Was": 301}}
    yield "special_tokens_map, wordpiece mask with flags", w, {S: {"mask_token": token("[MASK]", lstrip=True, rstrip=True, normalized=True)}}
    yield "special_tokens_map, wordpiece unk_token", w, {S: {"unk_token": "foo"}}
    yield "special_tokens_map, typed", x, {S: {"pad_token": typed("<pad>", rstrip=True)}}
    yield "special_tokens_map, a number", x, {S: {"pad_token": 1}}
    yield "special_tokens_map null", x, {S: {"pad_token": None, "additional_special_tokens": None}}
    yield "cls_token empty", x, {C: {"cls_token": ""}, S: None}
    yield "additional_special_tokens null", x, {C: {"additional_special_tokens": None}}
    yield "additional_special_tokens twice", x, {C: {"additional_special_tokens": ["foo", "foo", "<mask>", "dawntune"]}}
    yield "additional_special_tokens empty text", x, {C: {"additional_special_tokens": ["", "foo"]}}
    yield "additional_special_tokens with a number", x, {C: {"additional_special_tokens": [5]}}
    yield "bos_token other than cls_token", x, {C: {"bos_token": "<pad>"}, S: None}
    yield "eos_token null", x, {C: {"eos_token": None}, S: None}
    yield "truncation_side null", x, {C: {"truncation_side": None}}
    yield "split_special_tokens a text", x, {C: {"split_special_tokens": "yes"}}
    yield "model_max_length beyond", x, {C: {"model_max_length": 1000000000000000019884624838656}}
    yield "max_len", x, {C: {"model_max_length": "DELETE", "max_len": 5}}
    yield "tokenizer_class null", x, {C: {"tokenizer_class": None}}
    yield "tokenizer_class a number", x, {C: {"tokenizer_class": 5}}
    yield "clean_text and wordpieces_prefix, wordpiece", w, {C: {"clean_text": False, "wordpieces_prefix": "@@"}}
    yield "do_lower_case a text", w, {C: {"do_lower_case": "no"}}
    yield "keep_accents", x, {C: {"keep_accents": True, "remove_space": False}}
    # tokenizer.json itself
    yield "version 2", x, {T: {"version": "2.0"}}
    yield "a member of no meaning", x, {T: {"something": 1}}
    yield "truncation in no direction", x, {T: {"truncation": {"direction": "Up", "max_length": 5, "strategy": "LongestFirst", "stride": 0}}}
    yield "padding left", x, {T: {"padding": {"strategy": "BatchLongest", "direction": "Left", "pad_to_multiple_of": None, "pad_id": 1, "pad_type_id": 0, "pad_token": "<pad>"}}}
    yield "padding token of its own, generic class", x, {S: None, C: {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "DELETE"}, T: {"padding": {"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None, "pad_id": 1, "pad_type_id": 0, "pad_token": "foo"}}}
    yield "an added token without a flag", x, {T: {"added_tokens.5": {"id": 4000, "content": "foo", "special": False}}}
    yield "added tokens in the JSON, the special one again", x, {T: {"added_tokens.5": added(3999, "<mask>", lstrip=True, rstrip=True, normalized=True)}}
    yield "added tokens in the JSON, out of order", x, {T: {"added_tokens.5": added(4001, "foo"), "added_tokens.6": added(4000, "dawntune")}}
    yield "added tokens that are the same after normalisation", w, {T: {"added_tokens.5": added(300, "Dawntune", normalized=True), "added_tokens.6": added(301, "DAWNTUNE", normalized=True)}}
    yield "normalizers StripAccents after NFD", x, {T: {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"}, PRECOMPILED]}}}
    yield "normalizer Prepend", x, {T: {"normalizer": {"type": "Sequence", "normalizers": [PRECOMPILED, {"type": "Prepend", "prepend": "▁"}]}}}
    yield "Replace of spaces", x, {T: {"normalizer": {"type": "Sequence", "normalizers": [PRECOMPILED, {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "}]}}}
    yield "Replace of a text", x, {T: {"normalizer": {"type": "Sequence", "normalizers": [PRECOMPILED, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}}}
    yield "byte_fallback null", x, {T: {"model.byte_fallback": None}}
    yield "a score that is a text", x, {T: {"model.vocab.5": ["x", "y"]}}
    yield "a piece twice", x, {T: {"model.vocab.5": ["▁die", -1.0]}}
    yield "pre_tokenizer Metaspace only", x, {T: {"pre_tokenizer": meta}}
    yield "as BGE-M3 is", x, {T: {"normalizer": {"type": "Sequence", "normalizers": [PRECOMPILED, *strip_replace]}, "pre_tokenizer": meta}}
    yield "normalizer Lowercase first", x, {T: {"normalizer": {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, PRECOMPILED]}}}
    yield "normalizers of every kind", x, {T: {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Strip", "strip_left": True, "strip_right": False}, {"type": "Replace", "pattern": {"String": "a"}, "content": "o"}, {"type": "Prepend", "prepend": "x"}, {"type": "Nmt"}, {"type": "NFC"}]}}}
    yield "normalizers NFD, Lowercase", x, {T: {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "Lowercase"}]}}}
    yield "normalizer NFKC", x, {T: {"normalizer": {"type": "NFKC"}}}
    yield "normalizer null", x, {T: {"normalizer": None}}
    yield "pre_tokenizer null", x, {T: {"pre_tokenizer": None}}
    yield "post_processor null", x, {T: {"post_processor": None}}
    yield "normalizer toString", x, {T: {"normalizer": {"type": "toString"}}}
    yield "Replace of a published pattern", x, {T: {"normalizer": {"type": "Sequence", "normalizers": [PRECOMPILED, {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]}}}
    yield "Replace of another pattern", x, {T: {"normalizer": {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": " "}}}
    yield "pre_tokenizers of every kind", x, {T: {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}, {"type": "Punctuation", "behavior": "Isolated"}, {"type": "Digits", "individual_digits": True}, meta]}}}
    yield "template of another order", x, {T: {"post_processor.single": [{"SpecialToken": {"id": "</s>", "type_id": 0}}, {"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]}}
    yield "template with ids beyond the vocabulary", x, {T: {"post_processor.special_tokens.</s>.ids": [5000]}}
    yield "template without the text", x, {T: {"post_processor.single": [{"SpecialToken": {"id": "</s>", "type_id": 0}}]}}
    yield "template with the text twice", x, {T: {"post_processor.single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]}}
    yield "template with several ids", x, {T: {"post_processor.special_tokens.</s>.ids": [2, 1], "post_processor.special_tokens.</s>.tokens": ["</s>", "<pad>"]}}
    yield "RobertaProcessing", x, {T: {"post_processor": {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0], "trim_offsets": True, "add_prefix_space": True}}}
    yield "BertProcessing", x, {T: {"post_processor": {"type": "BertProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0]}}}
    yield "processors in a row", x, {T: {"post_processor": {"type": "Sequence", "processors": [{"type": "BertProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0]}, {"type": "RobertaProcessing", "sep": ["<pad>", 1], "cls": ["<unk>", 3], "trim_offsets": True, "add_prefix_space": True}]}}}
    yield "an added token in the JSON", x, {T: {"added_tokens.5": added(4000, "dawntune", normalized=True)}}
    yield "an added token in the JSON, other id", x, {T: {"added_tokens.5": added(4005, "dawntune")}}
    yield "an added token in the JSON, far beyond", x, {T: {"added_tokens.5": added(4000000000, "dawntune")}}
    yield "an added token in the JSON, known piece", x, {T: {"added_tokens.5": added(88, "▁was")}}
    yield "an added token in the JSON, negative id", x, {T: {"added_tokens.5": added(-1, "dawntune")}}
    yield "added tokens in the JSON twice", x, {T: {"added_tokens.5": added(4000, "dawntune"), "added_tokens.6": added(4000, "dawntune", lstrip=True)}}
    yield "added tokens that overlap", x, {T: {"added_tokens.5": added(4000, "foo"), "added_tokens.6": added(4001, "foofoo"), "added_tokens.7": added(4002, "oo")}}
    yield "an added token that is empty", x, {T: {"added_tokens.5": added(4000, "")}}
    yield "an added token of spaces", x, {T: {"added_tokens.5": added(4000, "  ")}}
    yield "no added tokens", x, {T: {"added_tokens": []}}
    yield "no added tokens, no settings", x, {C: None, S: None, T: {"added_tokens": []}}
    yield "byte_fallback", x, {T: {"model.byte_fallback": True}}
    yield "unk_id null", x, {T: {"model.unk_id": None}}
    yield "unk_id another", x, {T: {"model.unk_id": 4}}
    yield "unk_id beyond", x, {T: {"model.unk_id": 4000}}
    # WordPiece
    yield "wordpiece", w, {}
    yield "wordpiece, vocab.txt only", w, {T: None}
    yield "wordpiece, vocab.txt only, no settings", w, {T: None, C: None}
    yield "wordpiece, vocab.txt only, cased", w, {T: None, C: {"do_lower_case": False}}
    yield "wordpiece, vocab.txt only, accents", w, {T: None, C: {"strip_accents": False}}
    yield "wordpiece, vocab.txt only, never_split", w, {T: None, C: {"never_split": ["foo"]}}
    yield "wordpiece, vocab.txt only, do_basic_tokenize", w, {T: None, C: {"do_basic_tokenize": False}}
    yield "wordpiece, vocab.txt only, added", w, {T: None, A: {"dawntune": 300}}
    yield "wordpiece, no settings", w, {C: None}
    for lower in [True, False, None]:
        for accents in [True, False, None]:
            for chinese in [True, False]:
                yield f"do_lower_case {lower}, strip_accents {accents}, tokenize_chinese_chars {chinese}", w, {C: {"do_lower_case": lower, "strip_accents": accents, "tokenize_chinese_chars": chinese}}
    yield "normaliser cased against the settings", w, {T: {"normalizer.lowercase": False}}
    yield "normaliser without cleaning", w, {T: {"normalizer.clean_text": False}}
    yield "normaliser cased, generic class", w, {T: {"normalizer.lowercase": False}, C: {"tokenizer_class": "PreTrainedTokenizerFast"}}
    yield "do_lower_case, generic class", w, {C: {"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": False}}
    yield "wordpiece normalizer null", w, {T: {"normalizer": None}}
    yield "wordpiece normalizer in a sequence", w, {T: {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": False}]}}}
    yield "wordpiece normalizer Lowercase", w, {T: {"normalizer": {"type": "Lowercase"}}}
    yield "wordpiece normalizer NFC", w, {T: {"normalizer": {"type": "NFC"}}}
    yield "max_input_chars_per_word", w, {T: {"model.max_input_chars_per_word": 4}}
    yield "continuing_subword_prefix", w, {T: {"model.continuing_subword_prefix": ""}}
    yield "wordpiece unk_token missing", w, {T: {"model.unk_token": "<none>"}}
    yield "wordpiece pre_tokenizer Whitespace", w, {T: {"pre_tokenizer": {"type": "Whitespace"}}}
    yield "wordpiece pre_tokenizer WhitespaceSplit", w, {T: {"pre_tokenizer": {"type": "WhitespaceSplit"}}}
    yield "wordpiece pre_tokenizer null", w, {T: {"pre_tokenizer": None}}
    # Byte-level BPE
    yield "bytelevel", b, {}
    yield "bytelevel, add_prefix_space", b, {C: {"add_prefix_space": True}}
    yield "bytelevel, add_prefix_space in the JSON only", b, {T: {"pre_tokenizer.add_prefix_space": True}}
    yield "bytelevel, vocab.json and merges.txt only", b, {T: None}
    yield "bytelevel, generic class", b, {C: {"tokenizer_class": "PreTrainedTokenizerFast"}}
    yield "bytelevel, generic class, prefix", b, {T: {"pre_tokenizer.add_prefix_space": True}, C: {"tokenizer_class": "PreTrainedTokenizerFast"}}

def at(value, path, new):
    *head, last = path.split(".")
    for part in head:
        value = value[int(part)] if isinstance(value, list) else value[part]
    if isinstance(value, list):
        value[int(last):int(last) + 1] = [new]
    else:
        value[last] = new

def resolve(value, precompiled):
    if value == PRECOMPILED: return precompiled
    if isinstance(value, list): return [resolve(v, precompiled) for v in value]
    if isinstance(value, dict): return {k: resolve(v, precompiled) for k, v in value.items()}
    return value

def build(folder, base, changes):
    for name in FILES:
        if (BASES[base] / name).exists(): shutil.copy(BASES[base] / name, folder / name)
    for name, change in changes.items():
        file = folder / name
        if change is None:
            file.unlink(missing_ok=True)
            continue
        content = json.loads(file.read_text()) if file.exists() else {}
        precompiled = copy.deepcopy(content.get("normalizer"))
        for path, new in change.items():
            if new == "DELETE": content.pop(path)
            elif name == T: at(content, path, resolve(new, precompiled))
            else: content[path] = new
        file.write_text(json.dumps(content, ensure_ascii=False))

def ids_of(base, changes):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        build(folder, base, changes)
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder)
            whole = [tokenizer(text)["input_ids"] for text in TEXTS]
            cut = [tokenizer(text, truncation=True, max_length=7)["input_ids"] for text in TEXTS]
        except BaseException as error:
            return {"error": f"{type(error).__name__}: {error}".split("\n")[0][:120].replace(name, "")}
        return {"ids": [" ".join(map(str, row)) for row in whole], "cut": [" ".join(map(str, row)) for row in cut]}

def main():
    target = HERE / "cases.json"
    if sys.argv[1:] == ["compare"]:
        data = json.loads(target.read_text())
        for case in data["cases"]:
            found = ids_of(case["base"], case["changes"])
            known = expand(data, case)
            if "error" in case and "error" not in found:
                first = next(c for c in data["cases"] if c["base"] == case["base"])
                for key in ["ids", "cut"]:
                    case[f"{key}5"] = {str(i): row for i, row in enumerate(found[key]) if row != first[key][i]}
            case["transformers5"] = found["error"] if "error" in found else [] if "error" in case else [
                i for i in range(len(TEXTS)) if (found["ids"][i], found["cut"][i]) != (known["ids"][i], known["cut"][i])]
            print(case["name"], case["transformers5"])
    else:
        data = {"transformers": transformers.__version__, "texts": TEXTS, "cases": []}
        firsts = {}
        for name, base, changes in cases():
            case = {"name": name, "base": base, "changes": changes}
            found = ids_of(base, changes)
            first = firsts.setdefault(base, found)
            # Only what differs from the first case of the same base is written out.
            if "error" in found or first is found: case |= found
            else:
                for key in ["ids", "cut"]:
                    case[key] = {str(i): row for i, row in enumerate(found[key]) if row != first[key][i]}
            data["cases"].append(case)
            print(name, found.get("error", "" if first is found or "error" in case else f"{len(case['ids'])} {len(case['cut'])} differ"))
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in data["cases"])
    head = json.dumps({k: v for k, v in data.items() if k != "cases"}, ensure_ascii=True)
    target.write_text(f"{head[:-1]}, \"cases\": [\n{lines}\n]}}\n")

def expand(data, case):
    if "error" in case or isinstance(case["ids"], list): return case
    first = next(c for c in data["cases"] if c["base"] == case["base"])
    return {key: [case[key].get(str(i), first[key][i]) for i in range(len(data["texts"]))] for key in ["ids", "cut"]}

main()
