// The verbs tokenize and inspect, run as a user runs them, over a model with a vocabulary of bytes: output, messages,
// exit status.
#include "cli_runner.h"
#include "safetensors.h"
#include "shards.h"
#include "tiny_model.h"

#include <sys/stat.h>

static void put_models(void) {
    TinyModel tiny = TINY_MODEL, vocab = TINY_MODEL;
    tiny_model_write("m.gguf", &tiny);
    vocab.vocab_only = true;
    tiny_model_write("v.gguf", &vocab);
}

static void test_tokenize_text(void **state) {
    (void)state;
    put_models();
    check_output("tokenize --model_name_or_path v.gguf --text 'a<|im_end|>'",
                 "{\"text\": \"a<|im_end|>\", \"input_ids\": [97, 260], \"supervised\": [0, 1]}\n");
    check_output("tokenize --model v.gguf --text=", "{\"text\": \"\", \"input_ids\": [], \"supervised\": []}\n");
    put("t", "he\"\n");
    check_output("tokenize model=m.gguf file=t",
                 "{\"text\": \"he\\\"\\n\", \"input_ids\": [256, 34, 10], \"supervised\": [0, 1, 1]}\n");
    put("t", "ab\n\xFFz");
    check_has("tokenize --model v.gguf --file t", 2, "lorac: t:2: found byte 0xFF; expected valid UTF-8 text");
    check_has("tokenize --text a", 2, "--model_name_or_path is missing");
    check_has("tokenize --model v.gguf", 2, "expected one of --text, --file and --messages");
    check_has("tokenize --model v.gguf --text a --file t", 2, "expected one of");
    check_has("tokenize --model missing.gguf --text a", 2, "missing.gguf");
}

static void test_tokenize_messages(void **state) {
    (void)state;
    put_models();
    put("m.json", "[{\"role\":\"user\",\"content\":\"a<|im_end|>\"},{\"role\":\"assistant\",\"content\":\"b\"}]");
    check_has("tokenize --model v.gguf --messages m.json", 0,
              "\"text\": \"<|im_start|>user\\na<|im_end|><|im_end|>\\n");
    check_has("tokenize --model v.gguf --messages m.json", 0, "98, 260, 10], \"supervised\": [0, ");
    check_has("tokenize --model v.gguf --messages m.json", 0, ", 0, 1, 1, 0]}");
    check_has("tokenize --model v.gguf --messages m.json --train_on_inputs", 0, "\"supervised\": [0, 1, 1, ");
    put("m.json", "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"add_generation_prompt\":true}");
    check_has("tokenize --model v.gguf --messages m.json", 0, "<|im_end|>\\n<|im_start|>assistant\\n\", ");
    put("t.jinja", "{{ messages[0].content }}!");
    check_has("tokenize --model v.gguf --messages m.json --chat_template t.jinja", 0,
              "{\"text\": \"a!\", \"input_ids\": [97, 33]");
    put("m.json", "{\"messages\":[{\"role\":\"user\"}]}");
    check_has("tokenize --model v.gguf --messages m.json", 2, "lorac: m.json: messages[0].content: found nothing");
    put("m.json", "\xEF\xBB\xBF[{\"role\":\"user\",\"content\":\"a\",\"name\":null,\"score\":NaN}]");
    put("t.jinja", "\xEF\xBB\xBF{{ messages[0].content }}!");
    check_has("tokenize --model v.gguf --messages m.json --chat_template t.jinja", 0, "\"text\": \"a!\"");
    scratch_put("t.jinja", "\xFF\xFE{\0", 4);
    check_has("tokenize --model v.gguf --messages m.json --chat_template t.jinja", 2, "t.jinja: found UTF-16 text");
    scratch_put("m.json", "[\0{\0", 4);
    check_has("tokenize --model v.gguf --messages m.json", 2, "m.json: found UTF-16 text; expected UTF-8");
    put("m.json", "[}");
    check_has("tokenize --model v.gguf --messages m.json", 2, "lorac: m.json:1: found '}'");
    TinyModel bare = TINY_MODEL;
    bare.no_template = bare.vocab_only = true;
    tiny_model_write("bare.gguf", &bare);
    put("m.json", "[{\"role\":\"user\",\"content\":\"a\"}]");
    check_has("tokenize --model bare.gguf --messages m.json", 2, "the model has no chat template");
}

