"""usage: check_prometheus.py LORAC: a real Prometheus (Debian: prometheus) scrapes a run on two ranks with configs/monitoring;
every query of the Grafana dashboard and of the alert rules is evaluated against it, and the values are compared with
train_log.jsonl; promtool checks the metrics, the rules and their tests. Needs pyyaml."""
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "configs/monitoring"
ONLY_ON_A_GPU = {"lorac_gpu_memory_bytes"}
RANKS = 2


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def get(url):
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10) as answer:
        return answer.read()


def train(lorac, port):
    with open("data.jsonl", "w") as f:
        for i in range(40):
            f.write(json.dumps({"prompt": f"COUNT {i} ", "completion": f"{i}, {i + 1}"}) + "\n")
    words = [lorac, "train", "--model_name_or_path", ROOT / "tests/golden/families/llama3/base.gguf", "--train_file",
             "data.jsonl", "--validation_file", "data.jsonl", "--eval_strategy", "steps", "--eval_steps", "50",
             "--max_seq_length", "64", "--max_steps", "1000000", "--save_steps", "500", "--output_dir", "out",
             "--gradient_accumulation_steps", "2", "--run_name", 'a "run"', "--dashboard", f"127.0.0.1:{port}"]
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(RANKS),
               "LOCAL_WORLD_SIZE": str(RANKS), "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": "cache"}
    return [subprocess.Popen(words, stdout=open(f"log{rank}", "w"), stderr=subprocess.STDOUT,
                             env=os.environ | meeting | {"RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(RANKS)]


def queries():
    for panel in json.loads((FOLDER / "grafana.json").read_text())["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$run", ".*").replace("$__rate_interval", "30s"), True
    rules = json.loads(subprocess.run([sys.executable, "-c", "import sys, json, yaml; print(json.dumps(yaml.safe_load(sys.stdin)))"],
                                      stdin=open(FOLDER / "alerts.yml"), capture_output=True, text=True, check=True).stdout)
    for rule in rules["groups"][0]["rules"]:
        yield rule["alert"], rule["expr"], False


def main(lorac):
    lorac = os.path.abspath(lorac)
    for command in (["check", "rules", "alerts.yml"], ["check", "config", "prometheus.yml"], ["test", "rules", "alerts_test.yml"]):
        subprocess.run(["promtool", *command], cwd=FOLDER, check=True, stdout=subprocess.DEVNULL)
    os.chdir(tempfile.mkdtemp())
    port, own = free_port(), free_port()
    config = (FOLDER / "prometheus.yml").read_text().replace("7860", str(port)).replace("alerts.yml", str(FOLDER / "alerts.yml"))
    pathlib.Path("prometheus.yml").write_text(config.replace("scrape_interval: 5s", "scrape_interval: 1s"))
    ranks = train(lorac, port)
    prometheus = subprocess.Popen(["prometheus", "--config.file", "prometheus.yml", "--storage.tsdb.path", "tsdb",
                                   "--web.listen-address", f"127.0.0.1:{own}", "--log.level", "error"])
    try:
        def ask(query):
            url = f"http://127.0.0.1:{own}/api/v1/query?" + urllib.parse.urlencode({"query": query})
            return json.loads(get(url))["data"]["result"]

        end = time.time() + 120
        while True:  # until a rank's times and an evaluation have been scraped twice
            try:
                if ask("count_over_time(lorac_rank_compute_seconds[1m]) > 20") and ask("lorac_eval_loss"):
                    break
            except OSError:
                pass
            assert time.time() < end and all(r.poll() is None for r in ranks), pathlib.Path("log0").read_text()[-2000:]
            time.sleep(1)
        text = get(f"http://127.0.0.1:{port}/metrics")
        lint = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True)
        assert lint.returncode == 0, lint.stderr.decode()
        count = 0
        for title, query, has_values in queries():
            result = ask(query)
            count += 1
            if has_values and not ONLY_ON_A_GPU & set(re.findall(r"lorac_\w+", query)):
                assert result and all(r["metric"]["run"] == 'a "run"' for r in result), (title, query, result)
            print(f"{title}: {len(result)} series")
        assert len(ask("lorac_rank_compute_seconds")) == RANKS
        assert not ask("lorac_gpu_memory_bytes")
        point = ask("lorac_step")[0]["value"]
        log = [json.loads(line) for line in open("out/train_log.jsonl")]
        losses = {line["step"]: line["loss"] for line in log if "loss" in line}
        assert int(point[1]) in losses, point
        scraped = {float(x) for x in re.findall(r"^lorac_train_loss\{.*\} (\S+)$", text.decode(), re.M)}
        assert any(abs(loss - x) < 1e-6 * abs(loss) for x in scraped for loss in losses.values())
        counted = float(re.search(r"^lorac_step_seconds_count\{.*\} (\S+)$", text.decode(), re.M)[1])
        assert counted == float(re.search(r"^lorac_step\{.*\} (\S+)$", text.decode(), re.M)[1])
        print(f"{count} queries; the metrics are those of train_log.jsonl")
    finally:
        ranks[0].send_signal(signal.SIGTERM)
        prometheus.terminate()
        for process in (*ranks, prometheus):
            process.wait(60)


if __name__ == "__main__":
    main(*sys.argv[1:])
