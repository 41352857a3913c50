// serve_answer: answers as JSON, in the words of OpenAI's API. The caller frees each text.
#pragma once

#include "serve_job.h"

char *serve_whole(const ServeJob *j);
// Events of a stream.
char *serve_chunk_role(const ServeJob *j);
char *serve_chunk_text(const ServeJob *j, JsonStr text);
char *serve_chunk_end(const ServeJob *j); // with the finish_reason
char *serve_chunk_usage(const ServeJob *j);

char *serve_error(int status, const char *message);
char *serve_model_list(ServedModels *models);
char *serve_model(ServedModels *models, const char *name); // NULL: there is none