static const char DATA[] =
    "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\"}]}\n"
    "{\"messages\":[{\"role\":\"user\",\"content\":\"long, longer, longest of all the texts that there are here\"},"
    "{\"role\":\"assistant\",\"content\":\"b\"}]}\n";

static void test_inspect_shows_data_as_trained(void **state) {
    (void)state;
    put_models();
    put("d.jsonl", DATA);
    put("c.json", "// data\n{\"model\": \"m.gguf\", \"train_file\": \"d.jsonl\", \"max_seq_length\": 60}\n");
    check_has("inspect c.json", 0, "records   2: 1 sample kept, 1 dropped (too long), 0 skipped (no supervised token)");
    check_has("inspect c.json --show 1", 0, "<|im_start|>assistant\n[[b<|im_end|>]]\n");
    check_has("inspect c.json", 0, "format    messages (tokens from the cache)");
    check_has("inspect c.json truncation=error", 2, "lorac: d.jsonl:2: found a sample of");
    check_has("inspect c.json --max_seq_length 999", 2, "max_seq_length: 999; expected at most the context");
    check_has("inspect c.json --show many", 2, "--show: \"many\"; expected an integer");
}

static void test_inspect_shows_preference_data(void **state) {
    (void)state;
    put_models();
    put("d.jsonl", "{\"prompt\":\"Q\",\"chosen\":\"yes\",\"rejected\":\"no\",\"score_chosen\":1}\n"
                   "{\"prompt\":\"Q\",\"chosen\":[{\"role\":\"assistant\",\"content\":\"a\"}],"
                   "\"rejected\":[{\"role\":\"assistant\",\"content\":\"b\"}]}\n");
    put("c.json",
        "{\"model\": \"m.gguf\", \"train_file\": \"d.jsonl\", \"max_seq_length\": 60, \"task\": \"preference\"}\n");
    check_has("inspect c.json", 0, "rows      1 (packed)");
    check_has("inspect c.json", 0, "at most 4 sequences and ");
    check_has("inspect c.json", 0, "\n  not used  score_chosen (1 record)\n");
    check_has("inspect c.json --show 2", 0, " supervised, chosen\nQ[[yes");
    check_has("inspect c.json --show 2", 0,
              "\n--- rejected\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n[[b<|im_end|>");
    check_has("inspect c.json task=causal_lm", 2, "d.jsonl:1: found preference data");
    check_has("inspect d.jsonl", 0, "data, preference, 2 records");
    check_has("inspect d.jsonl", 0, "task      preference (--task preference, of answers");
    put("d.jsonl", "{\"prompt\":\"Q\",\"chosen\":\"a\",\"rejected\":\"b\"}\n{\"prompt\":\"Q\",\"chosen\":\"a\","
                   "\"rejected\":\"a\"}\n");
    check_has("inspect d.jsonl", 0, "d.jsonl:2: found chosen and rejected that are equal");
    put("d.jsonl", "{\"prompt\":\"Q\",\"completion\":\"a\",\"label\":false}\n{\"prompt\":\"R\",\"completion\":\"b\","
                   "\"label\":true}\n");
    check_has("inspect c.json preference_loss=kto --show 1", 0, "\n--- with another answer\nQ[[b");
    check_has("inspect c.json preference_loss=kto --show 1", 0, "]]\n=> undesirable\n");
    check_has("inspect d.jsonl", 0, "data, preference, 2 records");
    check_has("inspect d.jsonl --task preference --preference_loss kto", 0,
              "used      prompt (2 records), completion (2), label (2)");
}

// Keys that nothing reads are named, from the cache too, by inspect and at the start of train; every record is in one
// of three counts.
static void test_inspect_and_train_name_unread_keys(void **state) {
    (void)state;
    put_models();
    put("d.jsonl", "{\"prompt\":\"a\",\"completion\":\"b\",\"context\":\"c\",\"id\":1}\n"
                   "{\"prompt\":\"a\",\"completion\":\"b\",\"id\":2,\"score\":NaN}\n");
    put("c.json", "{\"model\": \"m.gguf\", \"train_file\": \"d.jsonl\", \"max_seq_length\": null, \"r\": 4.0}\n");
    for (int i = 0; i < 2; i++) {
        check_has("inspect c.json", 0, "\n  not used  context (1 record), id (2), score (1)\n");
        check_has("inspect c.json", 0, "lorac: the model does not see context (records: 1): keys that format");
    }
    check_has("train c.json --output_dir out --max_steps 1 --device cpu", 0,
              "\nnot used context (1 record), id (2), score (1)\n");
    check_has("eval --model m.gguf --validation_file d.jsonl --max_seq_length 60", 0,
              "lorac: the model does not see context");
    put("d.jsonl", "{\"text\":\"\"}\n{\"text\":\"a long text, in windows of ten\"}\n{\"text\":\"ab\"}\n");
    check_has("inspect c.json max_seq_length=10", 0,
              "  records   3: 2 records kept, 0 dropped (too long), 1 skipped (no supervised token)\n"
              "  samples   4, windows of the kept text\n");
}

