// Keys of other tools' configs: what each is mapped to, what is accepted with a line in the log, what is refused with
// what advice; the tool, its defaults, and keys whose meaning depends on it.
#include "foreign_cases.h"

static void test_foreign_common_keys(void **state) {
    (void)state;
    static const Mapped cases[] = {
        {"lr: 1e-3", "learning_rate", "0.001"},
        {"epochs: 2", "num_train_epochs", "2"},
        {"batch_size: 4", "per_device_train_batch_size", "4"},
        {"val_size: 0.1", "val_set_size", "0.1"},
        {"eval_dataset: e.jsonl", "validation_file", "[\"e.jsonl\"]"},
        {"lora_target: all", "lora_target_modules", "[\"all-linear\"]"},
        {"lora_target: all-linear", "lora_target_modules", "[\"all-linear\"]"},
        {"lora_target: q_proj, v_proj", "lora_target_modules", "[\"q_proj\",\"v_proj\"]"},
        {"lora_target: [k_proj]", "lora_target_modules", "[\"k_proj\"]"},
        {"warmup_ratio: 0.1", "warmup_ratio", "0.1"},
        {"warmup_ratio: 20", "warmup_steps", "20"},
        {"save_strategy: epoch", "save_steps", "0.33333333333333331"},
        {"save_strategy: epoch\nnum_train_epochs: 4", "save_steps", "0.25"},
        {"save_strategy: epoch\nepochs: 1", "save_steps", "0.999999999"},
        {"save_strategy: no", "save_steps", "0.999999999"},
        {"save_strategy: 'no'\nsave_steps: 7", "save_steps", "0.999999999"},
        {"save_strategy: steps\nsave_steps: 7", "save_steps", "7"},
        {"lr_scheduler: cosine_with_min_lr\nlr_scheduler_kwargs: {min_lr_rate: 0.1}", "min_lr_ratio", "0.1"},
        {"use_cpu: true", "device", "\"cpu\""},
        {"load_in_8bit: true\nload_in_4bit: false", "quantize_base", "\"int8\""},
        {"plugins: [axolotl.integrations.kd.KDPlugin]\nkd_trainer: true\nkd_alpha: 0.9\nkd_ce_alpha: 0.1\nkd_beta: "
         "0.0\n"
         "teacher_logits: t",
         "kd_alpha", "0.9"},
        {"load_in_8bit: false\nload_in_4bit: true", "quantize_base", "\"nf4\""},
        {"special_tokens: {eos_token: </s>, pad_token: x}", "eos_token", "\"</s>\""},
        {"max_samples: 100\ntrain_file: [a, {path: b, max_samples: 5}]", "train_file",
         "[{\"path\":\"a\",\"max_samples\":100},{\"path\":\"b\",\"max_samples\":5}]"},
        {"noisy_embedding_alpha: 5", "neftune_noise_alpha", "5"},
        {"lora_model_dir: a", "adapter_name_or_path", "\"a\""},
        {"columns: {prompt: question, completion: a.b, role: null}", "columns",
         "{\"prompt\":\"question\",\"completion\":\"a.b\"}"},
    };
    CHECK_MAPPED(cases);
}

