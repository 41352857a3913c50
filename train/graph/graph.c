#include "graph.h"

#include "decoder.h"
#include "encoder.h"

void graph_build_loss(Tape *t, const Model *m, const Adapter *a, const RowInputs *in, const PassOptions *o) {
    (m->config.arch->encoder ? encoder_build_loss : decoder_build_loss)(t, m, a, in, o);
}

void graph_build_class_logits(Tape *t, const Model *m, const Adapter *a, const RowInputs *in, Mat out) {
    (m->config.arch->encoder ? encoder_build_class_logits : decoder_build_class_logits)(t, m, a, in, out);
}
