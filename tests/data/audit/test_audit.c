// audit: in files with planted duplicates, leaks, secrets, empty answers and broken lines each one is found, at its
// place, and no clean record is named; the result does not depend on the number of threads; hostile files.
#include "audit.h"

#include <omp.h>

#include "scratch.h"
#include "shards.h"

// A pair of texts that no other number has.
static void put_pair(StrBuf *out, int number, const char *more) {
    static const char *const words[] = {"river",   "candle",  "orbit",  "velvet",
                                        "harbour", "thistle", "copper", "lantern"};
    str_printf(out, "{\"prompt\": \"Question %d\", \"completion\": \"", number);
    for (int i = 0; i < 40; i++)
        str_printf(out, "%s%d ", words[(number * 7 + i * i) % 8], (number * 131 + i * 17) % 997);
    str_printf(out, "%s\"}\n", more);
}

static void put_file(const char *path, StrBuf *text) {
    scratch_put(path, text->data, text->len);
    str_clear(text);
}

static char *places(const AuditFindings *f) {
    StrBuf out = {0};
    str_printf(&out, "%ld", f->count);
    for (size_t i = 0; i < f->shown; i++) str_printf(&out, "%s%s", i ? ", " : ": ", f->places[i]);
    return out.data;
}

#define CHECK_FOUND(findings, want)                                                                                    \
    do {                                                                                                               \
        AUTO_FREE char *got_ = places(&(findings));                                                                    \
        assert_string_equal(got_, want);                                                                               \
    } while (0)

static void put_planted(void) {
    StrBuf t = {0};
    for (int i = 1; i <= 1000; i++) { // line i, if nothing else is planted
        if (i == 500 || i == 501)
            put_pair(&t, 42, ""); // exact
        else if (i == 600)
            put_pair(&t, 42, "altered"); // near
        else if (i == 700)
            put_pair(&t, i, "write to jane.doe@acme.org, jim@acme.org or call +49 30 1234567");
        else if (i == 701)
            put_pair(&t, i, "AKIAQ3EGRL7ZK2PWX4TN");
        else if (i == 800)
            str_puts(&t, "{\"prompt\": \"p\", \"completion\": \" \\n\"}\n");
        else if (i == 801)
            str_puts(&t, "{\"prompt\": \"p\", \"completion\": \"c\"\n");
        else if (i == 802)
            str_puts(&t, "{'prompt': 'p', 'completion': 'c'}\n");
        else if (i == 803)
            str_puts(&t, "{\"prompt\": \"p\xFF\", \"completion\": \"c\"}\n");
        else if (i == 804)
            str_puts(&t, "{\"prompt\": \"p\"}\n");
        else
            put_pair(&t, i, "");
    }
    put_file("t.jsonl", &t);
    put_pair(&t, 2001, "");
    put_pair(&t, 17, "");         // exact
    put_pair(&t, 18, "so it is"); // near
    put_pair(&t, 2002, "");
    put_pair(&t, 2002, "");
    put_file("v.jsonl", &t);
}

static Audit *run_planted(void) {
    Err err;
    Audit *a = audit_new(&(AuditOptions){.has_template = true});
    ASSERT_OK(audit_read(a, AUDIT_TRAIN, "t.jsonl", NULL, &err), &err);
    ASSERT_OK(audit_read(a, AUDIT_VALIDATION, "v.jsonl", NULL, &err), &err);
    audit_compare(a);
    return a;
}

static void test_audit_finds_what_is_planted(void **state) {
    (void)state;
    put_planted();
    int threads = omp_get_max_threads();
    for (int n = 1; n <= 4; n += 3) {
        omp_set_num_threads(n);
        AUTO(audit_free) Audit *a = run_planted();
        const AuditCounts *t = audit_counts(a, AUDIT_TRAIN), *v = audit_counts(a, AUDIT_VALIDATION);
        assert_int_equal(t->records, 1000);
        assert_int_equal(t->format, FORMAT_PROMPT_COMPLETION);
        CHECK_FOUND(t->exact, "2: t.jsonl:500 (line 42), t.jsonl:501 (line 42)");
        assert_int_equal(t->near.count, 1);
        assert_non_null(strstr(t->near.places[0], "t.jsonl:600 (0.9"));
        assert_non_null(strstr(t->near.places[0], ", line 42)"));
        CHECK_FOUND(t->empty, "1: t.jsonl:800");
        CHECK_FOUND(t->secrets[SECRET_EMAIL], "2: t.jsonl:700 (j***@a***.org), t.jsonl:700 (j***@a***.org)");
        assert_int_equal(t->secrets[SECRET_EMAIL].records, 1);
        CHECK_FOUND(t->secrets[SECRET_KEY], "1: t.jsonl:701 (AKIA***)");
        CHECK_FOUND(t->secrets[SECRET_PHONE], "1: t.jsonl:700 (+49***)");
        assert_int_equal(t->refused.count, 5);
        static const char *const refused[] = {
            "t.jsonl:800: ", "t.jsonl:801: ", "t.jsonl:802: ", "t.jsonl:803: ", "t.jsonl:804: "};
        for (int i = 0; i < 5; i++) assert_true(starts_with(t->refused.places[i], refused[i]));
        CHECK_FOUND(t->leaked, "0");
        CHECK_FOUND(v->exact, "1: v.jsonl:5 (line 4)");
        CHECK_FOUND(v->near, "0");
        CHECK_FOUND(v->leaked, "1: v.jsonl:2 (t.jsonl:17)");
        assert_int_equal(v->leaked_near.count, 1);
        assert_true(starts_with(v->leaked_near.places[0], "v.jsonl:3 (0."));
        assert_non_null(strstr(v->leaked_near.places[0], ", t.jsonl:18)"));
        CHECK_FOUND(v->secrets[SECRET_EMAIL], "0");
        CHECK_FOUND(v->refused, "0");
    }
    omp_set_num_threads(threads);
}