static void test_foreign_axolotl(void **state) {
    (void)state;
#define AX "adapter: lora\n"
#define DATA "datasets: [{path: d.jsonl, type: chat_template"
    static const Mapped cases[] = {
        {AX, "num_train_epochs", "1"},
        {AX, "max_seq_length", "512"},
        {AX, "packing", "false"},
        {AX "sample_packing: true", "packing", "true"},
        {AX "rl: dpo\nrl_beta: 0.5", "beta", "0.5"},
        {AX "rl: ipo", "preference_loss", "\"ipo\""},
        {AX "rl: kto", "task", "\"preference\""},
        {AX "rl: simpo", "rpo_alpha", "1"},
        {AX "datasets: [{path: d, type: chat_template.default, field_messages: m, field_chosen: c, field_rejected: r}]",
         "train_file", "[{\"path\":\"d\",\"columns\":{\"messages\":\"m\",\"chosen\":\"c\",\"rejected\":\"r\"}}]"},
        {AX "sample_packing: null", "packing", "false"},
        {"adapter: qlora", "quantize_base", "\"nf4\""},
        {"adapter: qlora\nload_in_4bit: true", "quantize_base", "\"nf4\""},
        {"load_in_4bit: true\nadapter: qlora", "quantize_base", "\"nf4\""},
        {AX "lora_target_linear: true\nlora_target_modules: [q_proj]", "lora_target_modules", "[\"all-linear\"]"},
        {AX "lora_target_linear: false\nlora_target_modules: [q_proj]", "lora_target_modules", "[\"q_proj\"]"},
        {AX "lora_target_linear:\nlora_target_modules: [q_proj]", "lora_target_modules", "[\"q_proj\"]"},
        {AX "val_set_size: 0.1\nevals_per_epoch: 4\nnum_epochs: 2", "eval_steps", "0.125"},
        {AX "val_set_size: 0.1\nevals_per_epoch: 4\nnum_epochs: 2", "eval_strategy", "\"steps\""},
        {AX "val_set_size: 0.1\nevals_per_epoch: 1", "eval_strategy", "\"no\""}, // once, at the end
        {AX "val_set_size: 0.0\nevals_per_epoch: 4", "eval_strategy", "\"no\""},
        {AX "val_set_size: 0\nevals_per_epoch:", "eval_strategy", "\"no\""},
        {AX "saves_per_epoch: 2\nnum_epochs: 4", "save_steps", "0.125"},
        {AX "saves_per_epoch: 1", "save_steps", "0.999999999"},
        {AX "save_strategy: epoch\nsave_steps: 9", "save_steps", "9"},
        {AX "batch_size: 8\nmicro_batch_size: 2", "gradient_accumulation_steps", "4"},
        {AX "batch_size: 8\nmicro_batch_size: 2\ngradient_accumulation_steps: 3", "gradient_accumulation_steps", "3"},
        {AX "lr_scheduler: cosine\ncosine_min_lr_ratio: 0.2", "lr_scheduler_type", "\"cosine_with_min_lr\""},
        {AX "cosine_min_lr_ratio: 0.2\nlr_scheduler: cosine", "min_lr_ratio", "0.2"},
        {AX "curriculum_sampling: true", "shuffle", "false"},
        {AX "chat_template: tokenizer_default", "chat_template", "null"},
        {AX "chat_template: llama3", "template", "\"llama3\""},
        {AX "chat_template: jinja\nchat_template_jinja: x.jinja", "chat_template", "\"x.jinja\""},
        {DATA "}]", "train_file", "[\"d.jsonl\"]"},
        {DATA ", split: 'train[:20%]'}]", "train_file", "[{\"path\":\"d.jsonl\",\"max_samples\":0.2}]"},
        {DATA ", split: 'train[10%:]'}]", "train_file", "[{\"path\":\"d.jsonl\",\"split\":\"train[10%:]\"}]"},
        {DATA ", split: 'train[-20:]'}]", "train_file", "[{\"path\":\"d.jsonl\",\"split\":\"train[-20:]\"}]"},
        {"stage: sft\ntrain_file: [a, b]\nmix_strategy: interleave_under\ninterleave_probs: 0.25,0.75", "train_file",
         "[{\"path\":\"a\",\"probability\":0.25},{\"path\":\"b\",\"probability\":0.75}]"},
        {"mix_strategy: interleave_over\ntrain_file: [{path: a, split: 'train[:5]', probability: 0.5}, {path: b, "
         "probability: 0.5}]",
         "train_file",
         "[{\"path\":\"a\",\"split\":\"train[:5]\",\"probability\":0.5},{\"path\":\"b\",\"probability\":0.5}]"},
        {DATA ", split: 'train[:100]'}]", "train_file", "[{\"path\":\"d.jsonl\",\"max_samples\":100}]"},
        {"datasets: [{path: o/n, type: chat_template, split: test, revision: v1}]", "train_file", "[\"o/n@v1:test\"]"},
        {"datasets: [{path: o/n, type: chat_template, split: train, data_files: [x/a.jsonl]}]", "train_file",
         "[\"o/n/x/a.jsonl\"]"},
        {DATA ", split: train, name: null, ds_type: json, roles_to_train: [assistant], train_on_eos: turn}]",
         "train_file", "[\"d.jsonl\"]"},
        {DATA ", ds_type: csv}]", "train_file", "[\"d.jsonl\"]"},
        {DATA ", field_messages: conversations, message_property_mappings: {role: from, content: value}}]",
         "train_file", "[\"d.jsonl\"]"},
        {DATA ", field_messages: a.b, message_field_role: who, message_field_content: said}]", "train_file",
         "[{\"path\":\"d.jsonl\",\"columns\":{\"messages\":\"a.b\",\"role\":\"who\",\"content\":\"said\"}}]"},
        {DATA ", roles_to_train: [gpt, human], train_on_eos: last, train_on_eot: last, message_field_training: learn}]",
         "train_file",
         "[{\"path\":\"d.jsonl\",\"train_on_eos\":\"last\",\"roles_to_train\":[\"user\",\"assistant\"],\"columns\":{"
         "\"train\":\"learn\"}}]"},
        {DATA ", field_thinking: cot, template_thinking_key: thinking}]", "train_file",
         "[{\"path\":\"d.jsonl\",\"columns\":{\"reasoning_content\":\"cot\"}}]"},
        {DATA ", message_property_mappings: {role: role, content: content, reasoning_content: thinking}}]",
         "train_file", "[\"d.jsonl\"]"},
        {DATA ", roles_to_train: []}]", "train_file", "[{\"path\":\"d.jsonl\",\"roles_to_train\":[]}]"},
        {DATA ", roles: {user: [human, user], assistant: [gpt]}, message_field_training: train}]", "train_file",
         "[\"d.jsonl\"]"},
        {"datasets: [{path: a, type: alpaca, field_instruction: q, field_output: r}, {path: b, type: completion, "
         "field: t}]",
         "train_file",
         "[{\"path\":\"a\",\"format\":\"alpaca_prompt\",\"columns\":{\"instruction\":\"q\",\"output\":\"r\"}},"
         "{\"path\":\"b\",\"format\":\"text\",\"columns\":{\"text\":\"t\"}}]"},
        {"datasets: [{path: d.jsonl, type: {system_prompt: '', field_system: rules, field_instruction: input, "
         "field_output: output, format: '[INST] {instruction} [/INST]', no_input_format: '[INST] {instruction} "
         "[/INST]'}}]",
         "train_file",
         "[{\"path\":\"d.jsonl\",\"format\":\"alpaca_prompt\",\"prompt_format\":{\"system_prompt\":\"\",\"format\":"
         "\"[INST] {instruction} [/INST]\",\"no_input_format\":\"[INST] {instruction} [/INST]\"},\"columns\":{"
         "\"system\":\"rules\",\"instruction\":\"input\"}}]"},
        {"datasets: [{path: d.jsonl, type: {field_instruction: q, format: null}}]", "train_file",
         "[{\"path\":\"d.jsonl\",\"format\":\"alpaca_prompt\",\"prompt_format\":{\"system_prompt\":\"\"},\"columns\":{"
         "\"instruction\":\"q\"}}]"},
        {DATA ", roles_to_train: [bot], roles: {assistant: [bot, gpt], user: [assistant], function: act}}]",
         "train_file",
         "[{\"path\":\"d.jsonl\",\"roles\":{\"assistant\":[\"bot\"],\"user\":[\"assistant\"],\"function_call\":["
         "\"act\"]"
         "}}]"},
        {"datasets: [{path: d.jsonl, type: input_output}]", "train_file",
         "[{\"path\":\"d.jsonl\",\"format\":\"segments\"}]"},
        {"datasets: [{path: d.jsonl, type: chat_template, weight: 2}]", "train_file",
         "[{\"path\":\"d.jsonl\",\"weight\":2}]"},
        {"datasets: [{path: DIR, data_files: [x.jsonl, y.jsonl], type: sharegpt}]", "train_file",
         "[\"DIR/x.jsonl\",\"DIR/y.jsonl\"]"},
        {"datasets: [{path: json, data_files: x.jsonl, type: sharegpt}]", "train_file", "[\"x.jsonl\"]"},
        {AX "test_datasets: [{path: t.jsonl, type: chat_template}]", "validation_file", "[\"t.jsonl\"]"},
    };
    mkdir("DIR", 0777);
    CHECK_MAPPED(cases);
    static const Refused refused[] = {
        {"adapter: ia3", "c.yaml:1: adapter: \"ia3\"; expected lora or qlora"},
        {"adapter: qlora\nload_in_8bit: true", "c.yaml:1: adapter: qlora; a base in int8 is lora"},
        {AX "lora_target_linear: true\nlora_target_modules: [embed_tokens]",
         ":3: lora_target_modules: \"embed_tokens\""},
        {AX "batch_size: 7\nmicro_batch_size: 2", ":2: batch_size: 7; expected a multiple of micro_batch_size, 2"},
        {AX "evals_per_epoch: many", ":2: evals_per_epoch: \"many\"; expected a number"},
        {AX "chat_template_jinja: '{% if x %}'", ":2: chat_template_jinja: \"{% if x %}\"; expected a .jinja file"},
        {DATA ", split: 'train[10:20'}]", ":1: datasets: entry 1: split: \"train[10:20\"; a file is the split train"},
        {DATA ", split: 'train[10:20%]'}]", "entry 1: split: \"train[10:20%]\"; a file is the split train"},
        {DATA ", split: test}]", "datasets: entry 1: split: \"test\"; a file is the split train: expected train"},
        {"train_file: [{path: a, split: 'train[5]'}]", "expected split as a name with a slice"},
        {"train_file: [{path: a, probability: 1.5}]", "expected a probability above 0 and below 1"},
        {"train_file: [{path: a, probability: 0.5}]", "mix_strategy: concat has no probabilities"},
        {"mix_strategy: interleave_over\ntrain_file: [{path: a, weight: 2}]",
         "mix_strategy: interleaved files have no weights"},
        {"stage: sft\ntrain_file: [a, b]\nmix_strategy: interleave_under\ninterleave_probs: '0.5'",
         ":4: interleave_probs: found 1; expected 2, one for each data set"},
        {"stage: sft\ntrain_file: [a, b]\ninterleave_probs: 0.5, x",
         "interleave_probs: \"0.5, x\"; expected probabilities"},
        {"datasets:\n  - {path: a, type: alpaca}\n  - {path: b, type: 'alpaca:x'}",
         ":1: datasets: entry 2: type: \"alpaca:x\"; expected chat_template, alpaca, completion, input_output"},
        {"datasets: [{path: a, type: context_qa.load_404}]",
         "type: \"context_qa.load_404\"; expected chat_template, alpaca, completion, input_output"},
        {"datasets: [{path: a, type: 'sharegpt:chat'}]", "type: \"sharegpt:chat\"; expected chat_template as the type"},
        {"datasets: [{path: a, weight: .nan}]", "entry 1: weight: .nan; expected a number above 0, at most 1000"},
        {"datasets: [{path: a, weight: -.inf}]", "entry 1: weight: -.inf; expected a number above 0, at most 1000"},
        {"datasets: [{path: a, weight: 0}]", "entry 1: weight: 0; expected a number above 0, at most 1000"},
        {"datasets: [{path: a, weight: 1e30}]", "entry 1: weight: 1e30; expected a number above 0, at most 1000"},
        {"datasets: [{path: a, weight: '2'}]", "entry 1: weight: \"2\"; expected a number above 0, at most 1000"},
        {"datasets: [{path: a, type: stepwise_supervised}]", "reward models are not in this version"},
        {"datasets: [{path: a, type: chatml.intel}]", "expected chat_template.default, with field_messages"},
        {"datasets: [{path: a, type: {format: '{instruction} {text}'}}]",
         "datasets: entry 1: type: \"{instruction} {text}\"; format: found \"{text}\"; expected the "
         "fields "
         "{instruction}, {input} and {{ or }} for a brace"},
        {"datasets: [{path: a, type: {no_input_format: '{input}'}}]", "no_input_format: found \"{input}\"; expected"},
        {"datasets: [{path: a, type: {system_format: '}'}}]",
         "system_format: found \"}\"; expected the fields {system}"},
        {"datasets: [{path: a, type: {format: 3}}]", "entry 1: format: 3; expected text"},
        {"datasets: [{path: a, type: {field: x}}]", "entry 1: field: \"x\"; this key of a type is not in this version"},
        {DATA ", roles_to_train: [critic]}]", "entry 1: roles_to_train: [\"critic\"]; expected roles of system, user"},
        {DATA ", train_on_eos: all, train_on_eot: none}]", "entry 1: train_on_eot: \"none\"; expected the same of"},
        {DATA ", message_field_training_detail: d}]", "entry 1: message_field_training_detail: \"d\"; parts of a turn"},
        {DATA ", roles_to_train: [user]}]\ntrain_on_inputs: true", "train_on_inputs: learns every turn; leave it out"},
        {"train_on_eos: none\ntrain_on_inputs: true", "train_on_inputs: learns every turn; leave it out"},
        {"roles_to_train: [critic]", "roles_to_train: \"critic\"; expected system, user, assistant or tool"},
        {"train_file: [{path: a, roles_to_train: [x]}]", "expected roles_to_train of system, user, assistant or tool"},
        {"train_file: [{path: a, train_on_eos: x}]", "expected train_on_eos: turn, all, last or none"},
        {DATA ", roles: {critic: [bot]}}]",
         "entry 1: roles: {\"critic\": [\"bot\"]}; expected lists of names, of system"},
        {"train_file: [{path: a, roles: {critic: [x]}}]", "expected roles: names of system, user, assistant, tool or"},
        {"train_file: [{path: a, roles: {user: [3]}}]", "expected roles as {\"assistant\": [\"bot\"], ...}"},
        {"train_file: [{path: a, format: text, prompt_format: {format: x}}]",
         "expected prompt_format with the format alpaca_prompt"},
        {"train_file: [{path: a, prompt_format: {}}]", "expected prompt_format as {\"format\": "},
        {"train_file: [{path: a, prompt_format: {form: x}}]",
         "expected prompt_format of the texts system_prompt, system_"},
        {"train_file: [{path: a, prompt_format: {format: '{x}'}}]",
         "expected format: found \"{x}\"; expected the fields"},
        {"mask_history: true\ntrain_on_inputs: true",
         "mask_history: learns the last answer only; expected no train_on_"},
        {DATA ", train_on_eos: some}]", "entry 1: train_on_eos: \"some\"; expected turn, all, last or none"},
        {DATA ", message_property_mappings: {role: from, name: t}}]", "expected role and content; other properties"},
        {DATA ", wieght: 2}]", "entry 1: wieght: 2; this key of an entry is not in this version"},
        {DATA ", field_messages: 3}]", "entry 1: field_messages: 3; expected the name of a key"},
        {"datasets: [{type: alpaca}]", "datasets: entry 1: path: null; expected the path of a file"},
        {"datasets: [d.jsonl]", ":1: datasets: entry 1: expected {path: ..., type: ...}"},
        {"datasets: d.jsonl", ":1: datasets: \"d.jsonl\"; expected a list of data sets"},
        {AX "dataset: a\ndatasets: [{path: b, type: alpaca}]", ":3: datasets: sets train_file, which line 2 has set"},
    };
    CHECK_REFUSED(refused);
}

