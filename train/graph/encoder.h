// encoder: the graph of the BERT family, built on a Tape; always a classifier's (adapter->config.labels).
#pragma once

#include "pass.h"

// As decoder_build_loss.
void encoder_build_loss(Tape *t, const Model *m, const Adapter *a, const RowInputs *in, const PassOptions *o);
// As decoder_build_class_logits.
void encoder_build_class_logits(Tape *t, const Model *m, const Adapter *a, const RowInputs *in, Mat out);
