// Tokens that only the files next to tokenizer.json name: added as transformers does, or refused by name.
#include "fileio.h"
#include "hf_folder.h"
#include "json.h"
#include "tokenizer_files.h"

static const char *const FILES[] = {"tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"};

// ---- as transformers gives them (golden/make_tokenizer_named_golden.py) ----

static void put_case(const Json *files, const char *model) {
    const Json *tokenizer = json_get(files, "tokenizer.json");
    char *text = mem_printf("%.*s, \"model\": %s}", (int)tokenizer->str.len - 1, tokenizer->str.data, model);
    folder_put("tokenizer.json", text);
    mem_free(text);
    for (int i = 0; i < 3; i++) {
        const Json *file = json_get(files, FILES[i]);
        if (file)
            folder_put(FILES[i], file->str.data);
        else
            folder_remove(FILES[i]);
    }
}

static void check_case(size_t index, const Json *c) {
    const Json *text = json_get(c, "text"), *want = json_get(c, "ids");
    Tokenizer *t = folder_tokenizer();
    TokenIds ids = {0};
    tokenizer_encode(t, text->str.data, text->str.len, NULL, true, &ids);
    bool same = ids.count == want->count;
    for (size_t i = 0; same && i < ids.count; i++) same = ids.ids[i] == want->items[i].integer;
    if (!same) fail_msg("case %zu: other ids than transformers has", index);
    token_ids_clear(&ids);
    tokenizer_free(t);
}

static void test_named_tokens_equal_transformers(void **state) {
    (void)state;
    JsonDoc *doc;
    char *text;
    size_t size;
    Err err;
    ASSERT_OK(file_read(&text, &size, TEST_DIR "/golden/tokenizer_named.json", 1 << 24, &err), &err);
    ASSERT_OK(json_parse(&doc, text, size, "tokenizer_named.json", 1, &err), &err);
    const Json *cases = json_get(json_root(doc), "cases"), *model = json_get(json_root(doc), "model");
    assert_true(cases->count >= 60);
    for (size_t i = 0; i < cases->count; i++) {
        put_case(json_get(&cases->items[i], "files"), model->str.data);
        check_case(i, &cases->items[i]);
    }
    json_free(doc);
    mem_free(text);
}

// ---- by hand ----

static void put_small(const char *added) {
    char *text = mem_printf("{\"added_tokens\":[{\"id\":0,\"content\":\"<unk>\",\"special\":true}%s],\"model\":"
                            "{\"type\":\"BPE\",\"unk_token\":\"<unk>\",\"vocab\":{\"<unk>\":0,\"a\":1,\"b\":2,"
                            "\"<\":3,\">\":4},\"merges\":[]}}",
                            added);
    folder_put("tokenizer.json", text);
    mem_free(text);
    for (int i = 0; i < 3; i++) folder_remove(FILES[i]);
}

static void assert_id(const char *token, int32_t id, bool control) {
    Tokenizer *t = folder_tokenizer();
    assert_int_equal(tokenizer_find(t, token), id);
    assert_int_equal(tokenizer_is_control(t, id), control);
    char *text = mem_printf("a%sb", token);
    TokenIds ids = {0};
    tokenizer_encode(t, text, strlen(text), NULL, true, &ids);
    assert_int_equal(ids.count, 3);
    assert_int_equal(ids.ids[1], id);
    token_ids_clear(&ids);
    mem_free(text);
    tokenizer_free(t);
}

static void assert_refused(const char *part) {
    Tokenizer *t = NULL;
    Err err;
    ASSERT_REFUSED(tokenizer_from_hf(&t, FOLDER, &err), &err, part);
    assert_int_equal(err.kind, ERR_INPUT);
}

