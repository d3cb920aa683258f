"""JavaScript of the page: words that play the recording from their time, and files made in the browser.

gradio keeps the player's audio element in the shadow tree of its waveform, or, without a waveform, beside it.
"""

from __future__ import annotations

# For gr.HTML(js_on_load=...): a click on a word plays the recording on the page from there.
PLAY_FROM_WORD = """
element.addEventListener("click", (event) => {
  const word = event.target.closest("[data-start-s]");
  if (!word) return;
  const inner = [...document.querySelectorAll("#ssvd-audio *")].map((each) => each.shadowRoot);
  const audio = [document.getElementById("ssvd-audio"), ...inner]
    .flatMap((root) => (root ? [...root.querySelectorAll("audio")] : []))
    .find((each) => each.currentSrc || each.src);
  if (!audio) return;
  audio.currentTime = Number(word.dataset.startS);
  audio.play();
});
"""

# For gr.HTML(js_on_load=...): a click on a button of a file asks for it. One file is asked for at a time.
ASK_FOR_FILE = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-format]");
  if (!button || document.querySelector("button[data-format][aria-busy]")) return;
  button.setAttribute("aria-busy", "true");
  const { format, domain, name } = button.dataset;
  trigger("download", { format, domain: domain ?? null, name });
});
"""

# For an event's js: saves a file {"name", "content"}. It never lies on the server's disk.
SAVE_FILE = """
(file) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([file.content], { type: "text/plain;charset=utf-8" }));
  link.download = file.name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
"""

# For an event's js: a button that was off while it worked has the keyboard's focus again.
FOCUS_AGAIN = """
() => { if (document.activeElement === document.body) document.querySelector("#ssvd-go")?.focus(); }
"""

# For an event's js: every file can be asked for again.
ASK_AGAIN = """
() => document.querySelectorAll("button[data-format]").forEach((each) => each.removeAttribute("aria-busy"))
"""
