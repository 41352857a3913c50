#include "prompt_format.h"

#include <string.h>

#define TASK "Below is an instruction that describes a task"
#define ANSWER ". Write a response that appropriately completes the request.\n\n### Instruction:\n{instruction}\n\n"
const PromptFormat prompt_format_alpaca = {{
    [PROMPT_WITH_INPUT] =
        TASK ", paired with an input that provides further context" ANSWER "### Input:\n{input}\n\n### Response:\n",
    [PROMPT_NO_INPUT] = TASK ANSWER "### Response:\n",
}};

// fields: those of the format, separated by spaces; NULL: not a format.
static const struct {
    const char *name, *standard, *fields;
} parts[PROMPT_PARTS] = {
    [PROMPT_SYSTEM] = {"system_prompt", "", NULL},
    [PROMPT_SYSTEM_FORMAT] = {"system_format", "{system}", "system"},
    [PROMPT_WITH_INPUT] = {"format", "{instruction} {input} ", "instruction input"},
    [PROMPT_NO_INPUT] = {"no_input_format", "{instruction} ", "instruction"},
};

const char *prompt_part_name(PromptPart p) { return parts[p].name; }

bool prompt_format_is_given(const PromptFormat *f) {
    for (PromptPart p = 0; p < PROMPT_PARTS; p++)
        if (f->parts[p]) return true;
    return false;
}

PromptFormat prompt_format_copy(const PromptFormat *f) {
    PromptFormat copy = {0};
    for (PromptPart p = 0; p < PROMPT_PARTS; p++) copy.parts[p] = f->parts[p] ? mem_strdup(f->parts[p]) : NULL;
    return copy;
}

void prompt_format_clear(PromptFormat *f) {
    for (PromptPart p = 0; p < PROMPT_PARTS; p++) mem_free(f->parts[p]);
    *f = (PromptFormat){0};
}

int prompt_format_check(PromptPart p, const char *text, Err *err) {
    const char *fields = parts[p].fields;
    for (const char *at = text; fields && *at; at++) {
        size_t n = *at == '{' ? strcspn(at + 1, "{}") : 0;
        if (*at != '{' && *at != '}') continue;
        if (at[1] == *at)
            at++; // a brace
        else if (*at == '{' && at[n + 1] == '}' && is_among(at + 1, n, fields))
            at += n + 1;
        else
            return err_input(err, "%s: found \"%.40s\"; expected the fields {%s} and {{ or }} for a brace",
                             parts[p].name, at, p == PROMPT_WITH_INPUT ? "instruction}, {input" : fields);
    }
    return 0;
}

static void write_part(StrBuf *out, const char *text, const PromptValues *v) {
    for (const char *at = text; *at; at++) {
        if (*at == '{' && at[1] != '{') {
            JsonStr value = at[1] == 's' ? *v->system : strncmp(at, "{input}", 7) == 0 ? v->input : v->instruction;
            str_add(out, value.data, value.len);
            at = strchr(at, '}');
        } else {
            str_add(out, at, 1);
            at += *at == '{' || *at == '}'; // the second of two
        }
    }
}

static const char *part_of(const PromptFormat *f, PromptPart p) {
    return f->parts[p] ? f->parts[p] : parts[p].standard;
}

bool prompt_format_reads_system(const PromptFormat *f) { return *part_of(f, PROMPT_SYSTEM_FORMAT) != 0; }

bool prompt_format_reads_input(const PromptFormat *f) {
    return strcmp(part_of(f, PROMPT_WITH_INPUT), part_of(f, PROMPT_NO_INPUT)) != 0;
}

void prompt_format_write(StrBuf *out, const PromptFormat *f, const PromptValues *v) {
    JsonStr standard = json_str(part_of(f, PROMPT_SYSTEM));
    PromptValues values = {v->instruction, v->input, v->system ? v->system : &standard};
    if (values.system->len) write_part(out, part_of(f, PROMPT_SYSTEM_FORMAT), &values);
    write_part(out, part_of(f, v->input.len ? PROMPT_WITH_INPUT : PROMPT_NO_INPUT), &values);
}
