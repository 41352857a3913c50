// tokenizer_json, tokenizer_hf: what must be refused, each by name; what the files next to tokenizer.json decide.
#include "hf_folder.h"
#include "tokenizer_files.h"
#include "tokenizer_fixture.h"

// A small file that loads; a case replaces one part of it.
static const char GOOD[] =
    "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,"
    "\"added_tokens\":[{\"id\":0,\"content\":\"<unk>\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
    "\"normalized\":false,\"special\":true},{\"id\":6,\"content\":\"<end>\",\"special\":true,\"normalized\":false}],"
    "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":\"Prepend\",\"prepend\":\"_\"}"
    "]},"
    "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"first\",\"split\":true},"
    "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<end>\",\"type_id\":0}"
    "},"
    "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"pair\":[{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},"
    "{\"Sequence\":{\"id\":\"B\",\"type_id\":1}}],\"special_tokens\":{\"<end>\":{\"id\":\"<end>\",\"ids\":[6],"
    "\"tokens\":[\"<end>\"]}}},"
    "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},"
    "{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]},"
    "\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":\"<unk>\",\"continuing_subword_prefix\":null,"
    "\"end_of_word_suffix\":null,\"fuse_unk\":false,\"byte_fallback\":false,\"ignore_merges\":false,"
    "\"vocab\":{\"<unk>\":0,\"a\":1,\"b\":2,\"ab\":3,\"_\":4,\"c\":5},\"merges\":[\"a b\"]}}";

static char *with(const char *what, const char *by) {
    const char *hit = strstr(GOOD, what);
    if (!hit) fail_msg("the good file has no %s", what);
    StrBuf out = {0};
    str_add(&out, GOOD, (size_t)(hit - GOOD));
    str_puts(&out, by);
    str_puts(&out, hit + strlen(what));
    return out.data;
}

static void put_with(const char *what, const char *by) {
    char *text = with(what, by);
    folder_put("tokenizer.json", text);
    mem_free(text);
}

static void assert_refused(const char *part) {
    Tokenizer *t = NULL;
    Err err = {0};
    ASSERT_REFUSED(tokenizer_from_hf(&t, FOLDER, &err), &err, part);
    if (!strstr(err.msg, FOLDER)) fail_msg("\"%s\" does not name the folder", err.msg);
    assert_int_equal(err.kind, ERR_INPUT);
    assert_null(t);
}

typedef struct Case {
    const char *what, *by, *message;
} Case;

static void check_cases(const Case *cases, size_t n) {
    for (size_t i = 0; i < n; i++) {
        put_with(cases[i].what, cases[i].by);
        assert_refused(cases[i].message);
    }
    folder_put("tokenizer.json", GOOD); // what the cases break did load
    tokenizer_free(folder_tokenizer());
}

#define NFC "{\"type\":\"NFC\"}"
#define META "{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"first\",\"split\":true}"
#define FALLBACK "{\"type\":\"ByteFallback\"}"
#define SPLIT(rest) "{\"type\":\"Split\"," rest "}"

static void test_json_unknown_components_are_named(void **state) {
    (void)state;
    const Case cases[] = {
        {NFC, "{\"type\":\"Nmt\"}", "Lowercase, NFC"},
        {NFC, "{\"type\":3}", "normalizer: \"type\" is missing"},
        {NFC, "[]", "normalizer: found an array; expected an object"},
        {NFC, "{\"type\":\"NFC\",\"more\":1}", "normalizer NFC: key \"more\" is not known"},
        {META, "{\"type\":\"UnicodeScripts\"}", "pre_tokenizer \"UnicodeScripts\" is not supported"},
        {FALLBACK, "{\"type\":\"CTC\"}", "decoder \"CTC\" is not supported"},
        {"\"type\":\"TemplateProcessing\"", "\"type\":\"Foo\"", "post_processor \"Foo\" is not supported"},
        {"\"type\":\"BPE\"", "\"type\":\"Unigram\"", "model Unigram: key \"dropout\" is not known"},
        {"\"type\":\"BPE\"", "\"type\":\"WordLevel\"",
         "model \"WordLevel\" is not supported; known are BPE, Unigram and WordPiece"},
        {"\"model\":{", "\"model\":3,\"x\":{", "model: found an integer; expected an object"},
        {"\"model\":{", "\"mod\":{", "\"model\" is missing"},
        {"\"dropout\":null", "\"dropout\":0.1", "dropout is not supported"},
        {"\"end_of_word_suffix\":null", "\"end_of_word_suffix\":\"</w>\"", "end_of_word_suffix is not supported"},
        {"\"continuing_subword_prefix\":null", "\"continuing_subword_prefix\":\"##\"",
         "subword_prefix is not supported"},
        {"\"ignore_merges\"", "\"ignore_all\"", "key \"ignore_all\" is not known"},
    };
    check_cases(cases, sizeof cases / sizeof *cases);
}

