// peft_tensors: the tensors of an adapter_model.safetensors by their standard names. Accepted names: with or without
// "base_model.model.", with "module." (DDP) or "_orig_mod." (torch.compile), with the adapter's name
// ("lora_A.default.weight"), or as in a state dict ("score.modules_to_save.default.weight").
#pragma once

#include "model.h"
#include "problem_list.h"
#include "safetensors.h"

typedef struct PeftTensors PeftTensors;

// The model determines the prefixes of its layers. Two tensors of one name, or two adapters in one file, are refused.
int peft_tensors_open(PeftTensors **t, const char *path, const Model *m, Err *err);
void peft_tensors_close(PeftTensors *t); // NULL is allowed
// By a name as lorac writes it; NULL: absent.
const SafetensorsTensor *peft_tensors_get(PeftTensors *t, const char *name);
// The prefix of the layers in the model that the adapter was trained on, without PEFT's own: "model."; NULL: no LoRA
// tensor.
const char *peft_tensors_prefix(const PeftTensors *t);
// The next tensor, from *i on, that peft_tensors_get has not returned; NULL: no more.
const char *peft_tensors_unused(const PeftTensors *t, size_t *i);
