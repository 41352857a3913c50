// peft_tensors: the tensors of an adapter_model.safetensors by what they are, however they are called: with or without
// "base_model.model.", behind "module." (DDP) or "_orig_mod." (torch.compile), with the adapter's name
// ("lora_A.default.weight"), or as a state dict has a saved module ("score.modules_to_save.default.weight").
// Private to train/adapter.
#pragma once

#include "model.h"
#include "problem_list.h"
#include "safetensors.h"

typedef struct PeftTensors PeftTensors;

// The model says which words may stand in front of its layers. Two tensors for one thing, or two adapters in one file:
// refused by name.
int peft_tensors_open(PeftTensors **t, const char *path, const Model *m, Err *err);
void peft_tensors_close(PeftTensors *t); // NULL is allowed
// By a name as lorac writes it; NULL: absent.
const SafetensorsTensor *peft_tensors_get(PeftTensors *t, const char *name);
// What stands in front of the layers, as PEFT sees the model that it was trained on: "model."; NULL: no LoRA tensor.
const char *peft_tensors_prefix(const PeftTensors *t);
// The next tensor, from *i on, that nobody has asked for; NULL: no more.
const char *peft_tensors_stranger(const PeftTensors *t, size_t *i);