static void test_json_bad_components_are_named(void **state) {
    (void)state;
    const Case cases[] = {
        {"\"first\"", "\"last\"", "prepend_scheme: found \"last\"; expected first, always or never"},
        {"\"replacement\":\"_\"", "\"replacement\":\"__\"", "expected one character"},
        {"\"prepend\":\"_\"", "\"prepend\":4", "prepend is 4; expected a string"},
        {META, SPLIT("\"pattern\":{\"Regex\":\"(\"},\"behavior\":\"Isolated\""), "regular expression \"(\""},
        {META, SPLIT("\"pattern\":{\"Regex\":\"\\\\p{Han}\"},\"behavior\":\"Isolated\""), "general categories"},
        {META, SPLIT("\"pattern\":{\"Regex\":\"\\\\h\"},\"behavior\":\"Isolated\""), "an escape is not supported"},
        {META, SPLIT("\"pattern\":{\"Regex\":\"\"},\"behavior\":\"Isolated\""), "pattern: found an empty one"},
        {META, SPLIT("\"pattern\":\"a\",\"behavior\":\"Isolated\""), "expected {\"String\""},
        {META, SPLIT("\"pattern\":{\"String\":\"a\"},\"behavior\":\"Gone\""), "behavior: found \"Gone\""},
        {META, SPLIT("\"pattern\":{\"String\":\"a\"},\"behavior\":\"Isolated\",\"invert\":1"),
         "invert is 1; expected true or false"},
        {META, "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"ByteLevel\"},{\"type\":\"Digits\"}]}",
         "pre_tokenizer Digits: follows ByteLevel"},
        {META, "{\"type\":\"Sequence\",\"pretokenizers\":7}", "pretokenizers is 7; expected an array"},
        {FALLBACK, "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"a\"},\"content\":\"\"}", "expected a String"},
        {"\"type\":\"Fuse\"},", "\"type\":\"Fuse\"},{\"type\":\"ByteFallback\"},", "follows Fuse"},
        {"\"stop\":0", "\"stop\":1", "stop 1; expected content \" \", stop 0"},
        {"\"start\":1", "\"start\":-1", "start is -1; expected an integer from 0 to"},
        {"\"id\":\"B\"", "\"id\":\"C\"", "found \"C\"; expected A or B"},
        {"\"ids\":[6]", "\"ids\":[7]", "found 7; expected a token id below 7"},
        {"\"special_tokens\":{\"<end>\"", "\"special_tokens\":{\"<eos>\"", "\"<end>\" has no ids"},
        {"{\"SpecialToken\":", "{\"Token\":", "single[0]: expected a Sequence or a SpecialToken"},
        {"\"type_id\":1", "\"type_id\":2", "type_id is 2; expected an integer from 0 to 1"},
    };
    check_cases(cases, sizeof cases / sizeof *cases);
}

#define MAP(base64) "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"" base64 "\"}"

#define FIVE "[\"a\",-1],[\"b\",-1],[\"ab\",-1.5],[\"_\",-2],[\"c\",-3]"
#define SIX "[\"<unk>\",0]," FIVE

// The model of GOOD from "model" on.
static void put_unigram(const char *rest) {
    AUTO_FREE char *text = mem_strdup(GOOD);
    char *model = strstr(text, "\"model\":");
    StrBuf out = {0};
    str_add(&out, text, (size_t)(model - text));
    str_printf(&out, "\"model\":{\"type\":\"Unigram\",%s}}", rest);
    folder_put("tokenizer.json", out.data);
    str_clear(&out);
}

