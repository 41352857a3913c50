// Every family and the classifiers on the CUDA backend over the emulated device: stacked products, views, each level of
// recomputation, in float32 to the limits of the CPU and in 16 bits to what their roundings allow.
#include "classifier_case.h"
#include "emulated.h"
#include "family_case.h"
#include "quantized_fixture.h"

// In 16 bits: a few roundings of 2^-8 or 2^-11 for each layer, norm-wise; gradients pass each layer twice.
static const GoldenLimits BF16 = {.logits = 2e-2, .loss = 4e-3, .gradient = 4e-2, .step_loss = 1e-2},
                          F16 = {.logits = 2.5e-3, .loss = 1e-3, .gradient = 5e-3, .step_loss = 1.5e-3};

static Backend *open_emulated(DType activation) {
    Backend *b;
    Err err;
    ASSERT_OK(emulated_open(&b, activation, &err), &err);
    return b;
}

static const char *const names[] = {"lfm2",
                                    "lfm2-taps",
                                    "llama3",
                                    "llama-bias",
                                    "llama-yarn",
                                    "mistral",
                                    "qwen2",
                                    "qwen3",
                                    "gemma2",
                                    "gemma3",
                                    "phi3",
                                    "phi3-all",
                                    "phi4-mini-short",
                                    "phi4-mini-long",
                                    "gpt2",
                                    "gpt2-all",
                                    "mixtral",
                                    "mixtral-top1",
                                    "qwen3moe",
                                    "qwen3moe-dense",
                                    "qwen3moe-all",
                                    "smollm3",
                                    "granite",
                                    "olmo2",
                                    "olmo3",
                                    "qwen2moe",
                                    "starcoder2",
                                    "phi",
                                    "glm",
                                    "glm4",
                                    "cohere",
                                    "cohere2",
                                    "ministral3",
                                    "gpt_oss",
                                    "gpt_oss-all",
                                    "qwen3moe-experts"};

static void test_cuda_families_f32(void **state) {
    (void)state;
    Backend *b = open_emulated(DTYPE_F32);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        check_family(names[i], FAMILY_HF, b, (Recompute)(i % 4), &GOLDEN_F32);
    // q and k in llama.cpp's order, three in one tensor
    check_family("llama3", FAMILY_GGUF, b, RECOMPUTE_NONE, &GOLDEN_F32);
    check_family("llama-bias", FAMILY_GGUF_FUSED, b, RECOMPUTE_NONE, &GOLDEN_F32);
    for (int i = 0; i < CLASSIFIERS; i++)
        check_classifier(classifiers[i], FAMILY_HF, b, (Recompute)(i % 4), &GOLDEN_F32);
    backend_close(b);
}

// Some of each kind, either type by turns: emulated tensor cores take their time.
static void test_cuda_families_16_bits(void **state) {
    (void)state;
    static const char *const some[] = {"llama3", "qwen3", "gemma2", "phi3", "gpt2-all", "mixtral"};
    Backend *bf16 = open_emulated(DTYPE_BF16), *f16 = open_emulated(DTYPE_F16);
    for (int i = 0; i < 6; i++)
        check_family(some[i], FAMILY_HF, i % 2 ? f16 : bf16, (Recompute)(i % 4), i % 2 ? &F16 : &BF16);
    check_classifier("../classify/bert-all", FAMILY_HF, bf16, RECOMPUTE_FFN, &BF16);
    check_classifier("../classify/modernbert", FAMILY_HF, bf16, RECOMPUTE_BLOCKS, &BF16);
    check_classifier("../classify/llama", FAMILY_HF, f16, RECOMPUTE_NONE, &F16);
    backend_close(bf16);
    backend_close(f16);
}

static void test_cuda_quantized_checkpoints(void **state) {
    (void)state;
    Backend *b = open_emulated(DTYPE_F32);
    for (int i = 0; i < QUANTIZED_NAMES; i++) {
        AUTO_MODEL Model *m = NULL;
        Err err;
        quantized_folder(quantized_names[i], quantized_names[i]);
        ASSERT_OK(model_load(&m, quantized_names[i], b, NULL, &err), &err);
        check_quantized_logits(m, quantized_names[i], GOLDEN_F32.logits);
    }
    backend_close(b);
}

TEST_MAIN(SCRATCH_TEST(test_cuda_families_f32), SCRATCH_TEST(test_cuda_families_16_bits),
          SCRATCH_TEST(test_cuda_quantized_checkpoints))