// Of a data file alone: the keys that its format reads, those of turns, which are the template's, and the rest.
static void test_inspect_tells_the_keys_of_a_file(void **state) {
    (void)state;
    put("d.jsonl",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"a\",\"name\":\"N\",\"train\":false},{\"role\":\"assistant\","
        "\"content\":\"b\"}],\"tools\":null,\"id\":1,\"x\":null}\n"
        "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\"}],"
        "\"id\":2,\"context\":\"c\",\"system\":\"s\"}\n");
    check_has(
        "inspect d.jsonl", 0,
        "  used      messages (2 records), system (1)\n"
        "  in turns  messages[].role (2 records), messages[].content (2), messages[].name (1): read where the chat "
        "template reads them\n"
        "  not used  id (2 records), context (1)\n");
    put("d.jsonl",
        "{\"conversations\":[{\"from\":\"human\",\"value\":\"a\",\"ts\":1},{\"from\":\"gpt\",\"value\":\"b\"}]}");
    check_has("inspect d.jsonl", 0,
              "conversations[].role (1 record), conversations[].content (1), conversations[].ts (1)");
    put("d.jsonl", "{\"prompt\":\"p\",\"completion\":\"c\",\"context\":\"x\"}\n{\"prompt\":\"p\"}\n"
                   "{\"prompt\":\"p\",\"completion\":\"\"}\nno JSON\n");
    check_has("inspect d.jsonl", 0,
              "d.jsonl: data, prompt_completion, 4 records, 96 bytes (longest record 45)\n"
              "  used      prompt (1 record), completion (1)\n  not used  context (1 record)\n"
              "  refused   3 records; the first: d.jsonl:2: ");
    put("d.jsonl", "{\"text\":\"p\",\"url\":\"u\"}\n");
    check_has("inspect d.jsonl", 0, "  used      text (1 record)\n  not used  url (1 record)\n");
    put("d.jsonl", "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"from\":null,\"role\":\"assistant\","
                   "\"content\":\"b\"}],\"from\":null}\n");
    check_has("inspect d.jsonl", 0, "data, messages, 1 record,");
    put("d.jsonl", "{\"messages\":[{\"from\":null,\"value\":null,\"role\":\"user\",\"content\":\"a\"}]}\n");
    check_has("inspect d.jsonl", 0, "data, messages, 1 record,");
    put("d.jsonl", "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\","
                   "\"mask\":1}]}\n");
    check_has("inspect d.jsonl", 2, "lorac: d.jsonl:1: messages[1].mask: found 1; expected true or false\n");
    put("d.jsonl", "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\","
                   "\"train_detail\":[]}]}\n");
    check_has("inspect d.jsonl", 2, "messages[1].train_detail: found a mask of parts of a message; expected \"train\"");
}