static void test_json_bad_unigram_is_named(void **state) {
    (void)state;
    const Case maps[] = {
        {NFC, MAP(""), "a trie of 0 bytes in a table of 0"},
        {NFC, MAP("AAA"), "3 characters of base64"},
        {NFC, MAP("A*AA"), "character 1 is not base64"},
        {NFC, MAP("BAAAAA=="), "a trie of 4 bytes in a table of 4"},
        {NFC, MAP("BAAAAAAAAAD/"), "not valid UTF-8"},
        {NFC, "{\"type\":\"Precompiled\"}", "precompiled_charsmap"},
    };
    check_cases(maps, sizeof maps / sizeof *maps);
    static const struct {
        const char *model, *message;
    } cases[] = {
        {"\"vocab\":{\"a\":0},\"unk_id\":0", "expected an array"},
        {"\"vocab\":[" SIX "]", "unk_id"},
        {"\"vocab\":[" SIX "],\"unk_id\":null", "unk_id"},
        {"\"vocab\":[" SIX "],\"unk_id\":6", "unk_id"},
        {"\"vocab\":[[\"<unk>\",null]," FIVE "],\"unk_id\":0", "expected a finite score"},
        {"\"vocab\":[[\"a\"]],\"unk_id\":0", "expected [text, score]"},
        {"\"vocab\":[" SIX ",[\"a\",1]],\"unk_id\":0", "\"a\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put_unigram(cases[i].model);
        assert_refused(cases[i].message);
    }
}

// A trie whose first unit leads outside it: what needs it is refused, and nothing is read there.
static void test_json_broken_charsmap_refuses_texts(void **state) {
    (void)state;
    put_with(NFC, MAP("BAAAAAD///8A"));
    Tokenizer *t = folder_tokenizer();
    TokenIds ids = {0};
    Err err;
    tokenizer_encode(t, "ab", 2, NULL, false, &ids);
    ASSERT_REFUSED(token_ids_check(&ids, &err), &err, "precompiled_charsmap points outside itself");
    token_ids_clear(&ids);
    tokenizer_free(t);
}

static void test_json_bad_vocabularies_are_named(void **state) {
    (void)state;
    const Case cases[] = {
        {"\"c\":5", "\"c\":3", "tokens \"ab\" and \"c\" both have id 3"},
        {"\"c\":5", "\"c\":-1", "token \"c\": found id -1"},
        {"\"c\":5", "\"c\":1.5", "token \"c\": found id 1.5"},
        {"\"c\":5", "\"c\":9999999", "token \"c\": found id 9999999; expected 0 to"},
        {"\"c\":5", "\"a\":5", "key \"a\" twice"},
        {"\"c\":5", "\"\":5", "token 5 is empty"},
        {"\"vocab\":{", "\"vocab\":[],\"x\":{", "key \"x\" is not known"},
        {"\"unk_token\":\"<unk>\"", "\"unk_token\":\"<none>\"", "unk_token: \"<none>\" is not in the vocabulary"},
        {"\"a b\"", "\"a d\"", "merge 0 \"a d\": \"d\" is not in the vocabulary"},
        {"\"a b\"", "\"b a\"", "\"ba\" is not in the vocabulary"},
        {"\"a b\"", "\"ab\"", "merges[0]: found ab; expected \"left right\""},
        {"\"a b\"", "[\"a\"]", "merges[0]: found an array"},
        {"\"a b\"", "[\"a\",\"\"]", "merges[0]: found an array"},
        {"\"a b\"", "\"a b\",[\"a\",\"b\"]", "merges 0 and 1 are both \"a b\""},
        {"[\"a b\"]", "null", "merges is null; expected an array"},
        {"\"id\":6,\"content\":\"<end>\"", "\"id\":5,\"content\":\"<end>\"",
         "tokens \"c\" and \"<end>\" both have id 5"},
        {"\"id\":6,\"content\":\"<end>\"", "\"id\":6,\"content\":\"c\"", "tokens 5 and 6 are both \"c\""},
        {"\"id\":6,\"content\":\"<end>\"", "\"id\":6,\"content\":\"\"", "added_tokens[1]: content: found \"\""},
        {"\"id\":6,\"content\":\"<end>\"", "\"id\":6", "added_tokens[1]: content is missing; expected a string"},
        {"\"rstrip\":false", "\"rstrip\":\"no\"", "added_tokens[0]: rstrip is \"no\"; expected true or false"},
        {"\"added_tokens\":[", "\"added_tokens\":3,\"x\":[", "added_tokens: found an integer"},
    };
    check_cases(cases, sizeof cases / sizeof *cases);
}

// null in an optional key is absence, and a whole number may be a float.
static void test_json_null_is_absence(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"\"prepend_scheme\":\"first\"", "\"prepend_scheme\":null"},
        {"\"split\":true", "\"split\":null"},
        {META, "{\"type\":\"Punctuation\",\"behavior\":null}"},
        {NFC, "{\"type\":\"Strip\",\"strip_left\":null}"},
        {"\"type_id\":0", "\"type_id\":null"},
        {"\"start\":1", "\"start\":1.0"},
        {"\"ids\":[6]", "\"ids\":[6.0]"},
        {"\"id\":6,", "\"id\":6.0,"},
        {"\"c\":5", "\"c\":5.0"},
        {"\"unk_token\":\"<unk>\"", "\"unk_token\":null"},
        {"\"ignore_merges\":false", "\"ignore_merges\":null"},
        {"\"special\":true,\"normalized\":false", "\"special\":true,\"normalized\":null,\"lstrip\":null"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put_with(cases[i][0], cases[i][1]);
        Tokenizer *t = NULL;
        Err err;
        if (tokenizer_from_hf(&t, FOLDER, &err)) fail_msg("%s: %s", cases[i][1], err.msg);
        tokenizer_free(t);
    }
    folder_put("tokenizer.json", GOOD);
    folder_put("tokenizer_config.json", "{\"tokenizer_class\":null,\"bos_token\":null,\"add_bos_token\":null,"
                                        "\"chat_template\":null,\"model_max_length\":null}");
    folder_put("special_tokens_map.json", "{\"eos_token\":null,\"additional_special_tokens\":null}");
    folder_put("generation_config.json", "{\"eos_token_id\":null,\"pad_token_id\":null}");
    folder_put("config.json", "{\"eos_token_id\":[6.0]}");
    Tokenizer *t = folder_tokenizer();
    assert_int_equal(t->eos, 6);
    tokenizer_free(t);
}

