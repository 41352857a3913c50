"""usage: check_tensorboard.py LORAC MODEL: trains with report_to tensorboard, kills the run with SIGKILL, resumes it,
and reads its event file with the package tensorboard: every step and evaluation once, equal to train_log.jsonl, the
hyper-parameters, the text samples; then several runs. Needs tensorboard (2.21)."""
import json
import math
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

from tensorboard.backend.event_processing import event_accumulator
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2

STEPS = 8
PAIRS = [("When do you open?", "At 9, except on Mondays."), ("Can I bring <b>my dog</b>?", "Dogs wait\n in the garden."),
         ("How many books can I borrow?", "Twelve, for four weeks.")]
SCALARS = {"train/loss": "loss", "train/learning_rate": "learning_rate", "train/grad_norm": "grad_norm",
           "train/epoch": "epoch", "train/tokens_per_second": "tokens_per_second",
           "train/peak_memory_bytes": "peak_memory_bytes", "eval/loss": "eval_loss",
           "eval/perplexity": "eval_perplexity", "eval/token_accuracy": "eval_token_accuracy"}


def command(lorac, model, out, *more):
    return [lorac, "train", "--model_name_or_path", model, "--train_file", "data.jsonl", "--validation_file", "data.jsonl",
            "--eval_strategy", "steps", "--eval_steps", "2", "--save_steps", "3", "--max_steps", str(STEPS),
            "--report_to", "tensorboard", "--output_dir", out, *more]


def log_of(out):
    path = pathlib.Path(out) / "train_log.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def read(out):
    sizes = {event_accumulator.SCALARS: 0, event_accumulator.TENSORS: 0}
    events = event_accumulator.EventAccumulator(str(pathlib.Path(out) / "tensorboard"), size_guidance=sizes)
    events.Reload()
    return events


def check_scalars(events, log):
    assert set(events.Tags()["scalars"]) == set(SCALARS), events.Tags()["scalars"]
    for tag, key in SCALARS.items():
        got = [(e.step, e.value) for e in events.Scalars(tag)]
        want = [(line["step"], line[key]) for line in log if key in line]
        assert [step for step, _ in got] == [step for step, _ in want], (tag, got, want)
        for (step, a), (_, b) in zip(got, want):
            assert math.isclose(a, b, rel_tol=1e-6), (tag, step, a, b)


def hparams(events, kind):
    [event] = [e for e in events.summary_metadata.items() if e[0] == f"_hparams_/session_{kind}_info"]
    return plugin_data_pb2.HParamsPluginData.FromString(event[1].plugin_data.content)


def main(lorac, model):
    lorac, model = os.path.abspath(lorac), os.path.abspath(model)
    os.chdir(tempfile.mkdtemp())
    with open("data.jsonl", "w") as f:
        f.writelines(json.dumps({"prompt": p, "completion": c}) + "\n" for p, c in PAIRS)
    run = subprocess.Popen(command(lorac, model, "out"), stdout=subprocess.DEVNULL)
    while not any(line["step"] >= 5 for line in log_of("out")):
        assert run.poll() is None
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    run.wait()
    print("killed after step", log_of("out")[-1]["step"])
    subprocess.run(command(lorac, model, "out"), check=True, stdout=subprocess.DEVNULL)
    events = read("out")
    check_scalars(events, log_of("out"))
    assert [e.step for e in events.Scalars("train/loss")] == list(range(1, STEPS + 1))
    start, end = hparams(events, "start").session_start_info, hparams(events, "end").session_end_info
    assert start.hparams["lora_r"].number_value == 16 and start.hparams["packing"].bool_value is True
    assert end.status == api_pb2.STATUS_SUCCESS
    texts = {tag: events.Tensors(tag)[-1].tensor_proto.string_val[0].decode() for tag in events.Tags()["tensors"]
             if tag.startswith("answers/")}
    assert len(texts) == len(PAIRS) and any("    Dogs wait\n     in the garden." in t for t in texts.values()), texts
    subprocess.run(command(lorac, model, "several", "--learning_rate", "1e-4,1e-3"), check=True, stdout=subprocess.DEVNULL)
    runs = sorted(p.parent for p in pathlib.Path("several").glob("*/tensorboard"))
    assert len(runs) == 2, runs
    for out in runs:
        check_scalars(read(out), log_of(out))
    rates = {hparams(read(out), "start").session_start_info.hparams["learning_rate"].number_value for out in runs}
    assert rates == {1e-4, 1e-3}, rates
    print(f"{STEPS} steps once each after a kill, equal to train_log.jsonl; hyper-parameters, {len(texts)} answers; 2 runs")


if __name__ == "__main__":
    main(*sys.argv[1:])