// Options that decide how a file is read; a model and its data without a config.
static void test_inspect_takes_the_options_of_data(void **state) {
    (void)state;
    put_models();
    put("q.csv", "frage,antwort,id\na,\"b\nc\",1\nd,,2\n");
#define QA "--columns '{\"prompt\": \"frage\", \"completion\": \"antwort\"}' "
    check_has("inspect q.csv", 2,
              "lorac: q.csv:2: found a record with the keys {frage, antwort, id}; expected messages, ");
    check_has("inspect q.csv", 2, " or their names in columns (all 2 records are refused)\n");
    check_has("inspect q.csv " QA, 0,
              "q.csv: data, prompt_completion, 2 records, 13 bytes (longest record 9)\n"
              "  used      frage as prompt (1 record), antwort as completion (1)\n  not used  id (1 record)\n"
              "  refused   1 record; the first: q.csv:4: antwort: found nothing; expected a string");
    check_has("inspect " QA "--show 1 q.csv --split 'train[:1]'", 0,
              "q.csv: data, prompt_completion, 1 record, 9 bytes");
    check_has("inspect q.csv --split 'train[:1]' -m m.gguf " QA, 0,
              "train       q.csv\n  format    prompt_completion\n");
    check_has("inspect -m m.gguf --train_file q.csv " QA, 2, "lorac: q.csv:4: antwort: found nothing");
    check_has("inspect --columns '{\"prompt\": \"frage\"}' q.csv", 2,
              "q.csv:2: found a record with the keys {frage, antwort, id}; columns: prompt is frage; expected");
    check_has("inspect q.csv --format text --columns text=frage", 2, "columns as {");
    check_has("inspect q.csv --format text --columns '{\"text\": \"frage\"}'", 0, "q.csv: data, text, 2 records");
    check_has("inspect -m m.gguf", 0, "m.gguf: base model\n");
    check_has("inspect m.gguf " QA, 2, "m.gguf: unexpected argument \"--columns\"; options are for data");
    check_has("inspect m.gguf --split train", 2, "--split: found no PATH of data; expected one");
    check_has("inspect q.csv q.csv", 2, "inspect: unexpected argument \"q.csv\"");
    check_has("inspect q.csv --train_file q.csv", 2, "inspect: found q.csv and train_file; expected one of them");
    check_has("inspect --show 2", 2, "inspect: no path; expected a model, ");
    check_has("inspect q.csv --val_set_size 1 " QA, 2, "val_set_size: found no model; expected --model_name_or_path");
    check_has("inspect q.csv --split 'train[2:5]' " QA, 2,
              "lorac: q.csv: split train[2:5]: found 2 records in the file, none of them in the slice\n");
    check_has("inspect q.csv -m m.gguf --split 'train[2:5]' " QA, 2,
              "found 2 records in the file, none of them in the sl");
    check_has("inspect q.csv --columns '{\"text\": \"frage\", \"text\": \"id\"}'", 2,
              "command line: columns:1: found key \"text\" twice");
    check_has("inspect -m m.gguf --train_file '[{\"path\": \"q.csv\", \"weight\": NaN}]'", 2,
              "command line: train_file:1: found 'N'");
    mkdir("folder", 0777);
    put("folder/a.csv", "frage\na\n");
    check_has("inspect folder --split test", 2,
              "found no data file of the split test in the folder (a.csv); expected a file with that word in its name");
    put("v.csv", "frage,antwort,id\na,\"b\nc\",7\n");
    check_has(
        "inspect --train_file q.csv --validation_file v.csv " QA, 0,
        "\nvalidation: 1 file, 1 record\n  leaked    1 validation record is in the training data: v.csv:2 (q.csv:2)\n");
    put("c.jsonl", "{\"chat\":[{\"who\":\"user\",\"said\":\"a\"},{\"who\":\"gpt\",\"said\":7}]}\n");
    check_has("inspect c.jsonl --columns '{\"messages\": \"chat\", \"role\": \"who\", \"content\": \"said\"}'", 2,
              "lorac: c.jsonl:1: chat[1].said: found an integer");
}

// A file of texts and labels is shown as what it is.
static void test_inspect_counts_labels(void **state) {
    (void)state;
    put("s.csv", "text,label,id\na,2,x\nb,1,y\nc,2,z\nd,-1,z\n");
    check_has("inspect s.csv", 0,
              "s.csv: data, classification, 4 records, 21 bytes (longest record 6)\n"
              "  task      classification (--task classification); another task does not read label\n"
              "  used      text (3 records), label (3)\n  not used  id (3 records)\n"
              "  labels    2: 1 (1), 2 (2); the integers are names, their ids are 0 to 1\n"
              "  refused   1 record; the first: s.csv:5: label: found -1");
    check_has("inspect s.csv --task causal_lm", 0, "data, text, 4 records");
    put("s.jsonl", "{\"premise\":\"a\",\"hypothesis\":\"b\",\"label\":\"yes\"}\n"
                   "{\"premise\":\"c\",\"hypothesis\":\"d\",\"label\":\"yes\"}\n"
                   "{\"premise\":\"c\",\"hypothesis\":\"e\",\"label\":4}\n");
    check_has("inspect s.jsonl", 0,
              "  labels    found only the label \"yes\"; expected at least two different labels\n");
    check_has("inspect s.jsonl", 0,
              "s.jsonl:3: label: found the integer 4; expected text, as the labels before it are\n");
    put("s.jsonl", "{\"prompt\":\"a\",\"completion\":\"b\",\"label\":\"x\"}\n");
    check_has("inspect s.jsonl", 0, "data, prompt_completion, 1 record");
}