static void test_named_in_each_file(void **state) {
    (void)state;
    static const char *const texts[][2] = {
        {"tokenizer_config.json", "{\"pad_token\":\"<ab>\"}"},
        {"tokenizer_config.json", "{\"eos_token\":{\"__type\":\"AddedToken\",\"content\":\"<ab>\"}}"},
        {"tokenizer_config.json", "{\"eos_token\":{\"content\":\"<ab>\"}}"},
        {"tokenizer_config.json", "{\"image_token\":\"<ab>\"}"},
        {"tokenizer_config.json", "{\"image_token\":\"<ab>\",\"model_max_length\":Infinity,\"x\":NaN}"},
        {"tokenizer_config.json", "{\"additional_special_tokens\":[\"<ab>\"]}"},
        {"tokenizer_config.json", "{\"extra_special_tokens\":[\"<ab>\"]}"},
        {"tokenizer_config.json", "{\"extra_special_tokens\":{\"x\":\"<ab>\"},\"additional_special_tokens\":null}"},
        {"tokenizer_config.json", "{\"added_tokens_decoder\":{\"900\":{\"content\":\"<ab>\",\"special\":true}}}"},
        {"special_tokens_map.json", "{\"cls_token\":\"<ab>\"}"},
        {"special_tokens_map.json", "{\"mask_token\":{\"content\":\"<ab>\",\"lstrip\":false}}"},
        {"special_tokens_map.json", "{\"additional_special_tokens\":[\"<ab>\"]}"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        put_small("");
        folder_put(texts[i][0], texts[i][1]);
        assert_id("<ab>", 5, true);
    }
    put_small("");
    folder_put("added_tokens.json", "{\"<ab>\":5.0}");
    assert_id("<ab>", 5, false);
    put_small(",{\"id\":5,\"content\":\"<own>\",\"special\":true}");
    folder_put("added_tokens.json", "{\"<ab>\":900,\"<ba>\":800}");
    assert_id("<ba>", 6, false);
    assert_id("<ab>", 7, false);
    put_small("");
    folder_put("tokenizer_config.json",
               "{\"pad_token\":null,\"added_tokens_decoder\":null,\"extra_special_tokens\":null,"
               "\"bos_token\":\"\",\"additional_special_tokens\":[]}");
    Tokenizer *t = folder_tokenizer();
    assert_int_equal(t->vocab_size, 5);
    tokenizer_free(t);
}

static void test_named_wrongly_are_refused(void **state) {
    (void)state;
    static const char *const texts[][3] = {
        {"tokenizer_config.json", "{\"added_tokens_decoder\":[]}", "added_tokens_decoder: found an array"},
        {"tokenizer_config.json", "{\"added_tokens_decoder\":{\"x\":{\"content\":\"<ab>\"}}}",
         "found \"x\" for \"<ab>\"; expected an id"},
        {"tokenizer_config.json", "{\"added_tokens_decoder\":{\"5\":\"<ab>\"}}", "\"5\": found a string"},
        {"tokenizer_config.json", "{\"added_tokens_decoder\":{\"5\":{\"content\":\"<ab>\",\"lstrip\":1}}}", "lstrip"},
        {"tokenizer_config.json", "{\"pad_token\":5}", "found an integer; expected a token"},
        {"tokenizer_config.json", "{\"extra_special_tokens\":\"<ab>\"}", "extra_special_tokens: found a string"},
        {"added_tokens.json", "{\"<ab>\":\"5\"}", "added_tokens.json: \"<ab>\": found a string; expected an id"},
        {"added_tokens.json", "{\"<ab>\":0}", "\"<ab>\" has id 0, which tokenizer.json gives \"<unk>\""},
        {"added_tokens.json", "{\"<ab>\":7,\"<ba>\":7}", "both have id 7"},
        {"added_tokens.json", "[]", "expected an object"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        put_small("");
        folder_put(texts[i][0], texts[i][1]);
        assert_refused(texts[i][2]);
    }
    folder_put("tokenizer.json",
               "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":2,\"c\":4,\"d\":3},\"merges\":[]}}");
    folder_put("added_tokens.json", "{\"<ab>\":9}");
    assert_refused("added_tokens.json: token \"<ab>\" would get id 4, which another token has");
    folder_remove("tokenizer.json");
    folder_remove("added_tokens.json");
    folder_put("vocab.txt", "[UNK]\n[CLS]\n[SEP]\na\n");
    folder_put("tokenizer_config.json", "{\"extra_special_tokens\":[\"<ab>\"]}");
    assert_refused("token \"<ab>\" of tokenizer_config.json is not a line of it");
}

TEST_MAIN(SCRATCH_TEST(test_named_tokens_equal_transformers), SCRATCH_TEST(test_named_in_each_file),
          SCRATCH_TEST(test_named_wrongly_are_refused))
