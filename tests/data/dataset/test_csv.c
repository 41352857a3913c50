// Tables (.csv, .tsv): their rows as records, compressed or not; the same samples as from JSON lines; what is refused.
#include "dataset_fixture.h"
#include "records.h"
#include "shards.h"

// All records as "LINE:TEXT|".
static int read_all(StrBuf *out, const char *path, Err *err) {
    RecordReader *r;
    RecordSpan s;
    int more;
    if (records_open(&r, path, err)) return -1;
    while ((more = records_next(r, &s, err)) == 1) {
        str_printf(out, "%zu:%s|", s.line, s.text);
        records_release(r);
    }
    records_close(r);
    return more;
}

static void check_rows(const char *path, const char *data, const char *want) {
    StrBuf got = {0}, gz = {0};
    Err err;
    put_text(path, data);
    ASSERT_OK(read_all(&got, path, &err), &err);
    assert_string_equal(got.data, want);
    got.len = 0;
    char *packed = mem_printf("%s.gz", path);
    gzip_bytes(&gz, data, strlen(data));
    scratch_put(packed, gz.data, gz.len);
    ASSERT_OK(read_all(&got, packed, &err), &err);
    assert_string_equal(got.data, want);
    mem_free(packed);
    str_clear(&got);
    str_clear(&gz);
}

static void test_csv_rows_are_records(void **state) {
    (void)state;
    check_rows("a.csv", "prompt,completion\na,b\n\n c , \n",
               "2:{\"prompt\": \"a\", \"completion\": \"b\"}|"
               "4:{\"prompt\": \" c \", \"completion\": \" \"}|");
    check_rows("a.csv", "\xEF\xBB\xBF\"prompt\",\"x\"\"y\"\r\n\"a, \"\"b\"\"\r\nc\",\r\n\r\nd,\"\"",
               "2:{\"prompt\": \"a, \\\"b\\\"\\r\\nc\", \"x\\\"y\": null}|5:{\"prompt\": \"d\", \"x\\\"y\": null}|");
    check_rows("a.tsv", "text\tn\nit is 5\" long, \"really\"\t7\n",
               "2:{\"text\": \"it is 5\\\" long, \\\"really\\\"\", \"n\": \"7\"}|");
    check_rows(
        "a.csv", ",text,label\n0,a,1\n1,b,-3\n2,c,01\n3,d,\n4,e,9999999999999999999\n",
        "2:{\"Unnamed: 0\": \"0\", \"text\": \"a\", \"label\": \"1\"}|3:{\"Unnamed: 0\": \"1\", \"text\": \"b\", "
        "\"label\": \"-3\"}|4:{\"Unnamed: 0\": \"2\", \"text\": \"c\", \"label\": \"01\"}|5:{\"Unnamed: 0\": \"3\", "
        "\"text\": \"d\", \"label\": null}|6:{\"Unnamed: 0\": \"4\", \"text\": \"e\", \"label\": "
        "\"9999999999999999999\"}|");
    check_rows("a.csv", "\n\ntext\nNA\nnull\nx\xC3\xA9\x01\n",
               "4:{\"text\": \"NA\"}|5:{\"text\": \"null\"}|6:{\"text\": \"x\xC3\xA9\\u0001\"}|");
}

// Rows that cross every border of a block of a compressed file, with line ends in quotes.
static void test_csv_rows_cross_blocks(void **state) {
    (void)state;
    StrBuf data = {0}, want = {0};
    size_t line = 2;
    str_puts(&data, "text,n\n");
    for (int i = 0; i < 200; i++) {
        int n = i % 50 == 7 ? 2000000 : i * 97 % 20000;
        str_printf(&data, "\"%0*d\n\"\"\",%d\n", n + 1, i, i);
        str_printf(&want, "%zu:{\"text\": \"%0*d\\n\\\"\", \"n\": \"%d\"}|", line, n + 1, i, i);
        line += 2;
    }
    check_rows("a.csv", data.data, want.data);
    str_clear(&data);
    str_clear(&want);
}