#define PAIR(a, b) "{\"prompt\":\"" a "\",\"completion\":\"" b "\"}\n"
#define LONG "a text of some more words, so that one of them does not change much in it"

// The audit of a file and of a run's data: places of what is found, masked; where an answer is cut; all broken lines.
static void test_inspect_audits_data(void **state) {
    (void)state;
    put_models();
    put("d.jsonl",
        PAIR("p", LONG) PAIR("p", LONG) PAIR("q", LONG " a@b.io") PAIR("\xD0\xB6", "sk_live_4eC39HqLyjWDarjtT1zdp7dc"));
    check_has("inspect d.jsonl", 0,
              "\n  repeated  1 record repeats an earlier one: d.jsonl:2 (line 1)\n"
              "  e-mail    1 e-mail address in 1 record: d.jsonl:3 (a***@b***.io)\n"
              "  keys      1 key in 1 record: d.jsonl:4 (sk_live_***)\n"
              "  not found similar records, empty answers, phone numbers\n"
              "  scripts   Latin 99.5%, Cyrillic 0.5% of the letters\n");
    AUTO_FREE char *plain = run("inspect d.jsonl --audit false", 0);
    assert_null(strstr(plain, "repeated"));
    put("v.jsonl", PAIR("p", LONG) PAIR("new", "b"));
    put("c.json", "{\"model\": \"m.gguf\", \"train_file\": \"d.jsonl\", \"validation_file\": \"v.jsonl\", "
                  "\"max_seq_length\": 60, \"truncation\": \"truncate\"}\n");
    check_has("inspect c.json", 0, "  answers   3 cut by max_seq_length: d.jsonl:1, d.jsonl:2, d.jsonl:3\n");
    check_has("inspect c.json", 0,
              "\n  leaked    1 validation record is in the training data: v.jsonl:1 (d.jsonl:1)\n");
    check_has("inspect c.json", 0, "  scripts   Latin 100.0% of the tokens with letters\n");
    check_has("inspect c.json", 0, "  scripts   Latin 98.8%, Cyrillic 1.2% of the tokens with letters\n"); // two tokens
    check_has("inspect c.json truncation=drop", 0,
              "  dropped   286 tokens of d.jsonl:1, d.jsonl:2, d.jsonl:3; the longest record has 100\n");
    check_has("inspect c.json truncation=drop --audit false", 0, " of record 1, record 2, record 3; the longest");
    check_has("inspect c.json validation_file=null val_set_size=0.5", 0, "is in the training data: d.jsonl:");
    check_has("inspect c.json train_file=v.jsonl validation_file=null val_set_size=1", 0,
              "not found repeated records, similar records, validation records in the training data, ");
    put("d.jsonl", PAIR("p", "a") "{\n" PAIR("p", "") "{\"prompt\":\"p\",\"completion\":\"c\"},\n" PAIR("p", "b"));
    check_has("inspect c.json", 2, "train       3 of 5 records are refused; d.jsonl:2: ");
    check_has("inspect c.json", 2, "\n            d.jsonl:3: record 3: completion: found an empty answer");
    check_has(
        "inspect c.json", 2,
        "\n            d.jsonl:4: found a comma after the record, at column 32; expected one record a line, without "
        "commas between them\nlorac: d.jsonl:2: ");
    check_has("inspect d.jsonl", 0, "  refused   3 records; the first: d.jsonl:2: ");
    check_has("inspect d.jsonl", 0, "\n  empty     1 answer or text: d.jsonl:3\n");
    put("d.jsonl", "{\"a\": 1}\n{\"b\": 1}\n");
    check_has("inspect d.jsonl", 2, "lorac: d.jsonl:1: ");
}