static void test_json_deep_nesting_is_refused(void **state) {
    (void)state;
    StrBuf nested = {0};
    for (int i = 0; i < 100; i++) str_puts(&nested, "{\"type\":\"Sequence\",\"normalizers\":[");
    for (int i = 0; i < 100; i++) str_puts(&nested, "]}");
    put_with(NFC, nested.data);
    assert_refused("nesting deeper than 64");
    str_clear(&nested);
}

// Text never becomes a control token: such merges of a file are left out, and ids may have holes.
static void test_json_merges_never_make_control_tokens(void **state) {
    (void)state;
    put_with("\"id\":0,\"content\":\"<unk>\"", "\"id\":3,\"content\":\"ab\"");
    Tokenizer *t = folder_tokenizer();
    TokenIds ids = {0};
    tokenizer_encode(t, "ab", 2, NULL, false, &ids);
    for (size_t i = 0; i < ids.count; i++) assert_false(tokenizer_is_control(t, ids.ids[i]));
    ids.count = 0;
    tokenizer_encode(t, "ab", 2, NULL, true, &ids);
    assert_int_equal(ids.ids[ids.count - 1], 3);
    token_ids_clear(&ids);
    tokenizer_free(t);
}

static void test_json_ids_may_have_holes(void **state) {
    (void)state;
    put_with("\"c\":5", "\"c\":60");
    Tokenizer *t = folder_tokenizer();
    size_t len;
    assert_int_equal(t->vocab_size, 61);
    assert_int_equal(tokenizer_find(t, "c"), 60);
    assert_int_equal(tokenizer_find(t, "<end>"), 6);
    tokenizer_piece(t, 30, &len);
    assert_int_equal(len, 0);
    assert_false(tokenizer_is_control(t, 30));
    tokenizer_free(t);
    put_with("\"id\":6,\"content\":\"<end>\"", "\"id\":60,\"content\":\"<end>\"");
    assert_refused("token \"<end>\": found id 60; expected 6, which Hugging Face tokenizers gives it");
}

// ---- the files next to it ----