static void test_csv_refuses_with_the_line(void **state) {
    (void)state;
    static const struct {
        const char *file, *data, *message;
    } bad[] = {
        {"d.csv", "", "d.csv: found an empty file; expected a line with the names of columns"},
        {"d.csv", "\n\r\n", "d.csv: found an empty file"},
        {"d.csv", "a,b\n1,2\n3\n", "d.csv:3: found a row of 1 cell; expected 2, one for each column"},
        {"d.csv", "a,b\n\"1\n\",2\n3,4,5\n", "d.csv:4: found a row of 3 cells; expected 2"},
        {"d.csv", "a,b\n1,\"x\n\ny", "d.csv:2: column 2: found a quote that does not end"},
        {"d.csv", "a,b\n1,\"x\"y\n", "d.csv:2: column 2: found text after a closing quote; expected a comma"},
        {"d.tsv", "a\tb\n1\t\"x\"y\n", "d.tsv:2: column 2: found text after a closing quote; expected a tab"},
        {"d.csv", "a,b\r1,2\r3,4\r", "d.csv:1: column 2: found a carriage return outside of quotes"},
        {"d.csv", "a,b\n1,\xFF\n", "d.csv:2: found byte 0xFF; expected valid UTF-8"},
        {"d.csv", "a,b,a\n1,2,3\n", "d.csv:1: column names: found key \"a\" twice"},
        {"d.csv", "\"a\";\"b\"\n1;2\n", "d.csv:1: column 1: found text after a closing quote; expected a comma"},
        {"d.csv", "a;b\n1;2\n", "d.csv:1: found a header with semicolons; expected commas between cells"},
        {"d.csv", "a\tb\n1\t2\n", "d.csv:1: found a header with tabs and no commas; expected the name .tsv"},
        {"d.tsv", "a,b\n1,2\n", "d.tsv:1: found a header with commas and no tabs; expected the name .csv"},
        {"d.csv",
         "\xFF\xFE"
         "a,b",
         "d.csv: found UTF-16 text; expected UTF-8"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        StrBuf got = {0};
        Err err;
        put_text(bad[i].file, bad[i].data);
        ASSERT_REFUSED(read_all(&got, bad[i].file, &err), &err, bad[i].message);
        assert_int_equal(err.kind, ERR_INPUT);
        str_clear(&got);
    }
    StrBuf wide = {0}, got = {0};
    Err err;
    for (int i = 0; i <= 4096; i++) str_printf(&wide, "%sc%d", i ? "," : "", i);
    put_text("d.csv", wide.data);
    ASSERT_REFUSED(read_all(&got, "d.csv", &err), &err, "d.csv:1: found 4097 columns; expected at most 4096");
    scratch_put("d.csv", "a\n1\0\n", 5);
    ASSERT_REFUSED(read_all(&got, "d.csv", &err), &err, "d.csv:2: found byte 0x00");
    str_clear(&wide);
    str_clear(&got);
}

static char *samples_of(Bench *b, const char *path, bool with_chat, const FileRule *rule) {
    Dataset *d;
    Err err;
    b->files[0] = path;
    b->o.rules = rule;
    if (bench_open(&d, b, with_chat, &err)) fail_msg("%s", err.msg);
    char *text = shown(d, b->t);
    StrBuf all = {0};
    str_printf(&all, "%s %s", text, dataset_format_name(d->stats.format));
    for (size_t i = 0; d->labels && i < d->labels->count; i++)
        str_printf(&all, " %s=%ld", d->labels->names[i], d->label_counts[i]);
    mem_free(text);
    dataset_close(d);
    return all.data;
}

static void check_same(const char *csv, const char *jsonl, bool classification, const FileRule *rule) {
    Bench b = bench_new(false);
    b.o.classification = classification;
    put_text("d.csv", csv);
    put_text("d.jsonl", jsonl);
    char *got = samples_of(&b, "d.csv", !classification, rule),
         *want = samples_of(&b, "d.jsonl", !classification, rule);
    assert_string_equal(got, want);
    mem_free(got);
    mem_free(want);
    bench_free(&b);
}

static void test_csv_gives_the_samples_of_json_lines(void **state) {
    (void)state;
    check_same("id,prompt,completion\n1,\"a, b\",c\n2,7,\"8\"\n",
               "{\"prompt\":\"a, b\",\"completion\":\"c\"}\n{\"prompt\":\"7\",\"completion\":\"8\"}\n", false, NULL);
    check_same("instruction,input,output\ni,,o\ni,n,o\n",
               "{\"instruction\":\"i\",\"output\":\"o\"}\n{\"instruction\":\"i\",\"input\":\"n\",\"output\":\"o\"}\n",
               false, NULL);
    check_same("q,ctx,a\ni,,o\ni,n,o\n",
               "{\"q\":\"i\",\"ctx\":null,\"a\":\"o\"}\n{\"q\":\"i\",\"ctx\":\"n\",\"a\":\"o\"}\n", false,
               &(FileRule){.columns = {[COLUMN_INSTRUCTION] = "q", [COLUMN_INPUT] = "ctx", [COLUMN_OUTPUT] = "a"}});
    check_same("text\nab\n\"c\nd\"\n", "{\"text\":\"ab\"}\n{\"text\":\"c\\nd\"}\n", false, NULL);
    check_same("messages\n\"[{\"\"role\"\": \"\"user\"\", \"\"content\"\": \"\"a\"\"}, {\"\"role\"\": "
               "\"\"assistant\"\", \"\"content\"\": \"\"b\"\"}]\"\n",
               "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\"}]}\n",
               false, NULL);
    check_same("Frage,Antwort\na,b\n", "{\"Frage\":\"a\",\"Antwort\":\"b\"}\n", false,
               &(FileRule){.columns = {[COLUMN_PROMPT] = "Frage", [COLUMN_COMPLETION] = "Antwort"}});
    check_same("text,label\na,1\nb,0\nc,1\n",
               "{\"text\":\"a\",\"label\":1}\n{\"text\":\"b\",\"label\":0}\n{\"text\":\"c\",\"label\":1}\n", true,
               NULL);
    check_same("text,label\na,yes\nb,no\n", "{\"text\":\"a\",\"label\":\"yes\"}\n{\"text\":\"b\",\"label\":\"no\"}\n",
               true, NULL);
    // cells are typed as a column: digits alone are integers, in numeric order; also under another name, and quoted
    static const char ten[] = "\"text\":\"a\",\"label\":10}\n{\"text\":\"b\",\"label\":9}\n";
    AUTO_FREE char *want = mem_printf("{%s", ten);
    check_same("text,label\na,10\nb,9\n", want, true, NULL);
    check_same("text,label\n\"a\",\"10\"\n\"b\",\"9\"\n", want, true, NULL);
    check_same("stars,text\n10,a\n9,b\n", "{\"text\":\"a\",\"stars\":10}\n{\"text\":\"b\",\"stars\":9}\n", true,
               &(FileRule){.columns = {[COLUMN_LABEL] = "stars"}});
    check_same("text,label\na,10\nb,9\nc,9+\n",
               "{\"text\":\"a\",\"label\":\"10\"}\n{\"text\":\"b\",\"label\":\"9\"}\n"
               "{\"text\":\"c\",\"label\":\"9+\"}\n",
               true, NULL);
}

TEST_MAIN(SCRATCH_TEST(test_csv_rows_are_records), SCRATCH_TEST(test_csv_rows_cross_blocks),
          SCRATCH_TEST(test_csv_refuses_with_the_line), SCRATCH_TEST(test_csv_gives_the_samples_of_json_lines))
