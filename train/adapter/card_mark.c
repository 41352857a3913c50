#include "card_mark.h"

#include <string.h>

#include "base.h"
#include "hash.h"

// Markdown shows no comment.
static const char MARK[] = "\n<!-- written by lorac ", MARK_END[] = " -->\n";

char *card_marked(const char *text) {
    char hash[33];
    hash_bytes(hash, text, strlen(text));
    return mem_printf("%s%s%s%s", text, MARK, hash, MARK_END);
}

CardOrigin card_origin(const char *text, size_t size) {
    enum { DIGITS = 32, TAIL = sizeof MARK - 1 + DIGITS + sizeof MARK_END - 1 };
    const char *tail = text + (size > TAIL ? size - TAIL : 0);
    if (strlen(text) != size) return CARD_FOREIGN;
    if (size > TAIL && starts_with(tail, MARK)) {
        char hash[33];
        hash_bytes(hash, text, size - TAIL);
        return strncmp(tail + sizeof MARK - 1, hash, DIGITS) == 0 ? CARD_OWN : CARD_FOREIGN;
    }
    // Before marks: by its first and last lines.
    static const char begin[] = "---\nbase_model: ", end[] = "```\n";
    bool before = size > sizeof begin + sizeof end && starts_with(text, begin) && strstr(text, "\n- lorac\n---\n") &&
                  strstr(text, ", trained with lorac.\n") && ends_with(text, end);
    return before && !strstr(text, MARK) ? CARD_BEFORE_MARKS : CARD_FOREIGN;
}