static void test_folder_alone(void **state) {
    (void)state;
    mkdir(FOLDER, 0777);
    assert_refused("no tokenizer.json");
    folder_put("tokenizer.model", "x");
    assert_refused("found tokenizer.model, but no tokenizer.json");
    folder_put("tokenizer.json", GOOD);
    Tokenizer *t = folder_tokenizer();
    assert_int_equal(t->vocab_size, 7);
    assert_int_equal(t->bos, 6); // the template's own
    assert_true(t->add_bos);
    assert_int_equal(t->eos, -1);
    assert_null(t->chat_template);
    tokenizer_free(t);
}

static void test_folder_of_gpt2(void **state) {
    (void)state;
    folder_put("vocab.json", "{\"a\":0,\"b\":1,\"ab\":2,\"\u0120\":3,\"<|endoftext|>\":4}");
    folder_put("merges.txt", "#version: 0.2\r\na b\r\n\n");
    assert_refused("found vocab.json and merges.txt of another model than GPT-2");
    folder_put("config.json", "{\"model_type\":\"gpt2\",\"eos_token_id\":4}");
    Tokenizer *t = folder_tokenizer();
    assert_int_equal(t->eos, 4);
    TokenIds ids = {0};
    const int32_t want[] = {2, 3, 0, 4};
    tokenizer_encode(t, "ab a<|endoftext|>", 17, NULL, true, &ids);
    assert_int_equal(ids.count, 4);
    assert_memory_equal(ids.ids, want, sizeof want);
    token_ids_clear(&ids);
    tokenizer_free(t);
    folder_put("merges.txt", "#version: 0.2\nab\n");
    assert_refused("merges[0]: found ab");
    folder_put("merges.txt", "\xFF");
    assert_refused("merges.txt is not valid UTF-8");
    folder_put("vocab.json", "{\"a\":0}");
    folder_put("merges.txt", "");
    assert_refused("no token <|endoftext|>");
}

static void test_folder_special_tokens_and_flags(void **state) {
    (void)state;
    folder_put("tokenizer.json", GOOD);
    folder_put("special_tokens_map.json", "{\"bos_token\":\"a\",\"eos_token\":\"b\",\"pad_token\":\"missing\"}");
    folder_put("tokenizer_config.json", "{\"bos_token\":{\"content\":\"<end>\"},\"eos_token\":\"c\","
                                        "\"add_bos_token\":false,\"add_eos_token\":true}");
    Tokenizer *t = folder_tokenizer();
    assert_int_equal(t->bos, 1); // without added_tokens_decoder the map goes first, as in transformers
    assert_int_equal(t->eos, 2);
    assert_int_equal(t->pad, 7);             // added
    assert_true(tokenizer_is_control(t, 2)); // named as special, so it is
    TokenIds ids = {0};
    tokenizer_encode_framed(t, "a", 1, true, &ids); // the flags beat the template
    assert_int_equal(ids.ids[0] == 6, false);
    assert_int_equal(ids.ids[ids.count - 1], 2);
    token_ids_clear(&ids);
    tokenizer_free(t);
    folder_put("tokenizer_config.json", "{\"bos_token\":{\"content\":\"<end>\"},\"added_tokens_decoder\":{}}");
    t = folder_tokenizer();
    assert_true(t->bos == 6 && t->eos == -1); // with it, the map is not read
    tokenizer_free(t);
    folder_put("tokenizer_config.json", "{\"add_bos_token\":\"yes\"}");
    assert_refused("tokenizer_config.json: add_bos_token is \"yes\"; expected true or false");
    folder_put("tokenizer_config.json", "[]");
    assert_refused("expected an object");
}

