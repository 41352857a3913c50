// graph: the graph of a model of either kind: decoder.h or encoder.h.
#pragma once

#include "decoder.h"

// As decoder_build_loss and decoder_build_class_logits.
void model_build_loss(Tape *t, const Model *m, const Adapter *a, const RowInputs *in, const DecoderOptions *o);
void model_build_class_logits(Tape *t, const Model *m, const Adapter *a, const RowInputs *in, Mat out);