// System messages and tools are part of an exact duplicate, not of a similar one.
static void test_audit_shared_system_messages(void **state) {
    (void)state;
#define SYSTEM                                                                                                         \
    "You are a helpful assistant that answers all questions about libraries in one short sentence without jokes"
#define CHAT(system, user, answer)                                                                                     \
    "{\"messages\": [{\"role\": \"system\", \"content\": \"" system "\"}, {\"role\": \"user\", \"content\": \"" user   \
    "\"}, {\"role\": \"assistant\", \"content\": \"" answer "\"}]}\n"
    static const char text[] = CHAT(SYSTEM, "When do you open?", "At nine in the morning.")
        CHAT(SYSTEM, "May I bring a dog?", "Dogs wait in the garden.")
            CHAT(SYSTEM " please", "When do you open?", "At nine in the morning.")
                CHAT(SYSTEM, "When do you open?", "At nine in the morning.");
    Err err;
    scratch_put("d.jsonl", text, strlen(text));
    AUTO(audit_free) Audit *a = audit_new(&(AuditOptions){.has_template = true});
    ASSERT_OK(audit_read(a, AUDIT_TRAIN, "d.jsonl", NULL, &err), &err);
    audit_compare(a);
    CHECK_FOUND(audit_counts(a, AUDIT_TRAIN)->exact, "1: d.jsonl:4 (line 1)");
    CHECK_FOUND(audit_counts(a, AUDIT_TRAIN)->near, "1: d.jsonl:3 (1.00, line 1)");
}

// The fixed words of Stanford Alpaca's prompt make no two records similar.
static void test_audit_alpaca_prompt(void **state) {
    (void)state;
#define ALPACA(answer) "{\"instruction\": \"Say\", \"input\": \"it once\", \"output\": \"" answer "\"}\n"
    static const char text[] = ALPACA("It flows.") ALPACA("It burns.") ALPACA("it FLOWS.");
    Err err;
    scratch_put("d.jsonl", text, strlen(text));
    AUTO(audit_free) Audit *a = audit_new(&(AuditOptions){.format = FORMAT_ALPACA_PROMPT, .has_template = true});
    ASSERT_OK(audit_read(a, AUDIT_TRAIN, "d.jsonl", NULL, &err), &err);
    audit_compare(a);
    CHECK_FOUND(audit_counts(a, AUDIT_TRAIN)->exact, "0");
    CHECK_FOUND(audit_counts(a, AUDIT_TRAIN)->near, "1: d.jsonl:3 (1.00, line 1)");
}