// The ids are those of transformers 5.24 (AutoTokenizer): of BERT's classes the flags of tokenizer_config.json count.
static void test_folder_flags_of_bert(void **state) {
    (void)state;
    static const struct {
        const char *config;
        int32_t ids[4];
    } cases[] = {{"\"BertTokenizer\"", {1, 8, 5, 6}},
                 {"\"BertTokenizer\",\"do_lower_case\":false", {2, 4, 5, 6}},
                 {"\"BertTokenizerFast\",\"strip_accents\":false", {1, 3, 5, 6}},
                 {"\"DistilBertTokenizer\",\"tokenize_chinese_chars\":false", {1, 8, 7}},
                 {"\"PreTrainedTokenizerFast\",\"do_lower_case\":false", {1, 8, 5, 6}},
                 {"\"BertTokenizer\",\"do_lower_case\":false,\"strip_accents\":true", {2, 0, 5, 6}}};
    static const char text[] = "HELLO H\u00e9 \u4e2d\u6587";
    folder_put(
        "tokenizer.json",
        "{\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":true,"
        "\"strip_accents\":null,\"lowercase\":true},\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"
        "\"decoder\":{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true},\"model\":{\"type\":\"WordPiece\","
        "\"unk_token\":\"[UNK]\",\"continuing_subword_prefix\":\"##\",\"max_input_chars_per_word\":100,"
        "\"vocab\":{\"[UNK]\":0,\"hello\":1,\"HELLO\":2,\"h\u00e9\":3,\"H\u00e9\":4,\"\u4e2d\":5,\"\u6587\":6,"
        "\"\u4e2d\u6587\":7,\"he\":8}}}");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *config = mem_printf("{\"tokenizer_class\":%s}", cases[i].config);
        folder_put("tokenizer_config.json", config);
        Tokenizer *t = folder_tokenizer();
        TokenIds ids = {0};
        tokenizer_encode(t, text, sizeof text - 1, NULL, false, &ids);
        assert_int_equal(ids.count, cases[i].ids[3] ? 4 : 3);
        assert_memory_equal(ids.ids, cases[i].ids, ids.count * sizeof *ids.ids);
        token_ids_clear(&ids);
        tokenizer_free(t);
        mem_free(config);
    }
}

static void test_folder_tokens_are_not_taken_apart(void **state) {
    (void)state;
    folder_put("tokenizer.json", GOOD);
    static const char *const good[] = {"false", "null"};
    for (int i = 0; i < 2; i++) {
        char *config = mem_printf("{\"split_special_tokens\":%s}", good[i]);
        folder_put("tokenizer_config.json", config);
        tokenizer_free(folder_tokenizer());
        mem_free(config);
    }
    folder_put("tokenizer_config.json", "{\"split_special_tokens\":true}");
    assert_refused("tokenizer_config.json: split_special_tokens is true");
    folder_put("tokenizer_config.json", "{\"split_special_tokens\":\"no\"}");
    assert_refused("split_special_tokens is \"no\"; expected true or false");
}

static void test_folder_end_tokens(void **state) {
    (void)state;
    folder_put("tokenizer.json", GOOD);
    folder_put("tokenizer_config.json", "{\"eos_token\":\"<end>\"}");
    folder_put("config.json", "{\"eos_token_id\":2}");
    folder_put("generation_config.json", "{\"eos_token_id\":[5.0,1]}");
    Tokenizer *t = folder_tokenizer();
    const int want[] = {0, 1, 0, 0, 0, 1, 1}; // generation_config.json beats config.json; eos always counts
    for (int32_t id = 0; id < 7; id++) assert_int_equal(tokenizer_is_end(t, id), want[id]);
    assert_int_equal(t->n_ends, 3);
    tokenizer_free(t);
    folder_remove("generation_config.json");
    t = folder_tokenizer();
    assert_true(tokenizer_is_end(t, 2));
    assert_false(tokenizer_is_end(t, 5));
    tokenizer_free(t);
    folder_put("config.json", "{\"eos_token_id\":[7]}");
    assert_refused("config.json: eos_token_id: found 7; expected token ids below 7");
    folder_put("config.json", "{\"eos_token_id\":\"x\"}");
    assert_refused("eos_token_id: found \"x\"");
}

static void assert_template(const char *want) {
    Tokenizer *t = folder_tokenizer();
    if (want)
        assert_string_equal(t->chat_template, want);
    else
        assert_null(t->chat_template);
    tokenizer_free(t);
}

static void test_folder_chat_templates(void **state) {
    (void)state;
    folder_put("tokenizer.json", GOOD);
    folder_put("tokenizer_config.json", "{\"chat_template\":\"one\"}");
    assert_template("one");
    folder_put("tokenizer_config.json", "{\"chat_template\":[{\"name\":\"tool_use\",\"template\":\"x\"},"
                                        "{\"name\":\"default\",\"template\":\"two\"}]}");
    assert_template("two");
    folder_put("tokenizer_config.json", "{\"chat_template\":[{\"name\":\"rag\",\"template\":\"x\"}]}");
    assert_template(NULL);
    folder_put("chat_template.jinja", "three");
    assert_template("three");
    folder_remove("chat_template.jinja");
    folder_put("tokenizer_config.json", "{\"chat_template\":4}");
    assert_refused("chat_template: expected text");
    folder_put("tokenizer_config.json", "{}");
    folder_put("chat_template.jinja", "\xFF");
    assert_refused("invalid UTF-8");
}