static void test_foreign_llama_factory(void **state) {
    (void)state;
#define LF "stage: sft\n"
    static const Mapped cases[] = {
        {LF, "lora_r", "8"},
        {LF, "lora_alpha", "16"},
        {LF "lora_rank: 64", "lora_alpha", "128"},
        {LF "lora_rank: 64\nlora_alpha: 5", "lora_alpha", "5"},
        {LF, "lora_target_modules", "[\"all-linear\"]"},
        {LF, "learning_rate", "5e-05"},
        {LF, "lr_scheduler_type", "\"linear\""},
        {LF, "warmup_ratio", "0"},
        {LF, "packing", "false"},
        {LF, "truncation", "\"truncate\""},
        {LF, "per_device_train_batch_size", "8"},
        {LF "finetuning_type: lora\ndo_train: true", "max_seq_length", "2048"},
        {LF "quantization_bit: 8", "quantize_base", "\"int8\""},
        {LF "neat_packing: true", "packing", "true"},
        {LF "packing: true\nneat_packing: true", "packing", "true"},
        {LF "packing: false", "packing", "false"},
        {LF "early_stopping_steps: 3\nval_size: 5\neval_strategy: steps", "early_stopping_patience", "3"},
        {LF "disable_shuffling: true", "shuffle", "false"},
        {LF "ray_num_workers: 4", "num_gpus", "4"},
        {LF "ray_num_workers: 1", "num_gpus", "1"},
        {LF "template: qwen3_nothink", "template", "\"qwen3_nothink\""},
        {LF "dataset: a.jsonl, b/c", "train_file", "[\"a.jsonl\",\"b/c\"]"},
        {LF "dataset: [one, two]\ndataset_dir: INFO", "train_file",
         "[{\"path\":\"INFO/one.json\",\"format\":\"alpaca\"},{\"path\":\"INFO/"
         "two.json\",\"columns\":{\"messages\":\"chat\","
         "\"role\":\"who\"}}]"},
        {LF "dataset: three\ndataset_dir: INFO\nmax_samples: 9", "train_file",
         "[{\"path\":\"INFO/"
         "three.json\",\"format\":\"alpaca\",\"max_samples\":9,\"columns\":{\"system\":\"s\",\"instruction\":"
         "\"q\",\"output\":\"a\"}}]"},
        {LF "mask_history: true", "mask_history", "true"},
        {"stage: dpo", "task", "\"preference\""},
        {"stage: kto\nkto_chosen_weight: 2", "desirable_weight", "2"},
        {"stage: kto", "preference_loss", "\"kto\""},
        {"stage: dpo\npref_loss: sigmoid\npref_beta: 0.2\npref_ftx: 0.5", "beta", "0.2"},
        {"pref_loss: orpo\nstage: dpo", "preference_loss", "\"orpo\""},
        {"stage: dpo\ndataset: pairs\ndataset_dir: INFO", "train_file",
         "[{\"path\":\"INFO/p.json\",\"columns\":{\"chosen\":\"good\",\"rejected\":\"bad\"}}]"},
        {LF "dataset: bot\ndataset_dir: INFO", "train_file",
         "[{\"path\":\"INFO/"
         "b.json\",\"roles\":{\"user\":[\"ask\"],\"assistant\":[\"bot\"],\"tool\":[\"see\"],\"function_"
         "call\":[\"act\"]}}]"},
        {LF "dataset: hubs\ndataset_dir: INFO", "train_file", "[{\"path\":\"x/y@v1\",\"format\":\"alpaca\"}]"},
        {LF "dataset: hub\ndataset_dir: INFO", "train_file", "[{\"path\":\"x/y:test\",\"format\":\"alpaca\"}]"},
        {"dataset: c4, x.txt\nstage: pt\ndataset_dir: INFO", "train_file",
         "[{\"path\":\"INFO/c4.json\",\"format\":\"text\"},{\"path\":\"x.txt\",\"format\":\"text\"}]"},
        {"stage: pt\ndataset: wiki\ndataset_dir: INFO", "train_file",
         "[{\"path\":\"INFO/wiki.json\",\"format\":\"text\",\"columns\":{\"text\":\"body\"}}]"},
        {"stage: pt", "packing", "true"},
        {"stage: pt\npacking: false", "packing", "false"},
        {"stage: pt\npacking: true", "packing", "true"},
        {LF "eval_dataset: one\ndataset_dir: INFO", "validation_file",
         "[{\"path\":\"INFO/one.json\",\"format\":\"alpaca\"}]"},
    };
    static const char info[] =
        "{\"one\":{\"file_name\":\"one.json\"},"
        "\"two\":{\"file_name\":\"two.json\",\"formatting\":\"sharegpt\",\"columns\":{\"messages\":\"chat\"},\"tags\":"
        "{\"role_tag\":\"who\",\"content_tag\":\"value\",\"user_tag\":\"user\",\"assistant_tag\":\"assistant\"}},"
        "\"three\":{\"file_name\":\"three.json\",\"columns\":{\"prompt\":\"q\",\"response\":\"a\",\"system\":\"s\"}},"
        "\"hub\":{\"hf_hub_url\":\"x/y\",\"split\":\"test\"},"
        "\"hubs\":{\"hf_hub_url\":\"x/y\",\"ms_hub_url\":\"a/b\",\"om_hub_url\":\"c/d\",\"revision\":\"v1\"},"
        "\"other\":{\"ms_hub_url\":\"x/y\"},"
        "\"c4\":{\"file_name\":\"c4.json\",\"columns\":{\"prompt\":\"text\"}},"
        "\"wiki\":{\"file_name\":\"wiki.json\",\"columns\":{\"prompt\":\"body\",\"response\":null}},"
        "\"pair\":{\"file_name\":\"p.json\",\"columns\":{\"prompt\":\"q\",\"response\":\"a\"}},"
        "\"pairs\":{\"file_name\":\"p.json\",\"ranking\":true,"
        "\"columns\":{\"chosen\":\"good\",\"rejected\":\"bad\"}},"
        "\"bot\":{\"file_name\":\"b.json\",\"formatting\":\"sharegpt\",\"tags\":{\"user_tag\":\"ask\","
        "\"assistant_tag\":\"bot\",\"observation_tag\":\"see\",\"function_tag\":\"act\",\"system_tag\":\"system\"}},"
        "\"tag\":{\"file_name\":\"b.json\",\"formatting\":\"sharegpt\",\"tags\":{\"robot_tag\":\"bot\"}},"
        "\"few\":{\"file_name\":\"b.json\",\"num_samples\":5},"
        "\"form\":{\"file_name\":\"b.json\",\"formatting\":\"csv\"}}";
    mkdir("INFO", 0777);
    scratch_put("INFO/dataset_info.json", info, sizeof info - 1);
    CHECK_MAPPED(cases);
    static const Refused refused[] = {
        {"stage: ppo", ":1: stage: \"ppo\"; expected sft, pt, dpo or kto"},
        {LF "pref_loss: hinge", ":2: pref_loss: \"hinge\"; expected sigmoid, ipo, orpo or simpo"},
        {LF "ref_model: big", ":2: ref_model: \"big\"; the reference is the model as the run starts"},
        {"stage: pt\ndataset: pair\ndataset_dir: INFO",
         ":2: pair: response: \"a\"; with stage: pt only the prompt is learnt"},
        {"stage: pt\ndataset: one\ndataset_dir: INFO", ":2: one: no column is the prompt"},
        {"stage: pt\ndataset: two\ndataset_dir: INFO",
         ":2: two: formatting: \"sharegpt\"; with stage: pt expected alpaca"},
        {LF "finetuning_type: full", ":2: finetuning_type: \"full\"; only LoRA adapters are trained; expected lora"},
        {LF "quantization_bit: 3", ":2: quantization_bit: 3; expected 4 (nf4) or 8 (int8)"},
        {LF "packing: true", ":2: packing: true; in LLaMA-Factory samples of a row then attend to each other"},
        {LF "max_samples: 0.5", ":2: max_samples: 0.5; expected a number of records"},
        {LF "dataset: identity",
         ":2: dataset: identity is neither a path nor in data/dataset_info.json, which cannot be read"},
        {LF "dataset: four\ndataset_dir: INFO",
         ":2: dataset: four is neither a path nor in INFO/dataset_info.json; expected"},
        {LF "dataset: other\ndataset_dir: INFO", ":2: dataset: the data set other is on another hub; download it"},
        {LF "dataset: tag\ndataset_dir: INFO",
         ":2: tag: robot_tag: \"bot\"; expected role_tag, content_tag, or the name"},
        {LF "dataset: few\ndataset_dir: INFO", ":2: few: num_samples: 5; expected max_samples in the config"},
        {LF "dataset: form\ndataset_dir: INFO", ":2: form: formatting: \"csv\"; expected alpaca, sharegpt or openai"},
        {LF "deepspeed: tp.json", ":2: deepspeed: \"tp.json\"; only data parallelism is in this version"},
    };
    CHECK_REFUSED(refused);
    // the data of the command line is used instead
    Config c;
    Err err;
    ASSERT_OK(load(&c, LF "dataset: identity", "--train_file=x.jsonl", &err), &err);
    assert_string_equal(c.train_file.items[0], "x.jsonl");
    config_clear(&c);
}

