// Encoders with their heads of masked language modelling against transformers and PEFT: logits, loss, gradients, AdamW
// steps. Cases and their files: golden/make_mlm_golden.py.
#include "mlm_case.h"
#include "strided_backend.h"

static const char *const cases[] = {"../mlm/bert",           "../mlm/bert-untied", "../mlm/roberta",
                                    "../mlm/xlm-roberta",    "../mlm/distilbert",  "../mlm/modernbert",
                                    "../mlm/modernbert-bias"};
enum { CASES = sizeof cases / sizeof *cases };

static Backend *open_host(const char *device) {
    Backend *b;
    Err err;
    ASSERT_OK(backend_open(&b, device, 2, &err), &err);
    return b;
}

static void test_mlm_golden_matches_pytorch(void **state) {
    (void)state;
    Backend *cpu = open_host("cpu"), *ref = open_host("ref"), *strided = strided_open();
    for (int i = 0; i < CASES; i++) {
        check_mlm(cases[i], FAMILY_HF, cpu, RECOMPUTE_NONE, &GOLDEN_F32);
        check_mlm(cases[i], FAMILY_HF_SHARDED, ref, RECOMPUTE_BLOCKS, &GOLDEN_F32);
        check_mlm(cases[i], FAMILY_HF, strided, RECOMPUTE_FFN, &GOLDEN_F32);
    }
    backend_close(cpu);
    backend_close(ref);
    backend_close(strided);
}

TEST_MAIN(SCRATCH_TEST(test_mlm_golden_matches_pytorch))