// What changes ids changes the fingerprint.
static void test_folder_fingerprint(void **state) {
    (void)state;
    const char *const cases[][2] = {{"\"fuse_unk\":false", "\"fuse_unk\":true"},
                                    {"\"ignore_merges\":false", "\"ignore_merges\":true"},
                                    {"\"prepend\":\"_\"", "\"prepend\":\"a\""},
                                    {"\"first\"", "\"always\""},
                                    {"\"split\":true", "\"split\":false"},
                                    {"\"lstrip\":false", "\"lstrip\":true"},
                                    {"\"c\":5", "\"d\":5"},
                                    {"\"ids\":[6]", "\"ids\":[6,6]"},
                                    {"\"special\":true,\"normalized\":false", "\"special\":true,\"normalized\":true"}};
    enum { N = sizeof cases / sizeof *cases };
    char seen[N + 1][33];
    for (int i = 0; i <= N; i++) {
        put_with(i ? cases[i - 1][0] : NFC, i ? cases[i - 1][1] : NFC);
        Tokenizer *t = folder_tokenizer();
        strcpy(seen[i], t->fingerprint);
        for (int k = 0; k < i; k++) assert_string_not_equal(seen[i], seen[k]);
        tokenizer_free(t);
    }
}

// ---- damage ----

// One to three bytes changed: refused, or a tokenizer that works. Under sanitizers this is the real test.
static void test_json_survives_damage(void **state) {
    (void)state;
    static const char bytes[] = "\"{}[],:0123456789-abcdeNFCxtrue\\ _<>.*+(|\xFF";
    const size_t len = sizeof GOOD - 1;
    char *text = mem_alloc(len, 1);
    uint64_t seed = 3;
    int loaded = 0, refused = 0;
    mkdir(FOLDER, 0777);
    for (int round = 0; round < 6000; round++) {
        memcpy(text, GOOD, len);
        for (int i = 0; i <= round % 3; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            text[(seed >> 40) % len] = bytes[(seed >> 20) % (sizeof bytes - 1)];
        }
        scratch_put(FOLDER "/tokenizer.json", text, len);
        Tokenizer *t = NULL;
        Err err = {0};
        if (tokenizer_from_hf(&t, FOLDER, &err) != 0) {
            assert_int_equal(err.kind, ERR_INPUT);
            refused++;
            continue;
        }
        TokenIds ids = {0};
        StrBuf out = {0};
        tokenizer_encode(t, "ab c<end>\xFF aab", 14, NULL, true, &ids);
        for (size_t i = 0; i < ids.count; i++) assert_in_range(ids.ids[i], 0, t->vocab_size - 1);
        tokenizer_decode(t, ids.ids, ids.count, true, &out);
        token_ids_clear(&ids);
        str_clear(&out);
        tokenizer_free(t);
        loaded++;
    }
    mem_free(text);
    assert_true(loaded > 200 && refused > 500);
}

TEST_MAIN(SCRATCH_TEST(test_json_unknown_components_are_named), SCRATCH_TEST(test_json_bad_components_are_named),
          SCRATCH_TEST(test_json_bad_unigram_is_named), SCRATCH_TEST(test_json_broken_charsmap_refuses_texts),
          SCRATCH_TEST(test_json_bad_vocabularies_are_named), SCRATCH_TEST(test_json_null_is_absence),
          SCRATCH_TEST(test_json_deep_nesting_is_refused), SCRATCH_TEST(test_json_merges_never_make_control_tokens),
          SCRATCH_TEST(test_json_ids_may_have_holes), SCRATCH_TEST(test_folder_alone),
          SCRATCH_TEST(test_folder_of_gpt2), SCRATCH_TEST(test_folder_special_tokens_and_flags),
          SCRATCH_TEST(test_folder_flags_of_bert), SCRATCH_TEST(test_folder_tokens_are_not_taken_apart),
          SCRATCH_TEST(test_folder_end_tokens), SCRATCH_TEST(test_folder_chat_templates),
          SCRATCH_TEST(test_folder_fingerprint), SCRATCH_TEST(test_json_survives_damage))