static void test_foreign_trl(void **state) {
    (void)state;
#define T "use_peft: true\n"
    static const Mapped cases[] = {
        {T, "learning_rate", "2e-05"},
        {T, "max_seq_length", "1024"},
        {T, "lora_dropout", "0.05"},
        {T, "train_on_inputs", "true"},
        {T, "completion_only_loss", "true"},
        {T, "raw_pairs", "true"},
        {T "max_length: null", "max_seq_length", "1024"},
        {T "completion_only_loss: false", "completion_only_loss", "false"},
        {T "assistant_only_loss: true", "train_on_inputs", "false"},
        {T "assistant_only_loss: false", "train_on_inputs", "true"},
        {T "dataset_name: d.jsonl", "train_file", "[\"d.jsonl\"]"},
        {T "dataset_name: SET", "train_file", "[\"SET/train.json\"]"},
        {T "dataset_name: SET", "validation_file", "[]"},
        {T "dataset_name: SET\neval_strategy: epoch", "validation_file", "[\"SET/test.jsonl\"]"},
        {T "dataset_name: SET\ndataset_train_split: test", "train_file", "[\"SET/test.jsonl\"]"},
        {T "dataset_name: d\ndataset_text_field: body", "train_file",
         "[{\"path\":\"d\",\"columns\":{\"text\":\"body\"}}]"},
        {T "dataset_name: d\ndataset_text_field: text", "train_file", "[\"d\"]"},
        {T "datasets: [{path: a, split: train}, {path: b, columns: [x]}]", "train_file", "[\"a\",\"b\"]"},
        {T "test_split_size: 0.2", "val_set_size", "0.2"},
        {T "chat_template_path: t.jinja", "chat_template", "\"t.jinja\""},
        {T "dtype: float32", "dtype", "\"auto\""},
        {T "report_to: wandb", "report_to", "[\"html\"]"},
        {T "report_to: [none]", "report_to", "[\"none\"]"},
        {T "report_to: [wandb, tensorboard]", "report_to", "[\"html\",\"tensorboard\"]"},
        {T "logging_steps: 0.1", "logging_steps", "1"},
        {T "logging_steps: 25", "logging_steps", "25"},
        {T "loss_type: [ipo]", "preference_loss", "\"ipo\""},
        {T "loss_type: sigmoid", "task", "\"preference\""},
        {T "loss_type: simpo", "rpo_alpha", "1"},
        {T "loss_type: simpo\ncpo_alpha: 0", "rpo_alpha", "0"},
        {T "beta: 0.2", "task", "\"preference\""},
        {T "beta: 0.2", "learning_rate", "1e-06"},
        {T "beta: 0.2\ndisable_dropout: true", "lora_dropout", "0"},
        {T "beta: 0.2", "train_on_inputs", "false"},
    };
    mkdir("SET", 0777);
    scratch_put("SET/train.json", "[]", 2);
    scratch_put("SET/test.jsonl", "", 0);
    CHECK_MAPPED(cases);
    static const Refused refused[] = {
        {"use_peft: false\ndataset_name: d", ":1: use_peft: false; only adapters are trained; expected true"},
        {T "packing_strategy: wrapped",
         ":2: packing_strategy: \"wrapped\"; a sample is never split over rows; expected bfd"},
        {T "datasets: [{path: a, fraction: 0.5}]", ":2: datasets: entry 1: fraction: 0.5; this key of an entry"},
        {T "loss_type: dft", ":2: loss_type: \"dft\"; expected nll, sigmoid, ipo, simpo or kto"},
        {T "f_divergence_type: forward_kl", ":2: f_divergence_type: \"forward_kl\"; expected reverse_kl"},
        {T "env: {CUDA_VISIBLE_DEVICES: 0}",
         ":2: env: {\"CUDA_VISIBLE_DEVICES\": 0}; set environment variables in the shell"},
        {T "dataset_text_field: 3", ":2: dataset_text_field: 3; expected the name of a key"},
    };
    CHECK_REFUSED(refused);
}

