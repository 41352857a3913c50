"""usage: browser.py LORAC: the dashboard of a run in headless Chromium: load, live update, playground, injection by data
text, model and run names, 400 pixels, dark, keyboard, stop, reconnect to the run that resumes. Exit 77 without Chromium.
The browser is spoken to over a pipe (--remote-debugging-pipe)."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

TESTS = pathlib.Path(__file__).resolve().parents[2]
MARK = "<img src=x onerror=hacked=1>"  # short: the model's context is 64 tokens
NAME = MARK + "<script>hacked=1</script> \"run\""


class Browser:
    """One page, by the DevTools protocol."""

    def __init__(self, program, home):
        to_read, self.to = os.pipe()
        self.source, from_write = os.pipe()
        # The protocol is on descriptors 3 and 4.
        self.process = subprocess.Popen(
            ["sh", "-c", f'exec "$@" 3<&{to_read} 4>&{from_write}', "sh", program, "--headless=new", "--no-sandbox",
             "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={home}", "--remote-debugging-pipe", "about:blank"],
            pass_fds=(to_read, from_write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(from_write)
        self.rest, self.count, self.session, self.problems = b"", 0, None, []
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(t for t in targets if t["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(domain + ".enable")

    def message(self):
        while b"\0" not in self.rest:
            piece = os.read(self.source, 1 << 16)
            assert piece, "the browser has ended"
            self.rest += piece
        one, self.rest = self.rest.split(b"\0", 1)
        return json.loads(one)

    def call(self, method, **parameters):
        self.count += 1
        request = {"id": self.count, "method": method, "params": parameters}
        if self.session:
            request["sessionId"] = self.session
        os.write(self.to, json.dumps(request).encode() + b"\0")
        while True:
            m = self.message()
            if m.get("method") == "Runtime.exceptionThrown":
                self.problems.append(m["params"]["exceptionDetails"])
            if m.get("method") == "Log.entryAdded" and "Content Security Policy" in m["params"]["entry"]["text"]:
                self.problems.append(m["params"]["entry"])
            if m.get("id") == self.count:
                assert "error" not in m, m
                return m["result"]

    def run(self, script):
        r = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in r, r
        return r["result"].get("value")

    def wait(self, script, what, seconds=60):
        end = time.time() + seconds
        while time.time() < end:
            if self.run(script):
                return
            time.sleep(0.1)
        raise AssertionError(f"{what}: not within {seconds} s: {self.run('document.body.innerText')[:2000]}")

    def press(self, key, code):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code,
                      text="\r" if key == "Enter" and kind == "keyDown" else "")

    def close(self):
        self.process.kill()
        self.process.wait()


def train(lorac, port):
    model = pathlib.Path("model.gguf")
    if not model.exists():
        gguf = (TESTS / "golden/families/llama3/base.gguf").read_bytes()
        at = gguf.index(b"general.name") + 24  # the text, after its type and its length
        size = int.from_bytes(gguf[at - 8:at], "little")
        model.write_bytes(gguf[:at] + b"<b><i><u>".ljust(size, b"!") + gguf[at + size:])
    log = open("log", "w")
    process = subprocess.Popen(
        [lorac, "train", "--model_name_or_path", model, "--train_file", "data.jsonl", "--validation_file", "data.jsonl",
         "--max_seq_length", "64", "--save_steps", "50", "--eval_strategy", "steps", "--eval_steps", "20", "--run_name", NAME,
         "--output_dir", "out", "--max_steps", "1000000", "--dashboard", f"127.0.0.1:{port}"], stdout=log,
        stderr=subprocess.STDOUT, env=os.environ | {"XDG_CACHE_HOME": "cache", "LORAC_DASHBOARD_TOKEN": "a-token"})
    for _ in range(600):
        found = re.search(r"^dashboard (http://\S*)", pathlib.Path("log").read_text(), re.M)
        if found:
            return process, found[1]
        assert process.poll() is None, pathlib.Path("log").read_text()
        time.sleep(0.1)
    raise AssertionError("no dashboard")


def check_page(browser, address):
    browser.call("Page.navigate", url=address)
    browser.wait("document.querySelector('#link')?.textContent === 'live'", "connection")
    browser.wait("Number(document.querySelector('#bar').getAttribute('aria-valuenow')) > 5", "steps")
    before = browser.run("Number(document.querySelector('#bar').getAttribute('aria-valuenow'))")
    browser.wait(f"Number(document.querySelector('#bar').getAttribute('aria-valuenow')) > {before}", "live update")
    browser.wait("document.querySelectorAll('#charts polyline.second').length > 0", "evaluation in the chart")
    browser.wait("document.querySelectorAll('#samples .box').length > 0", "sample answers")
    print("load, live update, curves, samples")


def check_injection(browser):
    browser.run("document.querySelector('#samples').scrollIntoView()")
    assert browser.run("document.querySelectorAll('img, iframe, script:not([nonce])').length") == 0
    assert browser.run("document.querySelectorAll('main b i, main u').length") == 0
    assert browser.run("document.querySelectorAll('script').length") == 1
    assert browser.run("window.hacked") is None
    assert browser.run("document.querySelector('#name').textContent") == NAME and NAME in browser.run("document.title")
    assert MARK in browser.run("document.querySelector('#samples').textContent")
    assert "<===1>" in browser.run("document.querySelector('#sample').textContent")  # what the tiny vocabulary has of it
    assert "<b><i><u>!" in browser.run("document.querySelector('#sub').textContent")
    # the policy stops what would be put in
    browser.run("document.body.insertAdjacentHTML('beforeend', `<img src=x onerror=\"hacked = 1\">`)")
    browser.run("{const s = document.createElement('script'); s.textContent = 'window.hacked = 1'; document.body.append(s)}")
    assert browser.run("window.hacked") is None
    browser.problems.clear()
    browser.run("document.querySelectorAll('img, script:not([nonce])').forEach(e => e.remove())")
    print("nothing of data, model or run name is markup; the policy holds")


def check_looks(browser, folder):
    for width, scheme in ((400, "light"), (400, "dark"), (1280, "light"), (1280, "dark")):
        browser.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width == 400)
        browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        time.sleep(0.3)
        wide = browser.run("document.documentElement.scrollWidth")
        assert wide <= width, f"{wide} pixels in a window of {width}"
        dark = browser.run("getComputedStyle(document.body).backgroundColor") != "rgb(251, 250, 248)"
        assert dark == (scheme == "dark")
        if folder:
            import base64
            shot = browser.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
            pathlib.Path(folder, f"dashboard-{width}-{scheme}.png").write_bytes(base64.b64decode(shot))
    print("400 and 1280 pixels, light and dark")


def check_playground(browser):
    browser.run("document.querySelector('#prompt').focus()")
    browser.call("Input.insertText", text="COUNT <b>1</b>")
    browser.press("Tab", 9)
    assert browser.run("document.activeElement.id") == "ask"
    browser.press("Enter", 13)
    browser.wait("document.querySelector('#asked').textContent.startsWith('answered after step')", "answer")
    assert browser.run("document.querySelector('#before').textContent.length") > 0
    assert "the last time" in browser.run("document.querySelector('#cost').textContent") or browser.run(
        "new Promise(r => setTimeout(() => r(document.querySelector('#cost').textContent.includes('the last time')), 1000))")
    print("playground, by keyboard")


def check_stop_and_return(browser, lorac, process, address):
    port = int(re.search(r":(\d+)/", address)[1])
    browser.run("document.querySelector('#stop').focus()")
    browser.press("Enter", 13)
    assert process.wait(60) == 75, process.returncode
    browser.wait("document.querySelector('#link').textContent.startsWith('lost')", "loss of the connection")
    saved = max(int(p.name.split("-")[1]) for p in pathlib.Path("out").glob("checkpoint-*"))
    again, _ = train(lorac, port)
    browser.wait("document.querySelector('#link').textContent === 'live'", "reconnect")
    browser.wait(f"Number(document.querySelector('#bar').getAttribute('aria-valuenow')) > {saved}", "steps after the resume")
    first = browser.run("state.runs[0].points[0][0]")
    assert first == 1, f"the curves begin at step {first}"
    check_playground_again(browser)
    again.send_signal(signal.SIGTERM)
    assert again.wait(60) == 75
    print("stop; reconnect to the run that resumes, with its curves")


def check_playground_again(browser):
    browser.run("document.querySelector('#asked').textContent = ''; document.querySelector('#ask').click()")
    browser.wait("document.querySelector('#asked').textContent.startsWith('answered after step')", "answer after the resume")


def main():
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        print("skipped: no Chromium (Debian: chromium)")
        return 77
    lorac, shots = os.path.abspath(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None
    shots = shots and os.path.abspath(shots)
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        with open("data.jsonl", "w") as f:
            for i in range(20):
                f.write(json.dumps({"prompt": f"{MARK} {i}", "completion": f"{i}"}) + "\n")
        process, address = train(lorac, 0)
        browser = Browser(chromium, work + "/home")
        try:
            check_page(browser, address)
            check_injection(browser)
            check_looks(browser, shots)
            check_playground(browser)
            check_stop_and_return(browser, lorac, process, address)
            assert not browser.problems, browser.problems
        finally:
            browser.close()
            process.kill()
            os.chdir("/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
