#include "sgemm.h"

#include <string.h>

void sgemm_limit(const char *isa) {
    dnnl_cpu_isa_t most = !strcmp(isa, "base") ? dnnl_cpu_isa_sse41 : dnnl_cpu_isa_avx2;
    if (strcmp(isa, "v4") != 0) dnnl_set_max_cpu_isa(most);
}

void sgemm_describe(StrBuf *out) {
    const dnnl_version_t *v = dnnl_version();
    int isa = (int)dnnl_get_effective_cpu_isa();
    bool avx512 = (isa & dnnl_cpu_isa_avx512_core) == dnnl_cpu_isa_avx512_core;
    bool avx2 = (isa & dnnl_cpu_isa_avx2) == dnnl_cpu_isa_avx2;
    const char *words = avx512 ? " with AVX-512" : avx2 ? " with AVX2" : "";
    str_printf(out, "oneDNN %d.%d.%d%s", v->major, v->minor, v->patch, words);
}