static void test_foreign_refused_keys(void **state) {
    (void)state;
    static const Refused cases[] = {
        {"rl: grpo", "c.yaml:1: rl: \"grpo\"; expected dpo, ipo, orpo, simpo or kto"},
        {"loftq_config: {loftq_bits: 4}",
         ":1: loftq_config: {\"loftq_bits\": 4}; initialisations that change the base"},
        {"optim: sgd", ":1: optim: \"sgd\"; AdamW is the optimizer; expected adamw_torch"},
        {"optimizer: adafactor", ":1: optimizer: \"adafactor\"; AdamW is the optimizer"},
        {"save_strategy: best", ":1: save_strategy: \"best\"; expected no, steps or epoch"},
        {"do_train: maybe", ":1: do_train: \"maybe\"; lorac train trains"},
        {"metric_for_best_model: accuracy", ":1: metric_for_best_model: \"accuracy\"; the evaluation loss"},
        {"tensor_parallel_size: 2", ":1: tensor_parallel_size: 2; rows and layers (pipeline_parallel_size) are"},
        {"lora_modules_to_save: [lm_head]", ":1: modules_to_save: \"lm_head\": only the head of a classifier"},
        {"lr_scheduler_kwargs: {num_cycles: 2}",
         ":1: lr_scheduler_kwargs: {\"num_cycles\": 2}; expected min_lr_rate only"},
        {"special_tokens: {additional_special_tokens: [x]}", ":1: special_tokens: "},
        {"plugins: [x.MyPlugin]", ":1: plugins: \"x.MyPlugin\"; the plugin may change the result"},
        {"kd_trainer: true", ":1: kd_trainer: true; expected teacher_model, or teacher_logits"},
        {"kd_alpha: 0.9", ":1: kd_alpha: needs teacher_model, teacher_adapter or teacher_logits"},
        {"kd_trainer: true\nteacher_model: t\nkd_beta: 0.5", ":3: kd_beta: 0.5; the divergence is the forward KL"},
        {"rope_scaling: {type: linear}", ":1: rope_scaling: {\"type\": \"linear\"}; expected rope_scaling_type"},
        {"processor_type: AutoProcessor", "models of images and sound are not in this version"},
    };
    CHECK_REFUSED(cases);
}

