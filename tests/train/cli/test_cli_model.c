// The verbs that run a model (logits, generate, chat, verify, export, merge), run as a user runs them over a tiny
// random model: output, messages, exit status.
#include "adapter.h"
#include "cli_runner.h"
#include "safetensors.h"
#include "tiny_model.h"

// m.gguf, and two adapters for it: one/ and two.gguf.
static void put_models(void) {
    Backend *b;
    Model *m;
    Err err;
    tiny_model_write("m.gguf", &TINY_MODEL);
    ASSERT_OK(backend_open(&b, "cpu", 1, &err), &err);
    ASSERT_OK(model_load(&m, "m.gguf", b, NULL, &err), &err);
    AdapterConfig c = {.rank = 2, .alpha = 40, .projections = 1 << PROJ_Q | 1 << PROJ_O};
    for (int i = 0; i < 2; i++) {
        Adapter *a;
        ASSERT_OK(adapter_new(&a, m, &c, (uint64_t)i, false, &err), &err);
        for (int64_t j = 0; j < a->count; j++) a->params[j] = (float)((j * 7919 + i * 31) % 101) / 500 - 0.1f;
        ASSERT_OK(i ? adapter_save_gguf(a, m, "two.gguf", "two", &err) : adapter_save_peft(a, m, "one", "card", &err),
                  &err);
        adapter_free(a);
    }
    model_free(m);
    backend_close(b);
}

static void test_cli_logits(void **state) {
    (void)state;
    put_models();
    check_output("logits --model_name_or_path m.gguf --input_ids 1,2,3 --out l.safetensors", "");
    Safetensors *s;
    Err err;
    ASSERT_OK(safetensors_open(&s, "l.safetensors", &err), &err);
    const SafetensorsTensor *t = safetensors_get(s, "logits");
    assert_true(t && t->dtype == DTYPE_F32 && t->n_dims == 2 && t->shape[0] == 3 && t->shape[1] == TINY_VOCAB);
    safetensors_close(s);
    check_output("logits --model m.gguf --adapter_name_or_path one --input_ids '4, 5' --out l.safetensors", "");
    check_has("logits --model m.gguf --input_ids 1,,3 --out l", 2, "expected token ids with commas");
    check_has("logits --model m.gguf --input_ids 1,261 --out l", 2, "token id 261 at position 1; expected 0 to 260");
    check_has("logits --model m.gguf --out l", 2, "--input_ids is missing");
    check_has("logits --input_ids 1 --out l", 2, "--model_name_or_path is missing");
    check_output("logits --model m.gguf --device cpu --dtype f32 --input_ids 1,2,3 --out l.safetensors", "");
    check_has("logits --model m.gguf --device tpu --input_ids 1 --out l", 2, "--device: \"tpu\"; expected auto, cpu");
    check_has("logits --model m.gguf --dtype int8 --input_ids 1 --out l", 2, "--dtype: \"int8\"; expected auto, f32");
    check_has("logits --model m.gguf --device cpu --dtype f16 --input_ids 1 --out l", 2, "dtype: f16 needs a GPU");
    check_has("logits --model m.gguf --input_ids 1 --out /nowhere/l", 1, "/nowhere/l");
}

static void test_cli_generate(void **state) {
    (void)state;
    put_models();
    char *greedy = run("generate --model m.gguf --prompt hello --max_new_tokens 8", 0);
    char *again = run("generate --model_name_or_path=m.gguf prompt=hello max_new_tokens=8 --seed 7", 0);
    char *adapted = run("generate --model m.gguf --adapter_name_or_path two.gguf --prompt hello --max_new_tokens 8", 0);
    assert_string_equal(greedy, again); // greedy text does not depend on the seed
    assert_string_not_equal(greedy, adapted);
    mem_free(greedy);
    mem_free(again);
    mem_free(adapted);
    put("m.json", "[{\"role\": \"user\", \"content\": \"hi\"}]");
    mem_free(run("generate --model m.gguf --messages m.json --max_new_tokens 4 --temperature 1 --top_p 0.9", 0));
    // As in training: null is absence, and text may be JSON text.
    put("null.json", "[{\"role\": \"user\", \"content\": \"hi\", \"tool_calls\": null, \"name\": null}]");
    put("text.json",
        "{\"messages\": \"[{\\\"role\\\": \\\"user\\\", \\\"content\\\": \\\"hi\\\"}]\", \"tools\": null}");
    char *plain = run("generate --model m.gguf --messages m.json --max_new_tokens 4", 0);
    check_output("generate --model m.gguf --messages null.json --max_new_tokens 4", plain);
    check_output("generate --model m.gguf --messages text.json --max_new_tokens 4", plain);
    mem_free(plain);
    put("bad.json", "{\"text\": 1}");
    check_has("generate --model m.gguf --messages bad.json", 2, "bad.json: no \"messages\"; keys found: text");
    check_has("generate --model m.gguf", 2, "expected one of QUESTION, --prompt and --messages");
    check_has("generate --model m.gguf --prompt a --temperature -1", 2, "temperature is -1");
    check_has("generate --model m.gguf --prompt ''", 2, "has 0 tokens");
    check_has("generate --model m.gguf --prompt a --max_new_token 1", 2, "--max_new_tokens");
}

