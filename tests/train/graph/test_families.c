// Every family that lorac knows, from Hugging Face folders and from GGUF files, against transformers and PEFT: logits,
// loss, gradients of the adapter and AdamW steps. Cases and their files: golden/make_families_golden.py.
#include "family_case.h"
#include "strided_backend.h"

static Backend *open_host(const char *device) {
    Backend *b;
    Err err;
    ASSERT_OK(backend_open(&b, device, 2, &err), &err);
    return b;
}

static void check_families(const char *const *names, int n, FamilyFile kind) {
    Backend *cpu = open_host("cpu"), *ref = open_host("ref"), *strided = strided_open();
    for (int i = 0; i < n; i++) {
        check_family(names[i], kind, i % 8 == 2 ? ref : cpu, (Recompute)(i % 4), &GOLDEN_F32);
        if (kind == FAMILY_HF) check_family(names[i], kind, strided, (Recompute)((i + 1) % 4), &GOLDEN_F32);
    }
    backend_close(cpu);
    backend_close(ref);
    backend_close(strided);
}
#define CHECK_FAMILIES(kind, ...)                                                                                      \
    check_families((const char *[]){__VA_ARGS__}, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), kind)

// A GGUF of the llama architecture has no sliding window, so "mistral" is compared from its folder only.
static void test_families_gguf(void **state) {
    (void)state;
    CHECK_FAMILIES(FAMILY_GGUF, "llama3", "llama-bias", "llama-yarn", "qwen2", "qwen3", "gemma2", "gemma3", "phi3",
                   "phi4-mini-short", "phi4-mini-long", "gpt2", "mixtral", "qwen3moe", "smollm3", "granite", "gemma",
                   "olmo2", "olmo3", "qwen2moe", "starcoder2", "phi", "glm", "glm4", "cohere", "cohere2", "ministral3",
                   "ernie4_5", "gpt_oss-all", "lfm2", "lfm2-taps");
    CHECK_FAMILIES(FAMILY_GGUF_FUSED, "llama-bias");
}

// Mixtures of experts, which files store in several ways (test_moe.c has the others).
static void test_families_experts(void **state) {
    (void)state;
    CHECK_FAMILIES(FAMILY_HF, "mixtral", "qwen3moe", "qwen3moe-dense", "qwen3moe-experts", "mixtral-top1",
                   "qwen3moe-all", "qwen2moe-dense", "gpt_oss", "gpt_oss-all");
    CHECK_FAMILIES(FAMILY_HF_SHARDED, "gpt_oss", "qwen3moe", "qwen3moe-dense", "mixtral", "qwen3moe-all",
                   "mixtral-top1", "qwen2moe", "qwen2moe-dense");
}

static void test_families_hugging_face(void **state) {
    (void)state;
    CHECK_FAMILIES(FAMILY_HF, "llama3", "llama-bias", "llama-yarn", "llama-dynamic", "mistral", "qwen2", "qwen3",
                   "gemma2", "gemma3", "phi3", "phi3-all", "phi4-mini-short", "phi4-mini-long", "gpt2", "gpt2-all",
                   "smollm3", "smollm3-window", "granite", "gemma", "olmo2", "olmo3", "qwen2moe", "starcoder2",
                   "starcoder2-window", "phi", "glm", "glm4", "cohere", "cohere2", "cohere2-bias", "ministral3",
                   "granite4", "ernie4_5", "helium", "lfm2", "lfm2-taps");
}

// Shards and their index, F16 (GPT-2: transposed at load).
static void test_families_hugging_face_shards(void **state) {
    (void)state;
    CHECK_FAMILIES(FAMILY_HF_SHARDED, "llama3", "gemma3", "phi3", "gpt2-all");
}

TEST_MAIN(SCRATCH_TEST(test_families_gguf), SCRATCH_TEST(test_families_hugging_face),
          SCRATCH_TEST(test_families_hugging_face_shards), SCRATCH_TEST(test_families_experts))