// Values that say "not used" of keys that are refused, and values that mean what lorac does; nothing is logged.
static void test_foreign_keys_that_are_off(void **state) {
    (void)state;
    Config c;
    Err err;
    ASSERT_OK(load(&c,
                   "rl:\nuse_dora: false\nlora_modules_to_save: []\npeft: {}\ndeepspeed: ''\ntensor_parallel_size: 1\n"
                   "do_train: true\nmetric_for_best_model: eval_loss\nloss_type: nll\nmin_sample_len: 2\nfp16: false\n"
                   "wandb_project:\nplugins:\nspecial_tokens:\nlora_task_type: CAUSAL_LM\nquantization_method: bnb\n",
                   NULL, &err),
              &err);
    assert_int_equal(c.tool, NO_TOOL);
    assert_int_equal(c.notes.len, 0);
    config_clear(&c);
}

static void test_foreign_notes(void **state) {
    (void)state;
    Config c;
    Err err;
    ASSERT_OK(
        load(&c,
             "bf16: true\ntf32: true\nfp16: false\nflash_attention: true\nlora_mlp_kernel: true\nwandb_project: x\n"
             "optimizer: paged_adamw_8bit\ndeepspeed: ds_z3_config.json\noverwrite_output_dir: true\n",
             NULL, &err),
        &err);
    static const char *const parts[] = {
        "bf16                         changes nothing here: dtype chooses",
        "tf32                         changes nothing here: dtype",
        "flash_attention              changes nothing here: attention is computed exactly",
        "lora_mlp_kernel              changes nothing here: kernels of another tool",
        "wandb_project                changes nothing here: lorac writes report.html",
        "optimizer                    paged_adamw_8bit: AdamW, with its state in float32",
        "deepspeed                    ZeRO is data parallelism",
        "overwrite_output_dir         changes nothing here: snapshots hold all state"};
    size_t lines = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!strstr(c.notes.data, parts[i])) fail_msg("%s: not in %s", parts[i], c.notes.data);
    for (const char *p = c.notes.data; *p; p++) lines += *p == '\n';
    assert_int_equal(lines, 8); // none for fp16
    config_clear(&c);
}

