"""A headless Chromium, spoken to over a pipe by its own protocol (chromedevtools.github.io), with nothing between."""

import base64
import json
import os
import shutil
import subprocess
import time

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe"]


class Browser:
    """One window. Every call raises AssertionError where the page does not do as it is told within a minute."""

    def __init__(self, profile):
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        command = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'  # where Chromium looks for the pipe's two ends
        words = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(
            ["bash", "-c", command, *words], pass_fds=(theirs_in, theirs_out), stderr=subprocess.DEVNULL
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._number, self._rest, self._session, self.console = 0, b"", None, []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")

    def close(self):
        self._process.terminate()
        self._process.wait(20)
        os.close(self._in)
        os.close(self._out)

    def open(self, link):
        self._call("Page.navigate", url=link)
        self.wait_for("document.readyState === 'complete'")

    def value(self, script):
        """What a script in the page comes to."""
        found = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait_for(self, script, seconds=60):
        deadline = time.monotonic() + seconds
        while True:
            try:
                if self.value(script):
                    return
            except AssertionError:  # between two pages
                pass
            assert time.monotonic() < deadline, f"not within {seconds} s: {script}\n{self.text()}"
            time.sleep(0.1)

    def text(self):
        return self.value("document.body.innerText")

    def press(self, label):
        """A button or link that says so, as a person's mouse would."""
        find = f"[...document.querySelectorAll('button, a')].find(one => one.innerText.startsWith({json.dumps(label)}))"
        self.wait_for(f"!!{find}")
        spot = self.value(
            f"(() => {{ const one = {find}; one.scrollIntoView(); const at = one.getBoundingClientRect();"
            " return [at.x + at.width / 2, at.y + at.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            where = {"x": spot[0], "y": spot[1], "button": "left", "clickCount": 1}
            self._call("Input.dispatchMouseEvent", type=kind, **where)

    def resize(self, width, dark=False):
        """A window so many pixels wide; a narrow one is a phone's."""
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._call("Emulation.setEmulatedMedia", features=scheme)
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 600
        )

    def screenshot(self, path, width=1280, dark=False):
        """All of the page, as a PNG."""
        self.resize(width, dark)
        taken = self._call("Page.captureScreenshot", captureBeyondViewport=True, format="png")
        path.write_bytes(base64.b64decode(taken["data"]))

    def _call(self, method, **values):
        self._number += 1
        message = {"id": self._number, "method": method, "params": values}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._heard()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            if answer.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown"):
                self.console.append(answer["params"])

    def _heard(self):
        while b"\0" not in self._rest:
            part = os.read(self._in, 1 << 20)
            assert part, "Chromium ended"
            self._rest += part
        answer, _, self._rest = self._rest.partition(b"\0")
        return json.loads(answer)