static void test_cli_chat_on_a_pipe(void **state) {
    (void)state;
    put_models();
    put("in",
        "/adapters\n/load b=two.gguf\n/adapter zz\n/adapter none\n/bogus\n/load c=missing\nhi\n/reset\n/exit\nhi\n");
    char *out = run("chat --model m.gguf --adapter a=one --max_new_tokens 2 < in", 0);
    static const char *const parts[] = {"  none\n* a (rank 2, ", "b=two.gguf loaded in ",       "no adapter \"zz\"",
                                        "adapter none active\n", "\"/bogus\" is not a command", "missing"};
    CHECK_PARTS(out, parts);
    mem_free(out);
    check_has("chat -m m.gguf -a one < in", 0, "* one (rank 2, ");
    check_has("chat --model m.gguf --adapter nowhere < in", 2, "expected NAME=PATH");
}

static void test_cli_verify_and_export(void **state) {
    (void)state;
    put_models();
    check_output("export one --model m.gguf --format gguf --out one.gguf", "");
    check_output("export one.gguf --model m.gguf --format peft --out out/again", "");
    check_has("verify one.gguf --model m.gguf", 0, "verified");
    check_has("verify out/again --model m.gguf", 0, "no adapter.gguf next to it");
    mem_free(run("export out/again --model m.gguf --format gguf --out out/adapter.gguf", 0));
    check_has("verify out/again --model m.gguf", 0, "largest logit difference PEFT - GGUF over 48 tokens: 0\n");
    check_has("verify m.gguf --model m.gguf", 1, "general.type");
    check_has("verify nowhere --model m.gguf", 1, "nowhere: not found");
    check_has("verify --model m.gguf", 2, "verify: ADAPTER is missing; expected lorac verify ADAPTER");
    check_output("export one --model m.gguf --format peft --out named --base-name owner/base", "");
    check_has("inspect named", 0, "owner/base");
    check_has("export one --model m.gguf --format onnx --out x", 2, "--format: \"onnx\"; expected peft or gguf");
    check_has("export one --model m.gguf --format peft", 2, "--out is missing");
}

static void test_cli_inspect_says_what_the_base_takes(void **state) {
    (void)state;
    put_models(); // 2 layers of 9216 elements, 4 bytes each
    check_has("inspect m.gguf", 0, "  in memory    0.1 MB; quantize_base int8 0.1 MB, nf4 0.0 MB\n");
}

static void test_cli_merge(void **state) {
    (void)state;
    put_models();
    check_has("merge --model m.gguf --adapter_name_or_path one --out new.gguf", 0,
              "largest logit difference written - adapter over 64 tokens: ");
    char *adapted = run("generate --model m.gguf --adapter_name_or_path one --prompt hello --max_new_tokens 8", 0);
    check_output("generate --model new.gguf --prompt hello --max_new_tokens 8", adapted);
    mem_free(adapted);
    put("v.jsonl", "{\"text\": \"hello there, and good bye\"}\n");
    check_has(
        "merge --model m.gguf --adapter_name_or_path two.gguf --out q.gguf --dtype q8_0 --validation_file v.jsonl", 0,
        "perplexity of the validation data: ");
    check_has("merge --model m.gguf --adapter_name_or_path one --out new.gguf", 2, "new.gguf: already exists");
    check_has("merge --model m.gguf --adapter_name_or_path one --out new", 2, "merges into GGUF");
    check_has("merge --model m.gguf --adapter_name_or_path one --out x.gguf --dtype q3_k", 2,
              "--dtype: \"q3_k\"; expected keep, f32, f16, bf16, q8_0, q6_k");
    check_has("merge --model m.gguf --adapter_name_or_path two.gguf --out q4.gguf --type Q4_K_M --validation_file "
              "v.jsonl",
              0, "mean KL divergence ");
    check_has("merge --model m.gguf --out base.gguf --dtype q8_0", 0,
              "largest logit difference written - base over 64");
    check_has("merge --model m.gguf --adapter_name_or_path one", 2, "--out is missing");
}