// The tool with the most keys of its own; lorac's keys and their aliases tell none.
static void test_foreign_tool(void **state) {
    (void)state;
    static const struct {
        const char *text;
        Tool tool;
    } cases[] = {
        {"sequence_len: 64\nmicro_batch_size: 2\nsample_packing: true\nlora_target: q_proj\nbf16: true", NO_TOOL},
        {"adapter: lora", AXOLOTL},
        {"adapter:\nstage: sft", LLAMA_FACTORY},
        {"datasets: [{path: d}]", AXOLOTL},
        {"datasets: [{path: d}]\nuse_peft: true", TRL},
        {"datasets: [{path: d, type: alpaca}]\nadapter: lora\nmax_samples: 5", AXOLOTL},
        {"finetuning_type: lora\nstage: sft\ndataset_text_field: text", LLAMA_FACTORY},
        {"preprocessing_num_workers: 5\ntrain_file: a\nuse_peft: true", TRL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Config c;
        Err err;
        if (load(&c, cases[i].text, NULL, &err)) fail_msg("%s: %s", cases[i].text, err.msg);
        if (c.tool != cases[i].tool) fail_msg("%s: tool %d; expected %d", cases[i].text, c.tool, cases[i].tool);
        config_clear(&c);
    }
    static const Refused ties[] = {
        {"max_samples: 5\ntrain_file: a\nuse_peft: true", "as many keys of LLaMA-Factory (max_samples) as of TRL "
                                                          "(use_peft), whose defaults differ; leave out those of one"},
        {"stage: sft\nadapter: lora", "as many keys of Axolotl (adapter) as of LLaMA-Factory (stage)"},
    };
    CHECK_REFUSED(ties);
}

// A tool's defaults: not over what is given, not over an adapter's settings, and no key counts as given.
static void test_foreign_defaults(void **state) {
    (void)state;
    Config c;
    Err err;
    ASSERT_OK(load(&c, "stage: sft\nlora_rank: 4", "--learning_rate=3e-3", &err), &err);
    assert_int_equal(c.source[CONFIG_learning_rate], SOURCE_COMMAND_LINE);
    assert_int_equal(c.source[CONFIG_lora_alpha], SOURCE_TOOL);
    assert_int_equal(c.lora_alpha, 8);
    assert_false(config_is_set(&c, CONFIG_lora_alpha));
    assert_true(config_is_set(&c, CONFIG_lora_r));
    char *saved = config_json(&c);
    ASSERT_OK(config_check_same_run(&c, saved, "config.json", &err), &err);
    assert_non_null(strstr(saved, "\"lora_alpha\":\t8"));
    mem_free(saved);
    config_clear(&c);
    ASSERT_OK(load(&c, "stage: sft\nadapter_name_or_path: a", NULL, &err), &err);
    saved = config_json(&c);
    assert_null(strstr(saved, "lora_r"));
    mem_free(saved);
    config_clear(&c);
}

// On the command line, too, as flags or with values.
static void test_foreign_command_line(void **state) {
    (void)state;
    Config c = {0};
    Err err = {0};
    char *argv[] = {"--do_train",
                    "--bf16",
                    "--lora_target",
                    "all",
                    "--optim=adamw_torch",
                    "--save_strategy",
                    "no",
                    "--special_tokens={pad_token: x}",
                    "--use_dora=false"};
    ASSERT_OK(config_load(&c, 9, argv, CONFIG_FOR_BENCH, &err), &err);
    assert_string_equal(c.lora_target_modules.items[0], "all-linear");
    assert_true(c.save_steps > 0.99 && c.save_steps < 1);
    assert_int_equal(c.source[CONFIG_save_steps], SOURCE_COMMAND_LINE);
    config_clear(&c);
    argv[0] = "--init_lora_weights=pissa_niter_04";
    ASSERT_OK(config_load(&c, 1, argv, CONFIG_FOR_BENCH, &err), &err);
    assert_int_equal(c.init_lora_weights, INIT_LORA_PISSA);
    assert_int_equal(c.pissa_iter, 4);
    config_clear(&c);
    argv[0] = "--init_lora_weights=pissa_niter_";
    ASSERT_REFUSED(config_load(&c, 1, argv, CONFIG_FOR_BENCH, &err), &err, "init_lora_weights: \"pissa_niter_\"");
    config_clear(&c);
}

// Words that are not read: the key that is meant, not the one with the nearest letters.
// A default that follows from a refused value is no second problem.
static void test_foreign_default_of_a_refused_value(void **state) {
    (void)state;
    Config c;
    Err err;
    assert_int_not_equal(load(&c, "finetuning_type: lora\nlora_rank: -1", NULL, &err), 0);
    assert_non_null(strstr(err.msg, "lora_r: -1; expected 1 to 65536"));
    assert_null(strstr(err.msg, "lora_alpha"));
    config_clear(&c);
}

static void test_foreign_synonyms(void **state) {
    (void)state;
    static const char *const cases[][2] = {{"rank", "lora_r"},
                                           {"seq_len", "max_seq_length"},
                                           {"eval_file", "validation_file"},
                                           {"grad_clip", "max_grad_norm"},
                                           {"train_data", "train_file"},
                                           {"output", "output_dir"},
                                           {"warmup", "warmup_steps"},
                                           {"steps", "max_steps"},
                                           {"lerning_rate", "learning_rate"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = mem_printf("%s: 1", cases[i][0]),
             *part = mem_printf("\"%s\"; the nearest known key is \"%s\"", cases[i][0], cases[i][1]);
        check_refused(&(Refused){text, part}, 1);
        mem_free(text);
        mem_free(part);
    }
}

TEST_MAIN(SCRATCH_TEST(test_foreign_common_keys), SCRATCH_TEST(test_foreign_axolotl),
          SCRATCH_TEST(test_foreign_llama_factory), SCRATCH_TEST(test_foreign_trl),
          SCRATCH_TEST(test_foreign_refused_keys), SCRATCH_TEST(test_foreign_keys_that_are_off),
          SCRATCH_TEST(test_foreign_notes), SCRATCH_TEST(test_foreign_tool), SCRATCH_TEST(test_foreign_defaults),
          SCRATCH_TEST(test_foreign_command_line), SCRATCH_TEST(test_foreign_synonyms),
          TEST(test_foreign_default_of_a_refused_value))
