// graph: the graph of a model: a decoder (decoder.h) or an encoder (encoder.h).
#pragma once

#include "pass.h"

// As decoder_build_loss and decoder_build_class_logits.
void graph_build_loss(Tape *t, const Model *m, const Adapter *a, const RowInputs *in, const PassOptions *o);
void graph_build_class_logits(Tape *t, const Model *m, const Adapter *a, const RowInputs *in, Mat out);