// Parts that val_set_size takes from the training data; archives; texts; token ids; classes; the first broken.
static void test_audit_kinds_of_data(void **state) {
    (void)state;
    Err err;
    StrBuf t = {0};
    for (int i = 0; i < 4; i++) put_pair(&t, i / 2, "");
    put_file("d.jsonl", &t);
    Audit *a = audit_new(&(AuditOptions){.has_template = true});
    ASSERT_OK(audit_read(a, AUDIT_TRAIN, "d.jsonl", NULL, &err), &err);
    audit_hold_out(a, 0);
    audit_compare(a);
    CHECK_FOUND(audit_counts(a, AUDIT_TRAIN)->exact, "1: d.jsonl:4 (line 3)");
    CHECK_FOUND(audit_counts(a, AUDIT_VALIDATION)->leaked, "1: d.jsonl:1 (line 2)");
    audit_free(a);

    tar_file(&t, "a.txt", "one text of an archive");
    tar_file(&t, "b.txt", "one text of an archive");
    tar_end(&t);
    put_file("s.tar", &t);
    static const char text[] = "first line\nsecond line: call +49 30 1234567\n";
    scratch_put("d.txt", text, strlen(text));
    static const char segments[] =
        "{\"segments\": [{\"text\": \"q\", \"label\": false}, {\"text\": \"a@b.io\", \"label\": true}]}\n"
        "{\"segments\": [{\"text\": \"q\", \"label\": false}, {\"text\": \"a@b.io\", \"label\": true}]}\n"
        "{\"segments\": [{\"text\": \"q\", \"label\": true}, {\"text\": \"a@b.io\", \"label\": true}]}\n";
    scratch_put("g.jsonl", segments, strlen(segments));
    static const char ids[] =
        "{\"input_ids\": [1, 2, 3, 4]}\n{\"input_ids\": [1, 2, 3, 4]}\n{\"input_ids\": [1, 2, 34]}\n";
    scratch_put("i.jsonl", ids, strlen(ids));
    a = audit_new(&(AuditOptions){.has_template = true});
    const AuditCounts *c = audit_counts(a, AUDIT_TRAIN);
    ASSERT_OK(audit_read(a, AUDIT_TRAIN, "s.tar", NULL, &err), &err);
    ASSERT_OK(audit_read(a, AUDIT_TRAIN, "d.txt", NULL, &err), &err);
    ASSERT_OK(audit_read(a, AUDIT_TRAIN, "i.jsonl", &(FileRule){.limit = 2}, &err), &err);
    ASSERT_OK(audit_read(a, AUDIT_TRAIN, "g.jsonl", NULL, &err), &err);
    audit_compare(a);
    assert_int_equal(c->records, 8);
    CHECK_FOUND(c->exact, "3: s.tar record 2 (record 1), i.jsonl:2 (line 1), g.jsonl:2 (line 1)");
    CHECK_FOUND(c->near, "1: g.jsonl:3 (1.00, line 1)");
    assert_int_equal(c->secrets[SECRET_EMAIL].count, 3);
    CHECK_FOUND(c->secrets[SECRET_PHONE], "1: d.txt:2 (+49***)");
    audit_free(a);

    static const char classes[] =
        "{\"text\": \"good film\", \"label\": 1}\n{\"text\": \"good film\", \"label\": 0}\n{\"label\": 1}\n";
    scratch_put("c.jsonl", classes, strlen(classes));
    a = audit_new(&(AuditOptions){.classification = true});
    c = audit_counts(a, AUDIT_TRAIN);
    ASSERT_OK(audit_read(a, AUDIT_TRAIN, "c.jsonl", NULL, &err), &err);
    audit_compare(a);
    CHECK_FOUND(c->exact, "1: c.jsonl:2 (line 1)");
    assert_int_equal(c->refused.count, 1);
    audit_free(a);
}

static void test_audit_hostile_files(void **state) {
    (void)state;
    Err err;
    StrBuf t = {0};
    str_puts(&t, "{\"text\": 1}\n{\"text\": \"a\\u0000b@c.de\\u0000\"}\n");
    for (int i = 0; i < 100000; i++) str_puts(&t, "[");
    static const char more[] = "\n{\"text\": \"@@@@++++((((----\"}\n{\"te\0xt\": 1}\nnull\n{}\n";
    str_add(&t, more, sizeof more - 1);
    put_file("d.jsonl", &t);
    Audit *a = audit_new(&(AuditOptions){.has_template = true});
    const AuditCounts *c = audit_counts(a, AUDIT_TRAIN);
    ASSERT_OK(audit_read(a, AUDIT_TRAIN, "d.jsonl", NULL, &err), &err);
    audit_compare(a);
    assert_int_equal(c->records, 7);
    assert_int_equal(c->refused.count, 5);
    CHECK_FOUND(c->secrets[SECRET_EMAIL], "1: d.jsonl:2 (b***@c***.de)");
    audit_free(a);
    a = audit_new(&(AuditOptions){.has_template = true});
    scratch_put("b.json", "[{\"text\": \"a\"}, {\"text\": \"b\"}", 30);
    assert_int_equal(audit_read(a, AUDIT_TRAIN, "b.json", NULL, &err), -1);
    assert_non_null(strstr(err.msg, "b.json:1: found"));
    assert_int_equal(audit_read(a, AUDIT_TRAIN, "none.jsonl", NULL, &err), -1);
    audit_compare(a);
    audit_free(a);
}

TEST_MAIN(SCRATCH_TEST(test_audit_finds_what_is_planted), SCRATCH_TEST(test_audit_shared_system_messages),
          SCRATCH_TEST(test_audit_alpaca_prompt), SCRATCH_TEST(test_audit_kinds_of_data),
          SCRATCH_TEST(test_audit_hostile_files))
