// charsmap: SentencePiece's precompiled_charsmap, a table of texts that normalisation replaces: a double-array trie
// (darts-clone) and the replacements that its values point to. The table is untrusted: nothing is read beyond its end.
#pragma once

#include "json.h"
#include "unicode.h"

typedef struct Charsmap Charsmap; // read-only: shared by all threads

// From base64. Refused: other text than base64, a size that does not fit, replacements that are not UTF-8.
int charsmap_new(Charsmap **m, JsonStr base64, Err *err);
void charsmap_free(Charsmap *m);
JsonStr charsmap_table(const Charsmap *m); // all of it, for hashes

// What replaces text[0, len), as Hugging Face tokenizers has it: the replacement of the shortest entry that the text
// begins with. False: none. A broken table: *broken is set.
bool charsmap_find(const Charsmap *m, const char *text, size_t len, JsonStr *out, bool *broken);
