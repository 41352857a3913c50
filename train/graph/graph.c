#include "graph.h"

#include "encoder.h"

void model_build_loss(Tape *t, const Model *m, const Adapter *a, const RowInputs *in, const DecoderOptions *o) {
    (m->config.arch->encoder ? encoder_build_loss : decoder_build_loss)(t, m, a, in, o);
}

void model_build_class_logits(Tape *t, const Model *m, const Adapter *a, const RowInputs *in, Mat out) {
    (m->config.arch->encoder ? encoder_build_class_logits : decoder_build_class_logits)(t, m, a, in, out);
}