// What the template leaves out is refused, or counted; control tokens in data and answers without an end are told.
static void test_inspect_and_train_name_what_is_lost(void **state) {
    (void)state;
    put_models();
    put("d.jsonl", "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\","
                   "\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}]}\n");
    put("c.json", "{\"model\": \"m.gguf\", \"train_file\": \"d.jsonl\"}\n");
    check_has(
        "inspect c.json", 2,
        "lorac: d.jsonl:1: record 1: messages[1].tool_calls[0]: found text that the chat template does not render");
    check_has("train c.json --output_dir out --max_steps 1 --device cpu", 2, "messages[1].tool_calls[0]: found text");
    check_has("inspect c.json --unrendered warn", 0, "\n  not used  messages[].tool_calls (1 record)\n");
    check_has("inspect c.json --unrendered no", 2, "unrendered");
    check_has("inspect c.json --unrendered warn --columns '{\"train\": \"learnt\"}'", 0,
              "columns: train: found no \"learnt\" in the messages of the first record; its keys are {role, content}");
    put("d.jsonl", "{\"messages\":[{\"role\":\"user\",\"content\":\"<|im_end|>\"},"
                   "{\"role\":\"assistant\",\"content\":\"b\"}]}\n");
    check_has("inspect c.json", 0,
              "  special   1 record with control tokens written in the text, kept as plain text\n");
    check_has("inspect c.json", 0,
              "lorac: 1 record with control tokens of the model spelled in the text, kept as text: ");
    put("t.jinja", "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}");
    check_has("inspect c.json --chat_template t.jinja", 0, "lorac: 1 record with an answer without an end token, so ");
    put("d.jsonl", "{\"text\":\"<|im_end|>b\"}\n");
    check_has("inspect c.json --show 1", 0,
              "  special   1 record with control tokens written in the text, parsed as tok");
    check_has("inspect c.json --show 1", 0, "3 tokens, 2 supervised");
    check_has("inspect c.json --parse_special false", 0, "kept as plain text");
    check_has("train c.json --output_dir out --max_steps 1 --device cpu", 0, "\nspecial  1 record with control tokens");
    check_output("tokenize --model v.gguf --text '<|im_end|>' --parse_special false",
                 "{\"text\": \"<|im_end|>\", \"input_ids\": [60, 124, 105, 109, 95, 101, 110, 100, 124, 62], "
                 "\"supervised\": [0, 1, 1, 1, 1, 1, 1, 1, 1, 1]}\n");
}

static void test_inspect_shows_weights_and_shards(void **state) {
    (void)state;
    StrBuf tar = {0}, gz = {0}, others = {0};
    put_models();
    put("d-1.jsonl", "{\"text\":\"a\"}\n{\"text\":\"b\"}\n");
    put("d-2.jsonl", "{\"text\":\"c\"}\n{\"text\":\"d\"}\n");
    tar_file(&tar, "0.txt", "e");
    tar_file(&tar, "0.jpg", "f");
    tar_end(&tar);
    gzip_bytes(&gz, tar.data, tar.len);
    scratch_put("s.tar.gz", gz.data, gz.len);
    tar_file(&others, "a.jsonl", "{\"text\": \"a\"}");
    tar_file(&others, "b.jpg", "b");
    tar_end(&others);
    scratch_put("o.tar", others.data, others.len);
    check_has("inspect o.tar", 2, "lorac: o.tar: found *.jsonl, *.jpg and no records; expected members .json, .txt");
    str_clear(&others);
    put("c.json", "{\"model\": \"m.gguf\", \"train_file\": [{\"path\": \"d-{1..2}.jsonl\", \"weight\": 2.5}, "
                  "\"s.tar.gz\"]}\n");
    check_has("inspect c.json", 0,
              "train       d-1.jsonl: 2 samples, weight 2.5\n            d-2.jsonl: 2 samples, weight 2.5\n"
              "            s.tar.gz: 1 sample\n");
    check_has("inspect c.json", 0, "  weighted  11 samples per epoch\n");
    check_has("inspect c.json", 0, "  ignored   1 member of archives: links, or neither .json, .txt nor .cls\n");
    check_has("inspect c.json train_file=d-*.jsonl", 0, "train       d-1.jsonl: 2 samples\n");
    check_has("inspect c.json train_file=x-*.jsonl", 2, "lorac: train_file: x-*.jsonl: found no file of that pattern");
    check_has("inspect s.tar.gz --show 1", 0, "s.tar.gz/0.txt:1: {\"text\": \"e\"}\n");
    check_has("inspect s.tar.gz", 0, "s.tar.gz: data, text, 1 record,");
    str_clear(&tar);
    tar_file(&tar, "0.jsonl", "{}");
    tar_end(&tar);
    scratch_put("e.tar", tar.data, tar.len);
    check_has("inspect c.json train_file=e.tar", 2, "e.tar: found *.jsonl and no records; expected members .json");
    str_clear(&tar);
    str_clear(&gz);
}

