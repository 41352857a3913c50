// encoder: the graph of the BERT family, built on a Tape; always a classifier's.
#pragma once

#include "decoder.h"

// Loss of one row as decoder_build_loss has it; always a classifier's (adapter->config.labels).
void encoder_build_loss(Tape *t, const Model *m, const Adapter *a, const RowInputs *in, const DecoderOptions *o);
// Logits of each sample, [samples, labels], into out (device memory).
void encoder_build_class_logits(Tape *t, const Model *m, const Adapter *a, const RowInputs *in, Mat out);
