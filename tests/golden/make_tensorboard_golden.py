"""usage: make_tensorboard_golden.py: writes tensorboard/events with the classes of the package tensorboard (2.21): what
test_event_file.c has lorac write, at second 1.5 of the epoch."""
import os

from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

TIME = 1.5
ANSWER = [("prompt", "Say <b>hi</b>\n**twice**"), ("before", ""), ("after", "hi hi"), ("reference", "hi\nhi \u20ac")]


def scalars(values):
    return [summary_pb2.Summary.Value(tag=tag, simple_value=value) for tag, value in values]


def metadata(plugin, content=None):
    m = summary_pb2.SummaryMetadata(data_class=summary_pb2.DATA_CLASS_TENSOR)
    m.plugin_data.plugin_name = plugin
    if content is not None:
        m.plugin_data.content = content
    return m


def text(tag, value):
    shape = tensor_shape_pb2.TensorShapeProto(dim=[tensor_shape_pb2.TensorShapeProto.Dim(size=1)])
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, tensor_shape=shape, string_val=[value.encode()])
    return summary_pb2.Summary.Value(tag=tag, tensor=tensor, metadata=metadata("text"))


def end():
    info = plugin_data_pb2.SessionEndInfo(status=1, end_time_secs=TIME)
    content = plugin_data_pb2.HParamsPluginData(session_end_info=info).SerializeToString()
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, tensor_shape=tensor_shape_pb2.TensorShapeProto(), float_val=[0])
    return summary_pb2.Summary.Value(tag="_hparams_/session_end_info", tensor=tensor, metadata=metadata("hparams", content))


def event(step, values):
    return event_pb2.Event(wall_time=TIME, step=step, summary=summary_pb2.Summary(value=values))


def block(title, value):
    return f"**{title}**\n\n    " + value.replace("\n", "\n    ") + "\n\n"


events = [
    event_pb2.Event(wall_time=TIME, file_version="brain.Event:2"),
    event(1, scalars([("train/loss", 2.5), ("train/learning_rate", 1e-3), ("train/grad_norm", float("inf")),
                      ("train/epoch", 0.25), ("train/tokens_per_second", 200), ("train/peak_memory_bytes", 3e9)])),
    event(1, scalars([("eval/loss", 1.25), ("eval/token_accuracy", 0.5), ("eval/perplexity", 3.5)])),
    event(300, scalars([("eval/loss", 0.75), ("eval/accuracy", 1), ("eval/macro_f1", 0.875)])),
    event(300, [end(), text("answers/1", "".join(block(*part) for part in ANSWER))]),
]
folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tensorboard")
os.makedirs(folder, exist_ok=True)
with open(os.path.join(folder, "events"), "wb") as f:
    for e in events:
        RecordWriter(f).write(e.SerializeToString())
