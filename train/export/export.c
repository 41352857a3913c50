#include "export.h"

#include <string.h>

#include "fileio.h"
#include "path.h"
#include "unicode.h"

// A Modelfile is lines of UTF-8 with paths in quotes.
static bool can_be_named(const char *path) {
    for (const char *c = path; *c; c++)
        if ((unsigned char)*c < 32 || *c == 127 || *c == '"') return false;
    return utf8_valid_prefix(path, strlen(path)) == strlen(path);
}

bool export_has_modelfile(const Model *m) {
    AUTO_FREE char *base = path_absolute_name(m->path);
    return !m->is_gguf || can_be_named(base);
}

static const char for_ollama[] =
    "# For Ollama before 0.34.1. Later versions refuse ADAPTER: use FROM with the model that lorac merge writes.\n";

// Ollama takes the chat template from the GGUF base. A Hugging Face base has to be converted first.
static void put_base(StrBuf *out, const Model *m) {
    str_puts(out, for_ollama);
    AUTO_FREE char *base = path_absolute_name(m->path);
    if (m->is_gguf) {
        str_printf(out, "FROM \"%s\"\nADAPTER ./adapter.gguf\n", base);
    } else {
        bool plain = can_be_named(base) && !strpbrk(base, "$`\\");
        str_printf(out,
                   "# FROM needs the base model as a GGUF file. llama.cpp makes one:\n"
                   "#   convert_hf_to_gguf.py %s%s%s --outfile base.gguf\n"
                   "FROM ./base.gguf\nADAPTER ./adapter.gguf\n",
                   plain ? "\"" : "", plain ? base : "BASE", plain ? "\"" : "");
    }
}

// Lines that put_base and save_modelfile write; a file with other lines was edited.
static bool is_own_line(const char *line) {
    static const char *const begins[] = {for_ollama,
                                         "FROM \"",
                                         "FROM ./base.gguf\n",
                                         "ADAPTER ./adapter.gguf\n",
                                         "# FROM needs the base model as a GGUF file. llama.cpp makes one:\n",
                                         "#   convert_hf_to_gguf.py ",
                                         "# The adapter was trained with adapter/chat_template.jinja in place of",
                                         "# TEMPLATE is another language (Go templates): "};
    for (size_t i = 0; i < sizeof begins / sizeof *begins; i++)
        if (starts_with(line, begins[i])) return true;
    return false;
}

int modelfile_own(const char *path, Err *err) {
    enum { MAX_BYTES = 1 << 20 };
    AUTO_FREE char *text = NULL;
    size_t size;
    bool own = file_read(&text, &size, path, MAX_BYTES, NULL) == 0 && size && text[size - 1] == '\n' &&
               strlen(text) == size && strstr(text, "ADAPTER ./adapter.gguf\n");
    for (const char *line = text; own && *line; line = strchr(line, '\n') + 1) own = is_own_line(line);
    return own ? 0 : overwrite_refuse(path, "a Modelfile as lorac wrote it", err);
}

static int save_modelfile(const Adapter *a, const Model *m, const char *path, Err *err) {
    if (!export_has_modelfile(m)) {
        log_warn("%s is not written: a Modelfile cannot hold the base model's path, %s", path, m->path);
        return 0;
    }
    AUTO_STR StrBuf text = {0};
    put_base(&text, m);
    if (a->chat_template)
        str_puts(
            &text,
            "# The adapter was trained with adapter/chat_template.jinja in place of the base's own template. Ollama's\n"
            "# TEMPLATE is another language (Go templates): add one here that gives the same text.\n");
    return file_write_whole(path, text.data, text.len, modelfile_own, err);
}

int adapter_export(const Adapter *a, const Model *m, const char *output_dir, const char *name, const RunFacts *run,
                   Err *err) {
    AUTO_FREE char *peft = path_join(output_dir, "adapter"), *gguf = path_join(output_dir, "adapter.gguf");
    AUTO_FREE char *modelfile = path_join(output_dir, "Modelfile"), *card = model_card_text(m, a, name, run);
    if (adapter_save_peft(a, m, peft, card, err)) return -1;
    if (a->config.labels) return 0;
    return adapter_save_gguf(a, m, gguf, name, err) || save_modelfile(a, m, modelfile, err) ? -1 : 0;
}