// What an adapter was trained with comes before the model's own; an option before both.
static void test_cli_template_of_the_adapter(void **state) {
    (void)state;
    put_models();
    put("one/chat_template.jinja", "{{ raise_exception('of the adapter') }}");
    put("plain.jinja", "{% for m in messages %}{{ m.content }}{% endfor %}");
    put("m.json", "[{\"role\": \"user\", \"content\": \"hi\"}]");
    const char *base = "generate --model m.gguf --messages m.json --max_new_tokens 2";
    char *plain = mem_printf("%s --adapter_name_or_path one --chat_template plain.jinja", base);
    char *own = mem_printf("%s --adapter_name_or_path one", base);
    mem_free(run(base, 0));
    mem_free(run(plain, 0));
    check_has(own, 2, "of the adapter");
    check_has("chat --model m.gguf --adapter x=one < m.json", 0, "of the adapter"); // the file is a line
    mem_free(plain);
    mem_free(own);
}

// The output_dir of a run names base, adapter and data.
static void test_cli_run_folder(void **state) {
    (void)state;
    put_models();
    assert_int_equal(system("mkdir -p runs/x && mv one runs/x/adapter"), 0);
    put("d.jsonl", "{\"text\": \"some words to measure\"}\n");
    put("runs/x/config.json", "{\"model_name_or_path\": \"m.gguf\", \"validation_file\": \"d.jsonl\", "
                              "\"output_dir\": \"runs/before_it_was_moved\", \"device\": \"cpu\"}");
    char *raw = run("generate -m m.gguf -a runs/x/adapter -p hello -n 8", 0);
    check_output("generate runs/x --prompt hello --max_new_tokens 8", raw);
    mem_free(raw);
    put("m.json", "[{\"role\": \"user\", \"content\": \"hello\"}]");
    char *turn = run("generate -m m.gguf -a runs/x/adapter --messages m.json -n 8", 0);
    check_output("generate runs/x hello -n 8", turn);
    check_output("generate runs/x hello -n 8 --model m.gguf", turn);
    char *other = run("generate runs/x hello -n 8 -a two.gguf", 0);
    assert_string_not_equal(turn, other);
    mem_free(turn);
    mem_free(other);
    put("in", "/adapters\n");
    check_output("chat runs/x < in", "  none\n* x (rank 2, 512 parameters)\n");
    check_output("export runs/x --format gguf --out runs/x/adapter.gguf", "");
    check_has("verify runs/x", 0, "verified");
    check_has("eval runs/x", 0, "eval_loss=");
    check_has("merge runs/x --out merged.gguf --dtype f32", 0, "merged.gguf: ");
    check_output("logits runs/x --input_ids 1,2 --out l.safetensors", "");
    check_has("generate runs/y hello", 2, "runs/y: no config.json with adapter/ beside it; expected the output_dir");
    check_has("generate runs/y --prompt hello", 2, "runs/y: no config.json with adapter/ beside it");
    check_has("merge runs/x", 2, "--adapter_name_or_path A]) --out P\n");
    check_has("generate runs/x", 2, "expected one of QUESTION, --prompt and --messages");
    check_has("generate runs/x hello --prompt hello", 2, "expected one of QUESTION, --prompt and --messages");
    check_has("generate runs/x hello there", 2, "unexpected argument \"there\"");
    check_has("export runs/x/adapter --format gguf --out b.gguf", 2, "or --model_name_or_path");
    put("runs/x/config.json", "{\"model_name_or_path\": ");
    check_has("generate runs/x hello", 2, "runs/x/config.json");
}

// JSON in the place of a file of messages.
static void test_cli_messages_on_the_command_line(void **state) {
    (void)state;
    put_models();
    const char *text = "[{\"role\": \"user\", \"content\": \"hi\"}]";
    put("m.json", text);
    char *of_file = run("generate --model m.gguf --messages m.json -n 4", 0);
    check_output("generate --model m.gguf --messages '[{\"role\": \"user\", \"content\": \"hi\"}]' -n 4", of_file);
    mem_free(of_file);
    check_has("generate --model m.gguf --messages '[{' -n 4", 2, "--messages");
}

// "own/`name`" in the hub's cache, with what `from` is.
static void put_in_cache(const char *name, const char *from) {
    AUTO_FREE char *command =
        mem_printf("d=cache/huggingface/hub/models--own--%s c=0123456789012345678901234567890123456789; "
                   "mkdir -p $d/refs $d/blobs/x $d/snapshots/$c && printf $c > $d/refs/main && cp -r %s $d/blobs/x && "
                   "for f in $d/blobs/x/*; do ln -s ../../blobs/x/${f##*/} $d/snapshots/$c; done",
                   name, from);
    assert_int_equal(system(command), 0);
}

#define REVISION "9876543210987654321098765432109876543210"

// A second snapshot of the cached model, which the tag v1 names.
static void put_tag(const char *name) {
    AUTO_FREE char *command =
        mem_printf("cd cache/huggingface/hub/models--own--%s && cp -r snapshots/0* snapshots/" REVISION
                   " && printf " REVISION " > refs/v1",
                   name);
    assert_int_equal(system(command), 0);
}

