// What the pages need beyond htmx: polite polling, shortcuts, the theme, and the prompt's stream.
(function () {
  "use strict";

  const dueAt = new WeakMap();

  // An element with data-live="2" asks again every two seconds, while its tab is seen, nobody is choosing in it, and
  // the answer before has come. One that comes back without the attribute has said that it is done.
  function tick() {
    if (document.hidden) return;
    const now = Date.now();
    for (const element of document.querySelectorAll("[data-live]")) {
      if (!dueAt.has(element)) dueAt.set(element, now + 1000 * Number(element.dataset.live));
      if (now < dueAt.get(element) || element.classList.contains("htmx-request")) continue;
      if (isHeld(element)) continue;
      if (element.hasAttribute("data-live-hold") && element.matches(":hover")) continue;
      dueAt.set(element, now + 1000 * Number(element.dataset.live));
      htmx.trigger(element, "live");
    }
  }
  setInterval(tick, 250);

  // Nothing changes under a hand: while a menu, a question or a form is open in it, a live part waits.
  function isHeld(element) {
    return element.querySelector("details[open].confirm, details[open].menu, details[open].starter, dialog[open]");
  }
  document.addEventListener("htmx:beforeSwap", function (event) {
    const target = event.detail.target;
    if (event.detail.requestConfig.verb === "get" && target.matches("[data-live]") && isHeld(target)) event.detail.shouldSwap = false;
  });
  // What is done shows in the strip at once.
  document.addEventListener("htmx:afterRequest", function (event) {
    const strip = document.getElementById("strip");
    if (event.detail.requestConfig.verb === "post" && strip) { dueAt.set(strip, 0); tick(); }
  });
  // A new row is seen to be new; what a person has opened stays open.
  Idiomorph.defaults.callbacks.afterNodeAdded = function (node) {
    if (node.nodeName === "TR" || node.nodeName === "LI") node.classList.add("is-new");
  };
  Idiomorph.defaults.callbacks.beforeAttributeUpdated = function (name, node) {
    return !(name === "open" && node.nodeName === "DETAILS");
  };
  document.addEventListener("visibilitychange", function () {
    if (document.hidden) return;
    for (const element of document.querySelectorAll("[data-live]")) dueAt.set(element, 0);
    tick();
  });

  const lost = function (is) {
    const note = document.getElementById("lost");
    if (note) note.hidden = !is;
  };
  document.addEventListener("htmx:sendError", function () { lost(true); });
  document.addEventListener("htmx:timeout", function () { lost(true); });
  document.addEventListener("htmx:afterRequest", function (event) { if (event.detail.successful) lost(false); });
  // An error's page is shown as it is, in the place of everything.
  document.addEventListener("htmx:responseError", function (event) {
    const boosted = event.detail.requestConfig && event.detail.requestConfig.verb === "post";
    if (boosted) {
      const page = new DOMParser().parseFromString(event.detail.xhr.responseText, "text/html");
      const wanted = page.getElementById("content");
      const here = document.getElementById("content");
      if (wanted && here) here.replaceWith(document.adoptNode(wanted));
    }
  });

  document.addEventListener("click", function (event) {
    const toggle = event.target.closest("[data-theme-toggle]");
    if (toggle) {
      const root = document.documentElement;
      const next = root.getAttribute("data-bs-theme") === "dark" ? "light" : "dark";
      root.setAttribute("data-bs-theme", next);
      try { localStorage.setItem("theme", next); } catch (error) { /* only for this page, then */ }
    }
    const dismiss = event.target.closest("[data-dismiss]");
    if (dismiss) dismiss.parentElement.remove();
    const opener = event.target.closest("[data-open]");
    if (opener) document.getElementById(opener.dataset.open).showModal();
    for (const open of document.querySelectorAll("details.menu[open], details.confirm[open]"))
      if (!open.contains(event.target)) open.open = false;
  });

  // A second click of the same hand is not a second wish: the button in its place may say the opposite by then.
  let lastWish = { form: "", at: 0 };
  document.addEventListener("submit", function (event) {
    const form = event.target.closest("form.action");
    if (!form) return;
    const place = form.closest("[id]")?.id || "";
    if (lastWish.form === place && event.timeStamp - lastWish.at < 600) {
      event.preventDefault();
      event.stopImmediatePropagation();
      return;
    }
    lastWish = { form: place, at: event.timeStamp };
    const box = form.closest("details.confirm, details.menu");
    if (box) box.open = false;
  }, true);
  // A good message goes by itself; a bad one stays until it is read.
  document.addEventListener("htmx:afterSettle", fadeNotes);
  fadeNotes();
  function fadeNotes() {
    for (const note of document.querySelectorAll(".notes .note-success:not([data-fading])")) {
      note.dataset.fading = "";
      setTimeout(function () { note.remove(); }, 8000);
    }
  }

  let goPressed = 0;
  document.addEventListener("keydown", function (event) {
    if (event.key === "Escape")
      for (const open of document.querySelectorAll("details.menu[open], details.confirm[open]")) {
        open.open = false;
        open.querySelector("summary").focus();
      }
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, dialog")) return;
    if (event.key === "/") {
      const field = document.querySelector("[data-search]");
      if (field) { event.preventDefault(); field.focus(); field.select(); }
    } else if (event.key === "?") {
      const keys = document.getElementById("keys");
      if (keys) keys.showModal();
    } else if (event.key === "g" && Date.now() - goPressed > 1500) {
      goPressed = Date.now();
      return;
    } else if (Date.now() - goPressed < 1500) {
      const link = document.querySelector(`[data-go="${CSS.escape(event.key)}"]`);
      if (link) location.assign(link.href);
    }
    goPressed = 0;
  });

  // The prompt: the answer is shown while it is made. Without this the form shows it when it is whole.
  async function stream(form) {
    const output = document.getElementById(form.dataset.stream);
    const figures = document.getElementById(form.dataset.figures);
    const send = form.querySelector("[data-send]");
    const stop = form.querySelector("[data-stop]");
    const abort = new AbortController();
    const started = performance.now();
    output.textContent = "";
    output.classList.remove("answer-error");
    figures.textContent = "Waiting for the first token";
    const said = document.getElementById("answer-said");
    if (said) said.textContent = "";
    const byButton = document.activeElement === send;
    send.disabled = send.hidden = true;
    stop.hidden = false;
    if (byButton) stop.focus();
    stop.onclick = function () { abort.abort(); };
    try {
      const answer = await fetch(form.action, {
        method: "POST", body: new FormData(form), signal: abort.signal, headers: { Accept: "application/x-ndjson" },
      });
      await read(answer, output, figures, started);
    } catch (error) {
      if (error.name !== "AbortError") fail(output, figures, "The line to the console broke before the answer was whole. Send again.");
      else figures.textContent += " · stopped";
    } finally {
      const byStop = document.activeElement === stop;
      send.disabled = send.hidden = false;
      stop.hidden = true;
      if (byStop) send.focus();
      if (said) said.textContent = output.textContent;
    }
  }

  function fail(output, figures, sentence) {
    output.classList.add("answer-error");
    output.textContent += (output.textContent ? "\n\n" : "") + sentence;
    figures.textContent = "";
  }

  async function read(answer, output, figures, started) {
    if (!answer.ok && !(answer.headers.get("Content-Type") || "").includes("ndjson"))
      return fail(output, figures, answer.status === 403 ? "You may not send prompts. Ask an administrator for the role operator." : `The console answered ${answer.status}. Reload the page and send again.`);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) if (line) show(JSON.parse(line), output, figures, started);
    }
  }

  function show(part, output, figures, started) {
    if (part.error) return fail(output, figures, part.error);
    if (part.text) {
      const atEnd = output.scrollHeight - output.scrollTop - output.clientHeight < 40;
      output.append(part.text);
      if (atEnd) output.scrollTop = output.scrollHeight;
    }
    if (part.figures) figures.textContent = part.figures;
  }

  document.addEventListener("submit", function (event) {
    const form = event.target.closest("form[data-stream]");
    if (!form) return;
    event.preventDefault();
    stream(form);
  });
  document.addEventListener("keydown", function (event) {
    const field = event.target.closest("form[data-stream] textarea");
    if (field && event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      if (!field.form.querySelector("[data-send]").disabled) field.form.requestSubmit();
    }
  });

  // A form that answers while you type or choose: whole page without scripts, the list alone with them.
  document.addEventListener("change", function (event) {
    const form = event.target.closest("form[data-submit-on-change]");
    if (form) form.requestSubmit();
  });
})();