static void test_inspect_says_what_a_path_is(void **state) {
    (void)state;
    put_models();
    put("d.jsonl", DATA);
    put("d.json", "[{\"text\":\"a\\u001b[2J\"}]");
    put("lines.json", DATA);
    put("model.json", "{\"model_type\": \"llama\"}");
    check_has("inspect m.gguf", 0, "m.gguf: base model\n");
    check_has("inspect m.gguf", 0, "q_proj [32, 32], k_proj [16, 32]");
    check_has("inspect v.gguf", 0, "template     yes");
    check_has("inspect d.jsonl", 0, "d.jsonl: data, messages, 2 records");
    check_has("inspect d.json --show 1", 0, "d.json:1: {\"text\":\"a\\u001b[2J\"}");
    check_has("inspect d.json", 0, "d.json: data, text, 1 record,");
    check_has("inspect lines.json", 0, "lines.json: data, messages, 2 records");
    check_has("inspect model.json", 0, "model.json: configuration of a base model\n  architecture llama\n");
    put("bad.json", "{\"model_type\": \"t5\"}");
    check_has("inspect bad.json", 2, "lorac: bad.json: model_type is \"t5\"; expected one of");
    check_has("inspect missing.jsonl", 2, "lorac: missing.jsonl: no such file or folder");
    check_has("inspect .", 2, "found none of adapter_config.json");
    mkdir("splits", 0777);
    put("splits/train.jsonl", "{\"text\":\"a\"}\n");
    check_has("inspect splits --split test", 2,
              "lorac: splits: found no data file of the split test in the folder (train.jsonl); expected a file");
    check_has("inspect d.jsonl extra", 2, "unexpected argument \"extra\"");
    check_has("inspect", 2, "no path; expected");
    put("raw.jsonl", "{\"text\":\"\x1B[2J\"}\n");
    check_has("inspect raw.jsonl", 2, "raw.jsonl:1: found byte 0x1B");
}

static void test_inspect_hugging_face_folders(void **state) {
    (void)state;
    static const float zeros[32] = {0};
    const SafetensorsEntry wte = {"wte.weight", DTYPE_F32, 2, {4, 8}, zeros};
    Err err;
    mkdir("m", 0777);
    check_has("inspect m", 2, "m: found none of adapter_config.json");
    put("m/config.json", "{\"model_type\": \"gpt2\", \"n_embd\": 8, \"n_head\": 2}");
    check_has("inspect m", 2, "lorac: m: found config.json but no weights; expected model.safetensors or");
    ASSERT_OK(safetensors_save("m/model.safetensors", &wte, 1, NULL, 0, NULL, &err), &err);
    check_has("inspect m", 0, "m: base model\n  architecture gpt2\n  sizes        layers 12, hidden 8, heads 2");
    check_has("inspect m/", 0, "targets      c_attn [24, 8], attn.c_proj [8, 8], c_fc [32, 8], mlp.c_proj [8, 32]\n");
    check_has("inspect m", 0, "  F32          1 tensor, 32 values, 0.0 MB\n");
    put("m/config.json", "{\"model_type\": \"gpt2\", \"reorder_and_upcast_attn\": true}");
    check_has("inspect m", 0,
              "training     not supported: m/config.json: reorder_and_upcast_attn is true; expected fa");
    put("m/model.safetensors", "1234567");
    check_has("inspect m", 2, "lorac: m/model.safetensors: the file is 7 bytes long");
}

TEST_MAIN(SCRATCH_TEST(test_tokenize_text), SCRATCH_TEST(test_tokenize_messages),
          SCRATCH_TEST(test_inspect_shows_data_as_trained), SCRATCH_TEST(test_inspect_shows_preference_data),
          SCRATCH_TEST(test_inspect_and_train_name_unread_keys), SCRATCH_TEST(test_inspect_audits_data),
          SCRATCH_TEST(test_inspect_and_train_name_what_is_lost), SCRATCH_TEST(test_inspect_tells_the_keys_of_a_file),
          SCRATCH_TEST(test_inspect_takes_the_options_of_data), SCRATCH_TEST(test_inspect_counts_labels),
          SCRATCH_TEST(test_inspect_shows_weights_and_shards), SCRATCH_TEST(test_inspect_says_what_a_path_is),
          SCRATCH_TEST(test_inspect_hugging_face_folders))