static void check_revision(const char *folder, const char *revision) {
    AUTO_FREE char *command = mem_printf("cat %s/adapter_config.json", folder), *text = command_output(command, 0);
    AUTO_FREE char *field = mem_printf("\"revision\":\t%s", revision);
    if (!strstr(text, field)) fail_msg("%s lacks %s", text, field);
}

static void check_names_the_hub(const char *path) {
    AUTO_FREE char *command = mem_printf("cat %s", path), *text = command_output(command, 0);
    assert_non_null(strstr(text, "own/base"));
    assert_null(strstr(text, "cache/"));
}

// Base and adapters by their names on the hub: no path of the cache leaves this machine.
static void test_cli_names_of_the_hub(void **state) {
    (void)state;
    put_models();
    put_in_cache("base", "m.gguf");
    put_in_cache("ad", "one/*");
    put("d.jsonl", "{\"text\":\"hello\"}\n");
    put("in.txt", "/adapters\n");
    mem_free(run("train -m own/base --train_file d.jsonl --output_dir out --max_steps 1 --device cpu --lora_r 2", 0));
    check_names_the_hub("out/adapter/adapter_config.json");
    check_names_the_hub("out/adapter/README.md");
    check_has("chat -m own/base --adapter x=own/ad < in.txt", 0, "* x (rank 2, ");
    check_has("chat -m own/base --adapter own/ad < in.txt", 0, "* ad (rank 2, ");
    check_has("chat -m m.gguf --adapter x=own/none < in.txt", 2, "lorac: own/none: no such file or folder, nor in the");
    check_has("generate -m m.gguf -a own/none --prompt a", 2,
              "\"lorac pull own/none\" fetches it; expected an adapter");
    check_has("verify own/ad -m own/base", 0, "verified");
    mem_free(run("export own/ad -m own/base --format gguf --out e.gguf", 0));
    check_revision("out/adapter", "null");
    check_has("inspect -m own/none --model_revision zz --train_file d.jsonl", 2,
              "own/none@zz: no such file or folder, nor in the hub's cache");
    check_has("inspect -m own/base@zz --train_file d.jsonl", 2,
              "own/base@zz: no such file or folder, nor in the hub's");
    check_has("inspect -m own/base@zz --model_revision yy --train_file d.jsonl", 2,
              "found @zz in the name and model_revision yy; expected one of them");
}

// PEFT loads the base in the revision that adapter_config.json names.
static void test_cli_revision_of_the_base(void **state) {
    (void)state;
    static const char *const given[] = {"own/base@v1", "own/base --model_revision v1"};
    put_models();
    put_in_cache("base", "m.gguf");
    put_tag("base");
    put("d.jsonl", "{\"text\":\"hello\"}\n");
    for (int i = 0; i < 2; i++) {
        AUTO_FREE char *words = mem_printf("train -m %s --train_file d.jsonl --output_dir out%d --max_steps 1 "
                                           "--device cpu --lora_r 2",
                                           given[i], i);
        mem_free(run(words, 0));
    }
    check_revision("out0/adapter", "\"v1\"");
    check_revision("out1/adapter", "\"v1\"");
    AUTO_FREE char *card = command_output("cat out0/adapter/README.md", 0);
    assert_non_null(strstr(card, "from_pretrained(\"own/base\", revision=\"v1\")"));
    mem_free(run("train out0/config.json --output_dir again", 0)); // the saved config has a path
    check_revision("again/adapter", "\"v1\"");
    mem_free(run("export out0 --format peft --out e1", 0));
    check_revision("e1", "\"v1\"");
    mem_free(run("export out0/adapter -m own/base@v1 --format peft --out e2", 0));
    check_revision("e2", "\"" REVISION "\"");
    mem_free(run("export out0/adapter -m own/base --format peft --out e3", 0));
    check_revision("e3", "null");
    mem_free(run("export out0 --base_model_name other/base --format peft --out e4", 0));
    check_revision("e4", "null"); // it is one of own/base
}

TEST_MAIN(SCRATCH_TEST(test_cli_run_folder), SCRATCH_TEST(test_cli_messages_on_the_command_line),
          SCRATCH_TEST(test_cli_template_of_the_adapter), SCRATCH_TEST(test_cli_logits), SCRATCH_TEST(test_cli_merge),
          SCRATCH_TEST(test_cli_inspect_says_what_the_base_takes), SCRATCH_TEST(test_cli_generate),
          SCRATCH_TEST(test_cli_chat_on_a_pipe), SCRATCH_TEST(test_cli_names_of_the_hub),
          SCRATCH_TEST(test_cli_revision_of_the_base), SCRATCH_TEST(test_cli_verify_and_export))
