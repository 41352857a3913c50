// Records of texts that belong together: what is read, and what is refused.
#include "embedding_record.h"
#include "test.h"

static int read_record(EmbeddedTexts *t, JsonDoc **doc, const char *text, EmbeddingData kind, Err *err) {
    *t = (EmbeddedTexts){0};
    ASSERT_OK(json_parse_data(doc, text, strlen(text), "r", 1, err), err);
    return embedding_read(t, json_root(*doc), kind, true, err);
}

static void test_embedding_texts(void **state) {
    (void)state;
    static const struct {
        const char *record;
        EmbeddingData kind;
        double score;
        const char *texts[6];
    } all[] = {
        {"{\"anchor\":\"a\",\"positive\":\"b\"}", EMBEDDING_RANKED, 0, {"a", "b"}},
        {"{\"negative\":\"c\",\"positive\":\"b\",\"anchor\":\"a\",\"id\":3}", EMBEDDING_RANKED, 0, {"a", "b", "c"}},
        {"{\"query\":\"a\",\"pos\":[\"b\"],\"neg\":[\"c\",\"d\"]}", EMBEDDING_RANKED, 0, {"a", "b", "c", "d"}},
        {"{\"question\":\"a\",\"answer\":\"b\",\"negative_1\":\"c\",\"negative_2\":null,\"hard_negatives\":[]}",
         EMBEDDING_RANKED,
         0,
         {"a", "b", "c"}},
        {"{\"sentence1\":\"a\",\"sentence2\":\"b\",\"score\":0.25}", EMBEDDING_SCORED, 0.25, {"a", "b"}},
        {"{\"sentence1\":\"a\",\"sentence2\":\"b\",\"label\":4}", EMBEDDING_SCORED, 4, {"a", "b"}},
        {"{\"text1\":\"a\",\"text2\":\"b\",\"similarity\":\"-0.5\"}", EMBEDDING_COSINES, -0.5, {"a", "b"}},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        AUTO_JSON JsonDoc *doc = NULL;
        EmbeddedTexts t;
        Err err;
        ASSERT_OK(read_record(&t, &doc, all[i].record, all[i].kind, &err), &err);
        size_t n = 0;
        for (; all[i].texts[n]; n++) assert_string_equal(t.texts[n].data, all[i].texts[n]);
        assert_int_equal(t.count, n);
        assert_true((double)t.score == all[i].score);
        assert_int_equal(embedding_kind(json_root(doc)),
                         all[i].kind == EMBEDDING_RANKED ? EMBEDDING_RANKED : EMBEDDING_SCORED);
        embedding_texts_clear(&t);
    }
}

static void test_embedding_refused(void **state) {
    (void)state;
    static const struct {
        const char *record;
        EmbeddingData kind;
        const char *expected;
    } all[] = {
        {"[]", EMBEDDING_RANKED, "expected a record"},
        {"{\"anchor\":\"a\",\"text\":\"b\"}", EMBEDDING_RANKED,
         "found a record with the keys {anchor, text}; expected anchor"},
        {"{\"anchor\":\"a\",\"positive\":null}", EMBEDDING_RANKED, "{anchor, positive: null}"},
        {"{\"sentence1\":\"a\",\"sentence2\":\"b\",\"score\":1}", EMBEDDING_RANKED,
         "found a score (score), which multiple"},
        {"{\"sentence1\":\"a\",\"sentence2\":\"b\"}", EMBEDDING_SCORED, "without a score"},
        {"{\"sentence1\":\"a\",\"sentence2\":\"b\",\"score\":\"x\"}", EMBEDDING_SCORED, "score: found a string"},
        {"{\"sentence1\":\"a\",\"sentence2\":\"b\",\"score\":NaN}", EMBEDDING_SCORED, "score: "},
        {"{\"sentence1\":\"a\",\"sentence2\":\"b\",\"label\":5}", EMBEDDING_COSINES,
         "label: found 5; expected a cosine"},
        {"{\"anchor\":\"a\",\"positive\":\"b\",\"negative\":\"c\",\"score\":1}", EMBEDDING_SCORED,
         "found negatives (negative) beside a score"},
        {"{\"anchor\":\"a\",\"positive\":[\"b\",\"c\"]}", EMBEDDING_RANKED,
         "positive: found a list of 2 texts; expected one"},
        {"{\"anchor\":[],\"positive\":\"b\"}", EMBEDDING_RANKED, "anchor: found a list of 0 texts"},
        {"{\"anchor\":\"a\",\"positive\":\"b\",\"negatives\":[3]}", EMBEDDING_RANKED, "negatives: found"},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        AUTO_JSON JsonDoc *doc = NULL;
        EmbeddedTexts t;
        Err err;
        assert_int_equal(read_record(&t, &doc, all[i].record, all[i].kind, &err), -1);
        if (!strstr(err.msg, all[i].expected)) fail_msg("\"%s\"; expected \"%s\"", err.msg, all[i].expected);
        embedding_texts_clear(&t);
    }
}

TEST_MAIN(TEST(test_embedding_texts), TEST(test_embedding_refused))
