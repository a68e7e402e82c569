// The page around the viewers: reviews, dropping files anywhere, binding to Gradio's parts, heights.
(() => {
  "use strict";
  const { Viewer, viewers } = window.medq;

  // A page's review of one study, sent whole on every change.
  const review = {
    of(panel) {
      const findings = {};
      panel.querySelectorAll("[data-review][aria-pressed=true]").forEach((chip) => {
        findings[chip.closest("[data-kind]").dataset.kind] = chip.dataset.review;
      });
      return { findings, verdict: panel.querySelector("[data-verdict]").value,
        comment: panel.querySelector("[data-comment]").value };
    },
    async save(panel) {
      const output = panel.querySelector("[data-saved]");
      output.textContent = "Saving…";
      const answer = await fetch(`/medq/study/${panel.dataset.study}/review`, { method: "POST",
        headers: { "Content-Type": "application/json" }, body: JSON.stringify(review.of(panel)) }).catch(() => null);
      output.textContent = answer && answer.ok ? "Saved" : answer ? await answer.text() : "Not saved: no connection";
      if (answer && answer.ok) unfiled = true;
      if (answer && answer.ok) panel.querySelectorAll("[data-export][hidden]").forEach((link) => { link.hidden = false; });
    },
    add(panel, select) {
      const kind = select.value;
      if (!kind) return;
      const name = select.selectedOptions[0].textContent, item = document.createElement("article");
      item.className = "mq-finding added";
      item.dataset.kind = kind;
      item.innerHTML = '<div class="mq-head"><span class="mq-name"></span><span>added by you</span></div><div class="mq-chips" role="group"></div>';
      item.querySelector(".mq-name").textContent = name.charAt(0).toUpperCase() + name.slice(1);
      for (const answer of ["present", "absent", "unsure"]) {
        const chip = document.createElement("button");
        chip.type = "button"; chip.dataset.review = answer; chip.textContent = answer;
        chip.setAttribute("aria-pressed", answer === "present");
        item.querySelector(".mq-chips").append(chip);
      }
      const list = panel.querySelector(".mq-findings");
      list.append(item);
      select.selectedOptions[0].remove();
      select.value = "";
      review.save(panel);
    },
  };

  const THEME = "medq-theme"; // light or dark as chosen: all that this browser keeps
  const dress = () => {
    const chosen = localStorage.getItem(THEME);
    if (chosen) document.body.classList.toggle("dark", chosen === "dark");
  };
  document.addEventListener("click", (event) => {
    const chip = event.target.closest("[data-review]"), head = event.target.closest("[data-finding]");
    if (chip) {
      const on = chip.getAttribute("aria-pressed") === "true";
      chip.parentElement.querySelectorAll("[data-review]").forEach((one) => one.setAttribute("aria-pressed", "false"));
      chip.setAttribute("aria-pressed", String(!on));
      review.save(chip.closest(".mq-panel"));
    } else if (head) {
      const open = head.getAttribute("aria-expanded") === "true", number = Number(head.dataset.finding);
      const chosen = head.closest(".mq-finding").classList.contains("chosen");
      document.querySelectorAll(".mq-finding").forEach((one) => one.classList.remove("chosen"));
      head.closest(".mq-finding").classList.add("chosen");
      head.setAttribute("aria-expanded", String(!(open && chosen)));
      if (viewers.main) viewers.main.finding(number);
    } else if (event.target.closest("[data-theme]")) {
      localStorage.setItem(THEME, document.body.classList.toggle("dark") ? "dark" : "light");
    }
  });
  // Asked before Gradio hears the click: what is removed is gone, reviews too.
  document.addEventListener("click", (event) => {
    if (!event.target.closest("#mq-forget") || !(viewers.main && viewers.main.study)) return;
    if (!confirm("Remove all studies and their reviews from memory? What was not downloaded is lost.")) {
      event.preventDefault();
      event.stopImmediatePropagation();
    }
  }, true);
  // Gradio's table hears the mouse alone: Enter on a cell opens its row, too.
  document.addEventListener("keydown", (event) => {
    const cell = event.key === "Enter" && event.target.closest("#mq-table [role=gridcell]");
    if (!cell) return;
    event.preventDefault();
    event.stopPropagation();
    for (const step of ["mousedown", "mouseup", "click"]) cell.dispatchEvent(new MouseEvent(step, { bubbles: true }));
  }, true);
  document.addEventListener("change", (event) => {
    const panel = event.target.closest(".mq-panel");
    if (!panel) return;
    if (event.target.matches("[data-missed]")) review.add(panel, event.target);
    else if (event.target.matches("[data-verdict], [data-comment]")) review.save(panel);
  });

  // Files may be dropped anywhere: they go where the tab at hand takes uploads, folders with all they hold.
  const files = async (entry) => {
    if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
    const reader = entry.createReader(), found = [];
    for (;;) { // gives some hundred entries at a time
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!some.length) return found;
      for (const one of some) found.push(...(await files(one)));
    }
  };
  const upload = () => [...document.querySelectorAll(".mq-upload input[type=file]")]
    .find((input) => input.closest(".mq-upload").offsetParent);
  const carries = (event) => event.dataTransfer && event.dataTransfer.types.includes("Files");
  document.addEventListener("dragover", (event) => { if (carries(event)) event.preventDefault(); });
  document.addEventListener("drop", async (event) => {
    const input = upload();
    if (!carries(event)) return;
    event.preventDefault();
    event.stopPropagation();
    if (!input) return;
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry && item.webkitGetAsEntry());
    let found = [...event.dataTransfer.files];
    if (entries.some((entry) => entry && entry.isDirectory))
      found = (await Promise.all(entries.filter(Boolean).map(files))).flat();
    const all = new DataTransfer();
    found.forEach((file) => all.items.add(file));
    input.files = all.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  }, true);

  // A page that is loaded again tells which study it showed: its studies lie in the server's memory. The secret name of a
  // study is all that this tab keeps, and only on its way from one page to the next.
  const LEFT = "medq-left";
  let unfiled = false; // a review that was saved and not downloaded
  addEventListener("pagehide", () => {
    if (viewers.main && viewers.main.study) sessionStorage.setItem(LEFT, viewers.main.study.token);
  });
  addEventListener("beforeunload", (event) => { if (unfiled) event.preventDefault(); });
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-export], [data-worklist]")) unfiled = false;
  });
  window.medq.left = () => {
    const token = sessionStorage.getItem(LEFT) || "";
    sessionStorage.removeItem(LEFT);
    return token;
  };
  // The beginning of a question, with the cursor behind it.
  window.medq.begin = (words) => {
    setTimeout(() => {
      const box = document.querySelector("#mq-question textarea, #mq-question input");
      box.focus();
      box.setSelectionRange(words.length, words.length);
    }, 100);
    return words;
  };

  // Gradio puts the parts on the page when it likes: bind each viewer once, and follow its hidden data.
  const seen = new Map();
  const look = () => {
    document.querySelectorAll(".mq-viewer:not([data-ready])").forEach((root) => {
      root.dataset.ready = "1";
      dress(); // Gradio set its own colours before it put this here
      viewers[root.dataset.viewer] = new Viewer(root);
      seen.delete(root.dataset.viewer);
    });
    document.querySelectorAll("[data-view]").forEach((element) => {
      const holder = element.closest("[id^=mq-data-]"), name = holder && holder.id.slice("mq-data-".length);
      if (!name || !viewers[name] || seen.get(name) === element.dataset.view) return;
      seen.set(name, element.dataset.view);
      viewers[name].show(element.dataset.view ? JSON.parse(element.dataset.view) : null);
    });
  };
  // Heights follow the window: the image and the panel fill it, whatever stands above them.
  let under = false;
  const fill = () => {
    const box = document.getElementById("mq-panel-box"), main = document.querySelector("[data-viewer=main]");
    // a narrow window: the panel stands under the image, and the page scrolls as a whole
    if (box && main && box.clientWidth) // on the tabs that have no panel it stays as it was
      under = box.getBoundingClientRect().left < main.getBoundingClientRect().right;
    document.querySelectorAll(".mq-viewer").forEach((root) => {
      const stage = root.querySelector(".mq-stage"), top = stage.getBoundingClientRect().top + scrollY;
      if (!stage.clientWidth) return;
      const below = root.getBoundingClientRect().bottom - stage.getBoundingClientRect().bottom;
      const share = root.dataset.viewer === "main" && !under ? 1 : 0.62;
      root.style.setProperty("--stage", `${Math.max(260, share * (innerHeight - top - below - 14))}px`);
    });
    if (box && box.clientWidth)
      box.style.maxHeight = under ? "none" : `${Math.max(240, innerHeight - box.getBoundingClientRect().top - scrollY - 28)}px`;
  };
  addEventListener("resize", fill);
  addEventListener("click", (event) => { if (event.target.closest("[role=tab]")) setTimeout(fill, 50); });  // hidden boxes have no height
  let due = false;
  new MutationObserver(() => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => { due = false; look(); fill(); });
  }).observe(document.documentElement, { childList: true, subtree: true, attributes: true, attributeFilter: ["data-view"] });
  document.addEventListener("DOMContentLoaded", look);
})();
