// decoder: the graph of a decoder, built on a Tape from a Model, an optional Adapter and the inputs of one row.
//
// Four ends: loss of a row (training, evaluation), logits of all positions, logits of a classifier, and one step of
// cached generation.
#pragma once

#include "decode_engine.h"
#include "pass.h"

// Loss of one row into in->result, of the language model or of the adapter's classifier; adapter gradients are added to
// adapter->grad (adapter NULL: base alone). After the keys and values of the last block only the scored positions are
// computed.
void decoder_build_loss(Tape *t, const Model *m, const Adapter *a, const RowInputs *in, const PassOptions *o);
// Logits of all positions of a row, [T, V], into out (device memory).
void decoder_build_logits(Tape *t, const Model *m, const Adapter *a, const RowInputs *in, Mat out);
// Logits of the adapter's classifier at the scored positions, [samples, labels], into out.
void decoder_build_class_logits(Tape *t, const Model *m, const Adapter *a, const RowInputs *in, Mat out);
// One step of cached generation: logits of each sample's last token, [samples, V], into out.
void decoder_build_decode(Tape *t, const Model *m, const Adapter *a, const DecodeInputs *in, const KvCache *cache,
                          Mat out);
